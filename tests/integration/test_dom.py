"""Pages rendered, compressed, read back and crawled through the whole stack, with Chromium and a small random model."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ocr_tasks.contract import Operation, PageResult
from ocr_tasks.jobs.database import Database
from tests.browser.site import Site, running_site
from tests.conftest import settings_of
from tests.documents import multi_page
from tests.pages import grain
from tests.stack import CLI, PROGRAMS, StackUnderTest, running_stack
from tests.tiny_checkpoints import write_checkpoint
from workers.engine.deepseek.engine import load_deepseek

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

PAGE = """<!doctype html><html lang="en"><head><title>Weaver Lane</title></head><body style="margin:40px;font:20px serif">
<h1>Northgate Municipal Archive</h1><p>Opening hours are nine to five on weekdays.</p>
<table><tr><td>Monday</td><td>open</td></tr><tr><td>Sunday</td><td>closed</td></tr></table></body></html>"""
SMALL = {"viewport": {"width": 640, "height": 480}}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture(scope="module")
def stack(
    site: Site, new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("deepseek-ocr"), "deepseek-ocr")
    environment = new_environment(
        OCR_ENGINE="deepseek",
        DEEPSEEK_OCR_MODEL_PATH=str(checkpoint),
        OCR_CPU_THREADS="1",
        DEEPSEEK_OCR_BATCH_SIZE="4",
        OCR_URL_ALLOW=f"127.0.0.1:{site.port}",
    )
    programs = {**PROGRAMS, "pool": [*CLI, "worker", "gpu"], "browser": [*CLI, "worker", "browser"]}
    parts = ("prepare", "browser", "reconcile", "pool")
    with running_stack(tmp_path_factory.mktemp("stack"), environment, *parts, programs=programs) as stack:
        stack.start("web")
        stack.wait_ready(120)
        yield stack


def posted(stack: StackUnderTest, path: str, body: dict[str, Any], wait_s: int = 60) -> Any:
    """What a route answers that is waited for."""
    answer = stack.http.post(path, json=body, headers={"Prefer": f"wait={wait_s}"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_page_that_was_given_is_harvested(stack: StackUnderTest, store: Database) -> None:
    answer = posted(stack, "/api/dom/render", {"html": PAGE, "domId": "archive-7", **SMALL})
    harvest = answer["data"]
    assert (harvest["domId"], harvest["title"], harvest["url"]) == ("archive-7", "Weaver Lane", None)
    assert (harvest["width"], harvest["height"]) == (640, 480)
    assert "Northgate Municipal Archive" in harvest["text"]
    assert [page["pageNo"] for page in harvest["pages"]] == [1]
    for run in harvest["textRuns"]:
        x1, y1, x2, y2 = run["box"]
        assert 0 <= x1 < x2 <= 640
        assert 0 <= y1 < y2 <= 480
    with stack.http as http:
        for name in ("archive-7", harvest["id"]):
            assert http.get(f"/api/dom/{name}").json()["id"] == harvest["id"]
        image = http.get(f"/api/dom/{harvest['id']}/image")
        assert image.headers["content-type"] == "image/png"
        assert len(image.content) == harvest["imageBytes"]
        assert "Northgate" in http.get(f"/api/dom/{harvest['id']}/html").text


def test_what_is_compressed_decodes_to_what_reading_gives(stack: StackUnderTest) -> None:
    answer = posted(
        stack, "/api/dom/compress", {"html": PAGE, "mode": "tiny", "dtype": "bf16", "verify": True, **SMALL}
    )
    data = answer["data"]
    (page,) = data["pages"]
    assert (page["format"], page["mode"], page["visionTokens"]) == ("bf16", "tiny", 73)
    assert page["compressionRatio"] == pytest.approx(page["textTokens"] / page["visionTokens"])
    assert page["byteRatio"] == pytest.approx(page["compressedSize"] / page["originalSize"])
    assert page["originalSize"] == len(stack.http.get(f"/api/dom/{data['domId']}/html").content)
    assert 0 <= page["quality"] <= 1
    assert "larger than its source" in data["note"]
    back = posted(stack, f"/api/dom/{data['domId']}/decompress", {"format": "text"})
    assert back["metadata"]["source"] == "reconstruction"
    assert back["quality"] == pytest.approx(page["quality"])
    assert back["domSnapshot"] == read_here(stack, data["domId"])


def read_here(stack: StackUnderTest, dom_id: str) -> str:
    """What this process reads on a harvest's screenshot, with the same model and in the same mode."""
    import io
    from uuid import UUID

    from PIL import Image

    from ocr_tasks.contract import OcrOptions
    from workers.engine import PageDone, PageWork, WorkId

    image = Image.open(io.BytesIO(stack.http.get(f"/api/dom/{dom_id}/image").content)).convert("RGB")
    engine = load_deepseek(settings_of(dict(stack.environment)))
    work = PageWork(
        WorkId(UUID(int=0), 1, 1),
        lambda: image,
        OcrOptions(mode="tiny"),
        frozenset({Operation.ENCODE, Operation.DECODE}),
        stored_as="bf16",
    )
    engine.admit([work])
    done: list[PageDone] = []
    while not done:
        done += engine.step()
    engine.close()
    assert isinstance(done[0].outcome, PageResult)
    return done[0].outcome.text


def test_a_page_of_the_web_is_crawled(stack: StackUnderTest, site: Site, store: Database) -> None:
    url = site.page("/archive", PAGE)
    answer = posted(stack, "/api/crawl", {"url": url, "sessionId": "s-1", "mode": "tiny", **SMALL})
    data = answer["data"]
    assert (data["crawl"]["url"], data["crawl"]["crawlSessionId"]) == (url, "s-1")
    assert data["crawl"]["extractedContent"]["title"] == "Weaver Lane"
    assert data["compression"]["visionTokens"] == 73
    row = store.one("SELECT * FROM crawled_pages_visual WHERE url = :url", url=url)
    assert row is not None
    assert str(row["id"]) == data["crawl"]["id"]


def test_a_document_of_the_web_is_read(stack: StackUnderTest, site: Site) -> None:
    url = site.page("/scan.tiff", multi_page([grain((200, 200)), grain((201, 200))], "TIFF"), media_type="image/tiff")
    answer = posted(stack, "/api/ocr/process", {"url": url, "mode": "tiny", "prompt": "free"})
    assert [page["pageNo"] for page in answer["data"]["pages"]] == [1, 2]


def test_an_address_of_this_machine_is_refused_and_never_reached(stack: StackUnderTest) -> None:
    for path in ("/api/dom/render", "/api/dom/compress", "/api/crawl", "/api/ocr/process"):
        job = stack.http.post(path, json={"url": f"{stack.url}/healthz"}).json()
        assert stack.ended(job["id"])["error"]["code"] == "address_forbidden"
