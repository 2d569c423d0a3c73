"""What a caller may ask of the browser, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest

from ocr_tasks.errors import InvalidOption, OcrError, UnknownField
from ocr_tasks.rendering import MAX_HEADERS, RenderOptions, parse_render_options


def test_defaults_are_a_desktop_window_and_the_whole_page() -> None:
    assert parse_render_options({}).wire() == {
        "viewport": {"width": 1920, "height": 1080},
        "fullPage": True,
        "format": "png",
        "javascript": None,
        "waitFor": "load",
        "timeoutMs": 30_000,
        "headers": {},
        "userAgent": None,
        "deviceScaleFactor": 1,
        "colorScheme": "light",
    }


def test_scripts_are_off_for_given_html_and_on_for_addresses_unless_told() -> None:
    assert not RenderOptions().scripts(given_html=True)
    assert RenderOptions().scripts(given_html=False)
    assert RenderOptions(javascript=True).scripts(given_html=True)
    assert not RenderOptions(javascript=False).scripts(given_html=False)


@pytest.mark.parametrize("wait_for", ["load", "domcontentloaded", "networkidle", "css=#app .ready", 0, 60_000, "250"])
def test_a_page_can_be_waited_for(wait_for: Any) -> None:
    parsed = parse_render_options({"waitFor": wait_for})
    assert parsed.wait_for == (250 if wait_for == "250" else wait_for)
    assert parsed.selector == ("#app .ready" if wait_for == "css=#app .ready" else None)


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"viewport": {"width": 15}}, "viewport.width", "16"),
        ({"viewport": {"height": 4001}}, "viewport.height", "4000"),
        ({"viewport": {"depth": 1}}, "viewport.depth", "depth"),
        ({"viewport": "1920x1080"}, "viewport", "1920x1080"),
        ({"viewport": {"width": 4000, "height": 4000}, "deviceScaleFactor": 4}, "deviceScaleFactor", "64"),
        ({"format": "gif"}, "format", "gif"),
        ({"deviceScaleFactor": 5}, "deviceScaleFactor", "4"),
        ({"deviceScaleFactor": float("nan")}, "deviceScaleFactor", "nan"),
        ({"timeoutMs": 999}, "timeoutMs", "1000"),
        ({"timeoutMs": 300_001}, "timeoutMs", "300000"),
        ({"waitFor": "networkidel"}, "waitFor", "networkidel"),
        ({"waitFor": "css="}, "waitFor", "500"),
        ({"waitFor": "css=" + "x" * 501}, "waitFor", "500"),
        ({"waitFor": -1}, "waitFor", "60000"),
        ({"waitFor": 60_001}, "waitFor", "60000"),
        ({"userAgent": "a\r\nX: y"}, "userAgent", "X: y"),
        ({"userAgent": "x" * 501}, "userAgent", "500"),
        ({"headers": {"X": "a\r\nY: b"}}, "headers", "X"),
        ({"headers": {"X y": "a"}}, "headers", "X y"),
        ({"headers": {"X": "ü"}}, "headers", "ASCII"),
        ({"headers": {"X": "a" * 9000}}, "headers", "8192"),
        ({"headers": {f"X-{n}": "" for n in range(MAX_HEADERS + 1)}}, "headers", str(MAX_HEADERS)),
        ({"colorScheme": "sepia"}, "colorScheme", "sepia"),
    ],
)
def test_a_refusal_names_field_and_value_or_limit(given: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(InvalidOption) as refused:
        parse_render_options(given)
    assert refused.value.extensions["field"].startswith(field)
    assert said in refused.value.detail


@pytest.mark.parametrize(
    "name",
    ["Host", "connection", "Content-Length", "Transfer-Encoding", "Proxy-Authorization", "Upgrade", "Sec-Fetch-Site"],
)
def test_headers_of_the_connection_are_refused(name: str) -> None:
    with pytest.raises(InvalidOption, match=name):
        parse_render_options({"headers": {name: "x"}})


def test_unknown_fields_are_refused_by_name() -> None:
    with pytest.raises(UnknownField, match="screenshot"):
        parse_render_options({"screenshot": True})
    with pytest.raises(OcrError):
        parse_render_options([])  # type: ignore[arg-type]
