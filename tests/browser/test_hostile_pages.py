"""Pages that mean harm: each is rendered, or refused for a reason, and the next page renders as if nothing had been."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import replace

import pytest

from ocr_tasks.errors import OcrError, RenderFailed, RenderTimeout, UnsupportedMediaType, UrlUnreachable
from ocr_tasks.rendering import parse_render_options
from tests.browser.conftest import LIMITS, SMALL, Rendering
from tests.browser.site import Site
from tests.processes import alive
from tests.stack import until
from workers.sources.browser import Browser, Html
from workers.sources.browser.process import members

HERE = "<title>t</title><p>still here</p>"


def script(code: str, before: str = HERE) -> str:
    return f"<!doctype html>{before}<script>{code}</script>"


# Each leaves its text behind: the render goes on in spite of it.
HARMLESS_IN_THE_END = {
    "boxes": "alert(1); confirm(2); prompt(3); onbeforeunload = e => { e.preventDefault(); e.returnValue = 'stay'; }",
    "boxes for ever": "setTimeout(() => { for (;;) alert('again'); })",
    "print": "print(); window.print(); setTimeout(print, 10)",
    "popups": "for (let n = 0; n < 5; n++) { open('/popup'); open('about:blank', '_blank', 'noopener'); }",
    "timers": "setInterval(() => document.body.append('x'), 0)",
    "download": "const a = document.createElement('a'); a.href = '/file.zip'; a.download = 'f.zip'; a.click()",
    "downloads": "for (let n = 0; n < 9; n++) { const a = document.createElement('a');"
    " a.href = URL.createObjectURL(new Blob(['x'])); a.download = n; document.body.append(a); a.click(); }",
    "files and devices": "showOpenFilePicker?.().catch(() => 0); navigator.geolocation.getCurrentPosition(() => 0);"
    "Notification.requestPermission(); navigator.mediaDevices?.getUserMedia({video: true}).catch(() => 0);"
    "document.documentElement.requestFullscreen().catch(() => 0); document.body.requestPointerLock?.()",
    "tampering": "Document.prototype.querySelector = document.createElement = () => { throw 1; };"
    "Object.defineProperty(document, 'title', {get() { for (;;); }}); JSON.stringify = Array.prototype.push = null",
    "noise": "for (let n = 0; n < 20000; n++) console.log('x'.repeat(1000), n)",
}


@pytest.mark.parametrize("name", HARMLESS_IN_THE_END)
def test_a_page_that_bothers_its_reader_is_rendered(name: str, site: Site, render_url: Rendering) -> None:
    site.page("/popup", script("setInterval(() => open('/popup'), 1)"))
    site.page("/file.zip", b"PK", media_type="application/zip")
    harvest = render_url(site.page("/bothers", script(HARMLESS_IN_THE_END[name])))
    assert harvest.text.startswith("still here")
    assert harvest.status == 200
    assert harvest.timings.total_ms < 9000


ENDLESS = {
    "a script": script("for (;;);"),
    "a script in time": script("setTimeout(() => { for (;;); })", "<p>still here</p><img src=/slow>"),
    "reloading": script("location.reload()"),
    "going round": script("setTimeout(() => location = '/endless?' + Math.random())"),
    "history": script(
        "for (let n = 0; n < 200; n++) history.pushState(n, '', '#' + n); setInterval(() => history.back(), 1)"
    ),
    "closing": script("setTimeout(() => window.close()); setInterval(() => self.close(), 1)"),
    "microtasks": script("const f = () => Promise.resolve().then(f); f()"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_page_that_never_comes_to_rest_is_taken_as_it_stands_or_given_up(
    name: str, site: Site, render_url: Rendering
) -> None:
    site.page("/slow", "", endless=True)
    url = site.page("/endless", ENDLESS[name])
    started = time.monotonic()
    with suppress(RenderTimeout, RenderFailed):
        harvest = render_url(url, timeoutMs=1500)
        assert not harvest.settled or name in ("going round", "history", "closing")
    assert time.monotonic() - started < 1.5 + LIMITS.capture_s + 3
    assert render_url(site.page("/next", HERE)).text == "still here"


def test_a_page_that_never_stops_loading_is_taken_as_it_stands(site: Site, render_url: Rendering) -> None:
    site.page("/never.png", b"\x89PNG", media_type="image/png", endless=True)
    harvest = render_url(site.page("/loads", f"{HERE}<img src=/never.png>"), timeoutMs=1200)
    assert (harvest.text, harvest.settled) == ("still here", False)
    streamed = render_url(site.page("/streams", HERE + " " * 2000, endless=True), timeoutMs=1200)
    assert (streamed.text, streamed.settled) == ("still here", False)


def test_an_address_that_does_not_answer_says_so(site: Site, render_url: Rendering) -> None:
    with pytest.raises(UnsupportedMediaType):
        render_url(site.page("/file.bin", b"\0" * 100, media_type="application/octet-stream"))
    with pytest.raises(OcrError) as refused:
        render_url(site.page("/pdf", b"%PDF-1.4", media_type="application/pdf"))
    assert isinstance(refused.value, UnsupportedMediaType)
    with pytest.raises(OcrError) as lost:
        render_url("http://127.0.0.1:1/")
    assert lost.value.status == 422
    assert isinstance(render_url(site.page("/next", HERE)).text, str)


def test_an_address_with_an_error_page_is_harvested_with_its_status(site: Site, render_url: Rendering) -> None:
    harvest = render_url(site.url("/nowhere"))
    assert (harvest.status, harvest.text) == (404, "not here")


def test_a_very_tall_page_is_cut_and_says_so(render_html: Rendering) -> None:
    lines = "".join(f"<div style='height:100px'>row {n}</div>" for n in range(2000))
    harvest = render_html(f"<body style='margin:0'>{lines}")
    assert (harvest.width, harvest.height) == (800, LIMITS.max_height)
    assert harvest.clip is not None
    assert (harvest.clip.page_height, harvest.clip.height) == (200_000, LIMITS.max_height)
    assert str(LIMITS.max_height) in harvest.clip.reason
    assert harvest.text.splitlines()[-1] == "row 199"


def test_scripts_of_given_html_that_run_for_ever_are_stopped(render_html: Rendering) -> None:
    assert render_html(script("for (;;);")).text == "still here"  # off unless asked for
    started = time.monotonic()
    with suppress(RenderTimeout, RenderFailed):
        assert not render_html(script("for (;;);"), javascript=True, timeoutMs=1000).settled
    assert time.monotonic() - started < 1 + LIMITS.capture_s + 3
    assert render_html(HERE).text == "still here"


@pytest.mark.parametrize(
    "address",
    ["chrome://crash", "chrome://kill", "chrome://hang", "file:///etc/passwd", "view-source:http://a/", "about:blank"],
)
def test_only_web_addresses_are_rendered(address: str, render_url: Rendering) -> None:
    with pytest.raises(OcrError) as refused:
        render_url(address)
    assert refused.value.status == 422


class TestABrowserThatDies:
    """Of its own, as it is killed."""

    def test_a_browser_that_was_killed_is_replaced(self, browser: Browser, render_html: Rendering) -> None:
        render_html(HERE)
        group = browser.group
        assert group is not None
        os.killpg(group, signal.SIGKILL)
        until(lambda: not any(map(alive, members(group))), what="the browser's end")
        assert render_html(HERE).text == "still here"
        assert browser.group != group

    def test_a_page_that_takes_too_much_memory_fails_alone(self, programs: None) -> None:
        hog = script("window.kept = []; setInterval(() => kept.push(new Uint8Array(3e7).fill(7)), 1)")
        with Browser(replace(LIMITS, memory_bytes=900 * 1024 * 1024)) as small:
            options = parse_render_options({**SMALL, "javascript": True, "timeoutMs": 20_000, "waitFor": "css=#never"})
            with pytest.raises(RenderFailed, match="900 MiB"):
                small.render(Html(hog), options)
            assert small.group is None
            assert small.render(Html(HERE), parse_render_options(SMALL)).text == "still here"


def test_a_closed_port_is_unreachable(site: Site, render_url: Rendering) -> None:
    with pytest.raises(UrlUnreachable):
        render_url("http://127.0.0.1:9/", allow="127.0.0.1:9")
