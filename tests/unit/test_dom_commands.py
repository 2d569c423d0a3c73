"""The light commands about pages of the web, against a small real HTTP server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ocr_tasks import waiting
from ocr_tasks.cli import cli
from ocr_tasks.errors import EngineFailed, NotFound, OperationUnavailable
from ocr_tasks.exits import Exit
from ocr_tasks.settings import get_settings
from tests.rest_service import Service, serving, succeeded

Run = Callable[..., Result]

HARVEST: dict[str, Any] = {
    "id": "6f1c1f0e-52a5-4c6e-8f5f-0d3d2b9f6c11", "domId": "shop-7", "url": "https://example.com/",
    "finalUrl": "https://example.com/de", "httpStatus": 200, "title": "Läden\x1b[2J\nund mehr", "width": 1280,
    "height": 4000, "imageBytes": 77123, "mediaType": "image/png", "clip": None, "domBytes": 5120,
    "pages": [{"pageNo": 1, "top": 0, "bottom": 1700}, {"pageNo": 2, "top": 1700, "bottom": 4000}], "settled": False,
    "blocked": [{"url": "http://10.0.0.1/", "reason": "private"}],
    "links": {"self": "/api/dom/6f", "image": "/api/dom/6f/image", "html": "/api/dom/6f/html"},
}  # fmt: skip
TOKENS: dict[str, Any] = {
    "domId": "shop-7", "harvestId": HARVEST["id"],
    "pages": [{"pageNo": 1, "mode": "base"}, {"pageNo": 2, "mode": "tiny"}], "failedPages": [], "visionTokens": 346,
    "textTokens": 1211, "compressionRatio": 3.5, "originalSize": 5120,
    "compressedSize": 10240, "byteRatio": 2.0, "quality": None,
    "note": "The stored form is larger than its source: 10240 bytes of vision tokens for 5120 bytes.",
}  # fmt: skip
CRAWL: dict[str, Any] = {
    "crawl": {"url": "https://example.com/", "crawlSessionId": "monday", "language": "de", "layoutType": "listing"},
    "harvest": {"domId": "shop-7", "httpStatus": 200, "title": "Läden"}, "pages": [{}, {}], "markdown": "# Läden",
    "compression": TOKENS,
}  # fmt: skip


def answer(data: dict[str, Any]) -> bytes:
    return json.dumps({"success": True, "data": data, "metadata": {}}, ensure_ascii=False).encode()


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as started:
        yield started


@pytest.fixture
def run(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs a command in an empty folder; its pauses are short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(waiting, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE_S", 0.001)
    monkeypatch.setenv("OCR_SERVER_URL", service.url)
    get_settings.cache_clear()

    def invoke(*words: str, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(cli, words, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.stderr
        return result

    yield invoke
    get_settings.cache_clear()


def ready(service: Service, *results: bytes) -> None:
    """Jobs that succeed at once, with these results."""
    service.script = [[succeeded(2)] for _ in results]
    service.planned_results = list(results)


def facts_of(result: Result) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in result.stdout.splitlines())


# -- render ---------------------------------------------


def test_render_sends_an_address_with_what_was_said_and_nothing_else(service: Service, run: Run) -> None:
    result = run(
        "render", "https://example.com/", "--viewport", "1280x720", "--window-only", "--no-javascript", "--wait-for",
        "css=#there", "--header", "Accept-Language: de", "--header", "X-Time: 12:30", "--dom-id", "shop-7",
        "--priority", "bulk",
    )  # fmt: skip
    assert (result.exit_code, result.stdout.split()) == (Exit.FINE, list(service.states))
    assert service.asked == ["POST /api/dom/render"]
    assert service.bodies == [
        {
            "url": "https://example.com/",
            "domId": "shop-7",
            "viewport": {"width": 1280, "height": 720},
            "fullPage": False,
            "javascript": False,
            "waitFor": "css=#there",
            "headers": {"Accept-Language": "de", "X-Time": "12:30"},
            "priority": "bulk",
        }
    ]


def test_render_sends_the_text_of_a_file_whatever_it_is_written_in(service: Service, run: Run) -> None:
    Path("page.html").write_bytes('<meta charset="iso-8859-5"><p>Привет'.encode("iso-8859-5"))
    assert run("render", "page.html").exit_code == Exit.FINE
    assert run("render", "-", stdin="<p>Größe".encode()).exit_code == Exit.FINE
    assert service.bodies == [{"html": '<meta charset="iso-8859-5"><p>Привет'}, {"html": "<p>Größe"}]


def test_render_sends_no_file_that_is_no_page(service: Service, run: Run) -> None:
    Path("scan.pdf").write_bytes(b"%PDF-1.7")
    result = run("render", "scan.pdf")
    assert (result.exit_code, service.asked) == (Exit.FAILED, [])
    assert result.stderr == "scan.pdf: The file looks like application/pdf; render takes HTML.\n"


def test_render_wait_tells_what_was_harvested(service: Service, run: Run) -> None:
    ready(service, answer(HARVEST))
    told = facts_of(run("render", "--wait", "https://example.com/"))
    assert (told["dom id"], told["pages"], told["blocked"], told["DOM"]) == ("shop-7", "2", "1", "5120 bytes")
    assert told["screenshot"] == "1280 x 4000 px, 77123 bytes, image/png"
    assert told["final url"] == "https://example.com/de"
    assert told["settled"].startswith("no")
    assert told["title"] == "Läden [2J und mehr"


def test_render_output_writes_the_screenshot_in_the_format_of_its_name(service: Service, run: Run) -> None:
    ready(service, answer(HARVEST))
    service.elsewhere = {"/api/dom/6f/image": b"RIFF of a screenshot"}
    result = run("render", "https://example.com/", "-o", "page.webp")
    assert (result.exit_code, result.stdout) == (Exit.FINE, "")
    assert service.bodies[0]["format"] == "webp"
    assert Path("page.webp").read_bytes() == b"RIFF of a screenshot"


def test_json_prints_the_job_at_once_and_the_whole_result_after_a_wait(service: Service, run: Run) -> None:
    ready(service, answer(HARVEST), answer(HARVEST))
    job = json.loads(run("render", "--json", "https://example.com/").stdout)
    assert job["id"] in service.states
    assert run("render", "--json", "--wait", "https://example.com/").stdout_bytes == answer(HARVEST) + b"\n"


# -- compress ---------------------------------------------


def test_compress_wait_tells_both_ratios_sizes_quality_and_the_note(service: Service, run: Run) -> None:
    ready(service, answer(TOKENS), answer({**TOKENS, "quality": 0.98765, "note": None}))
    told = facts_of(run("compress", "--wait", "https://example.com/"))
    assert told["compression ratio"] == "3.50 text tokens per vision token"
    assert told["byte ratio"] == "2.00 stored bytes per byte of the source"
    assert (told["original size"], told["compressed size"]) == ("5120 bytes", "10240 bytes")
    assert (told["vision tokens"], told["text tokens"], told["modes"]) == ("346", "1211", "base, tiny")
    assert told["quality"] == "not measured"
    assert told["note"] == TOKENS["note"]
    measured = facts_of(run("compress", "--wait", "--verify", "https://example.com/"))
    assert measured["quality"] == "0.988"
    assert "note" not in measured
    assert service.bodies[1] == {"url": "https://example.com/", "verify": True}


def test_compress_sends_a_file_as_a_form_with_its_name(service: Service, run: Run) -> None:
    Path("scan.pdf").write_bytes(b"%PDF-1.7")
    words = ["--dom-id", "7", "--pages", "2-", "--mode", "small", "--viewport", "800x600"]
    assert run("compress", "scan.pdf", *words).exit_code == Exit.FINE
    (upload,) = service.uploads
    assert (upload.filename, upload.content) == ("scan.pdf", b"%PDF-1.7")
    assert upload.fields == {
        "domId": "7",
        "pages": "2-",
        "mode": "small",
        "viewport": '{"width": 800, "height": 600}',
    }
    assert upload.headers["Prefer"] == "wait=0"


def test_compress_takes_what_was_rendered_by_its_name(service: Service, run: Run) -> None:
    assert run("compress", "--dom-id", "shop-7", "--dtype", "int4").exit_code == Exit.FINE
    assert service.bodies == [{"domId": "shop-7", "dtype": "int4"}]


def test_compress_output_is_the_result_as_json(service: Service, run: Run) -> None:
    ready(service, answer(TOKENS))
    assert run("compress", "https://example.com/", "-o", "tokens.json").stdout == ""
    assert Path("tokens.json").read_bytes() == answer(TOKENS)


def test_failed_pages_have_their_exit_code_here_too(service: Service, run: Run) -> None:
    service.script = [[succeeded(2, {2: EngineFailed("It failed.")})]]
    service.planned_results = [answer({**TOKENS, "failedPages": [{"pageNo": 2, "error": {}}]})]
    result = run("compress", "--wait", "https://example.com/")
    assert (result.exit_code, facts_of(result)["failed pages"]) == (Exit.PAGES_FAILED, "1")
    assert result.stderr.endswith("https://example.com/: page 2: engine_failed: It failed.\n")


# -- decompress ---------------------------------------------


def test_decompress_prints_the_text_in_the_format_asked_for(service: Service, run: Run) -> None:
    ready(service, b"# Back\n", b"<h1>Back</h1>\n")
    assert run("decompress", "--wait", "a b%ü").stdout == "# Back\n"
    assert run("decompress", "--wait", "--format", "html", "a b%ü").stdout == "<h1>Back</h1>\n"
    assert service.asked[0] == "POST /api/dom/a%20b%25%C3%BC/decompress"
    assert service.bodies == [{"format": "markdown"}, {"format": "html"}]
    assert [asked.partition("?")[2] for asked in service.asked if "result" in asked] == [
        "format=markdown",
        "format=html",
    ]


def test_decompress_output_is_a_file(service: Service, run: Run) -> None:
    ready(service, b"Back")
    assert run("decompress", "7", "-f", "text", "-o", "out.txt", "--priority", "bulk").exit_code == Exit.FINE
    assert Path("out.txt").read_bytes() == b"Back"
    assert service.bodies == [{"format": "text", "priority": "bulk"}]


def test_what_the_service_refuses_is_told_with_the_name_it_was_about(service: Service, run: Run) -> None:
    service.script = [NotFound("No vision tokens are stored under '7'."), OperationUnavailable("Set OCR_ENGINE.")]
    result = run("decompress", "--wait", "7")
    assert (result.exit_code, result.stdout) == (Exit.FAILED, "")
    assert result.stderr == (
        "7: There is nothing at this address: No vision tokens are stored under '7'. (not_found)\n"
    )
    assert "(operation_unavailable)" in run("compress", "--dom-id", "7").stderr


# -- crawl ---------------------------------------------


def test_crawl_sends_every_address_and_prints_the_ids(service: Service, run: Run) -> None:
    urls = ["https://example.com/", "https://example.com/2"]
    result = run("crawl", *urls, "--session-id", "monday", "--priority", "bulk", "--no-compress")
    assert result.stdout.split() == list(service.states)
    common = {"sessionId": "monday", "priority": "bulk", "compress": False}
    assert service.bodies == [{"url": url, **common} for url in urls]
    assert service.asked == ["POST /api/crawl"] * 2


def test_crawl_wait_tells_what_was_found(service: Service, run: Run) -> None:
    ready(service, answer(CRAWL), answer({**CRAWL, "compression": None}))
    told = facts_of(run("crawl", "--wait", "https://example.com/"))
    assert (told["language"], told["layout"], told["session"], told["pages"]) == ("de", "listing", "monday", "2")
    assert told["byte ratio"] == "2.00 stored bytes per byte of the source"
    assert told["note"] == TOKENS["note"]
    assert "byte ratio" not in facts_of(run("crawl", "--wait", "https://example.com/"))


def test_crawl_writes_texts_into_a_folder_named_after_their_addresses(service: Service, run: Run) -> None:
    ready(service, b"# 1\n", b"# 2\n", b"# 3\n")
    urls = ["https://example.com/a/../%2e?q=1", "https://example.com/a/../%2e?q=2", "https://[::1]:8080"]
    assert run("crawl", *urls, "-o", "out").exit_code == Exit.FINE
    written = {path.name: path.read_text() for path in Path("out").iterdir()}
    assert written == {"example.com-a-..-2e.md": "# 1\n", "example.com-a-..-2e-2.md": "# 2\n", "1.md": "# 3\n"}


def test_a_result_without_data_is_not_believed(service: Service, run: Run) -> None:
    ready(service, b"<html>welcome</html>")
    result = run("crawl", "--wait", "https://example.com/")
    assert result.exit_code == Exit.FAILED
    assert "This is not how LightDom OCR answers" in result.stderr


# -- wrong command lines ---------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["render"], "Missing argument"),
        (["render", "missing.html"], "'missing.html' does not exist"),
        (["render", "https://x/", "--viewport", "wide"], "'wide' is not a size like 1280x720"),
        (["render", "https://x/", "--viewport", "9x9"], "viewport.width"),
        (["render", "https://x/", "--viewport", "4000x4000", "--device-scale-factor", "4"], "the limit is 64"),
        (["render", "https://x/", "--header", "Host"], "'Host' is not a header"),
        (["render", "https://x/", "--header", "Host: y"], "The header Host is not the caller's to set"),
        (["render", "https://x/", "--wait-for", "christmas"], "waitFor"),
        (["render", "https://x/", "-o", "no/page.png"], "there is no folder 'no'"),
        (["render", "https://x/", "-o", "page.png", "--no-wait"], "leave --no-wait out"),
        (["compress"], "Name a URL, a FILE, or the --dom-id"),
        (["compress", "https://x/", "--mode", "tiny", "--compression-ratio", "9"], "mode picks the mode already"),
        (["compress", "https://x/", "--pages", "2-1"], "does not go upward"),
        (["decompress", "7", "--format", "json"], "'json' is not one of"),
        (["crawl", "page.html"], "'page.html' is not an address"),
        (["crawl", "https://x/", "--session-id", "a/b"], "sessionId"),
    ],
)
def test_a_wrong_command_line_sends_nothing(service: Service, run: Run, words: list[str], said: str) -> None:
    result = run(*words)
    assert (result.exit_code, service.asked) == (Exit.USAGE, [])
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("command", ["render", "compress", "decompress", "crawl"])
def test_help_tells_the_exit_codes(run: Run, command: str) -> None:
    said = run(command, "--help").stdout
    for code in Exit:
        assert f"\n    {code:<4} " in said
