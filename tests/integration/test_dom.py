"""Pages rendered, compressed, read back and crawled through the whole stack, with Chromium and a small random model."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from ocr_tasks import client
from ocr_tasks.contract import OcrOptions, PageResult
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.views import get_job_row
from tests.browser.conftest import programs  # noqa: F401 - a fixture
from tests.browser.site import Site, running_site
from tests.conftest import settings_of
from tests.documents import multi_page
from tests.pages import grain
from tests.stack import CLI, PROGRAMS, StackUnderTest, running_stack
from tests.tiny_checkpoints import write_checkpoint
from workers.engine import Engine, PageDone, PageWork, WorkId
from workers.engine.deepseek.engine import load_deepseek
from workers.visual import describe, unpack

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

STYLE = "margin: 40px; font: 20px serif"
PAGE = f"""<!doctype html><html lang="en"><head><title>Weaver Lane</title></head><body style="{STYLE}">
<h1>Northgate Municipal Archive</h1><p>Opening hours are nine to five on weekdays.</p>
<table><tr><td>Monday</td><td>open</td></tr><tr><td>Sunday</td><td>closed</td></tr></table></body></html>"""
TALL = f"""<!doctype html><title>Register</title><body style="{STYLE}"><h1>Register</h1><table>
{"".join(f"<tr><td>Entry {n}</td><td>shelf {n * 7}</td></tr>" for n in range(70))}</table>"""
SMALL: dict[str, Any] = {"viewport": {"width": 640, "height": 480}}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture(scope="module")
def stack(
    programs: None,  # noqa: F811
    site: Site,
    new_environment: Callable[..., dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StackUnderTest]:
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("deepseek-ocr"), "deepseek-ocr")
    environment = new_environment(
        OCR_ENGINE="deepseek",
        DEEPSEEK_OCR_MODEL_PATH=str(checkpoint),
        OCR_CPU_THREADS="1",
        DEEPSEEK_OCR_BATCH_SIZE="4",
        OCR_URL_ALLOW=f"127.0.0.1:{site.port}",
    )
    parts = {**PROGRAMS, "pool": [*CLI, "worker", "gpu"], "browser": [*CLI, "worker", "browser"]}
    names = ("prepare", "browser", "reconcile", "pool")
    with running_stack(tmp_path_factory.mktemp("stack"), environment, *names, programs=parts) as stack:
        stack.start("web")
        stack.wait_ready(120)
        yield stack


@pytest.fixture(scope="module")
def store(stack: StackUnderTest) -> Iterator[Database]:
    database = Database(settings_of(dict(stack.environment)))
    yield database
    database.close()


@pytest.fixture(scope="module")
def engine(stack: StackUnderTest) -> Iterator[Engine]:
    """The same checkpoint in this process."""
    engine = load_deepseek(settings_of(dict(stack.environment)))
    yield engine
    engine.close()


def posted(stack: StackUnderTest, path: str, body: dict[str, Any]) -> Any:
    """What a route answers that is waited for."""
    with stack.http as http:
        answer = http.post(path, json=body, headers={"Prefer": "wait=60"})
    assert answer.status_code == 200, answer.text
    return answer.json()


def fetched(stack: StackUnderTest, path: str) -> bytes:
    with stack.http as http:
        return http.get(path).raise_for_status().content


# -- render ---------------------------------------------


def test_a_page_that_was_given_is_harvested_with_the_place_of_its_text(stack: StackUnderTest) -> None:
    harvest = posted(stack, "/api/dom/render", {"html": PAGE, "domId": "archive-7", **SMALL})["data"]
    assert (harvest["domId"], harvest["title"], harvest["url"]) == ("archive-7", "Weaver Lane", None)
    assert (harvest["width"], harvest["height"]) == (640, 480)
    assert harvest["pages"] == [{"pageNo": 1, "top": 0, "bottom": 480}]
    assert "Opening hours are nine to five" in harvest["text"]
    assert "Northgate Municipal Archive" in [run["text"].strip() for run in harvest["textRuns"]]
    image = Image.open(io.BytesIO(fetched(stack, "/api/dom/archive-7/image"))).convert("L")
    assert image.size == (640, 480)
    for run in harvest["textRuns"]:
        grey = image.crop(run["box"]).tobytes()
        assert min(grey) < 128 < max(grey), f"there is no ink at {run}"
    assert b"Northgate" in fetched(stack, f"/api/dom/{harvest['id']}/html")


def test_a_page_of_the_web_is_harvested_after_its_scripts(stack: StackUnderTest, site: Site) -> None:
    url = site.page("/script", "<title>x</title><p id=p>before<script>p.textContent = 'after'</script>")
    moved = site.page("/moved", "", status=302, headers={"Location": "/script"})
    harvest = posted(stack, "/api/dom/render", {"url": moved, **SMALL})["data"]
    assert (harvest["url"], harvest["finalUrl"], harvest["httpStatus"]) == (moved, url, 200)
    assert harvest["text"].strip() == "after"


# -- compress and decompress ---------------------------------------------


def test_vision_tokens_stored_as_bf16_decode_to_what_reading_gives(stack: StackUnderTest, engine: Engine) -> None:
    compared = 0
    for title in ("Northgate", "Weaver Lane", "Register", "Minutes", "Deeds"):
        html = f"<body style='{STYLE}'><h1>{title}</h1>" + f"<p>{title} of the archive, again.</p>" * 6
        body = {"html": html, "mode": "tiny", "dtype": "bf16", "verify": True, **SMALL}
        data = posted(stack, "/api/dom/compress", body)["data"]
        (page,) = data["pages"]
        assert (page["format"], page["mode"], page["visionTokens"]) == ("bf16", "tiny", 73)
        assert page["originalSize"] == len(fetched(stack, f"/api/dom/{data['domId']}/html"))
        back = posted(stack, f"/api/dom/{data['domId']}/decompress", {"format": "text"})
        assert (back["format"], back["quality"]) == ("text", pytest.approx(page["quality"]))
        assert back["metadata"]["source"] == "reconstruction"
        read = read_here(engine, fetched(stack, f"/api/dom/{data['domId']}/image"))
        if read.retried_from is None:  # else it was read in another mode in the end
            assert back["domSnapshot"] == read.text != ""
            compared += 1
    assert compared


def read_here(engine: Engine, image: bytes) -> PageResult:
    """What this process reads in a picture, with the same model and in the mode `tiny`."""
    picture = Image.open(io.BytesIO(image)).convert("RGB")
    engine.admit([PageWork(WorkId(UUID(int=0), 1, 1), lambda: picture, OcrOptions(mode="tiny"))])
    done: list[PageDone] = []
    while not done:
        done += engine.step()
    assert isinstance(done[0].outcome, PageResult)
    return done[0].outcome


def test_the_pages_of_a_tall_harvest_share_its_bytes_and_say_both_ratios(
    stack: StackUnderTest, store: Database
) -> None:
    harvest = posted(stack, "/api/dom/render", {"html": TALL, "domId": "register", **SMALL})["data"]
    assert len(harvest["pages"]) > 1
    data = posted(stack, "/api/dom/compress", {"domId": "register", "mode": "tiny"})["data"]
    assert [page["offsetY"] for page in data["pages"]] == [page["top"] for page in harvest["pages"]]
    assert sum(page["originalSize"] for page in data["pages"]) == data["originalSize"] == harvest["domBytes"]
    for part in [*data["pages"], data]:
        assert part["compressionRatio"] == pytest.approx(part["textTokens"] / part["visionTokens"])
        assert part["byteRatio"] == pytest.approx(part["compressedSize"] / part["originalSize"])
        assert part["quality"] is None
    assert data["textTokens"] > 100
    assert "larger than its source" in data["note"]
    rows = store.all("SELECT * FROM dom_visual_compressions WHERE harvest_id = :id ORDER BY page_no", id=harvest["id"])
    for row, page in zip(rows, data["pages"], strict=True):
        container = bytes(row["visual_tokens"])
        assert (len(container), describe(container).dtype) == (page["compressedSize"], "int8")
        assert unpack(container).page_size == (page["width"], page["height"])


def test_the_smallest_mode_is_taken_that_is_good_enough_else_the_best(stack: StackUnderTest) -> None:
    data = posted(stack, "/api/dom/compress", {"html": PAGE, "minQuality": 0.99, **SMALL})["data"]
    assert data["quality"] < 0.99, "a random model reads nothing"
    generous = posted(stack, "/api/dom/compress", {"html": PAGE, "minQuality": 1e-9, "dtype": "int4", **SMALL})["data"]
    assert generous["visionTokens"] <= data["visionTokens"] or generous["quality"] == 0


def test_a_ratio_to_aim_at_picks_the_mode(stack: StackUnderTest) -> None:
    low = posted(stack, "/api/dom/compress", {"html": TALL, "compressionRatio": 0.5, **SMALL})["data"]
    high = posted(stack, "/api/dom/compress", {"html": TALL, "compressionRatio": 50, **SMALL})["data"]
    assert high["visionTokens"] < low["visionTokens"]
    assert {page["mode"] for page in high["pages"]} == {"tiny"}


def test_a_file_is_compressed_under_the_callers_name(stack: StackUnderTest) -> None:
    document = multi_page([grain((200, 260)), grain((210, 260))], "TIFF")
    with stack.http as http:
        form = {"domId": "scan-1", "mode": "tiny"}
        answer = http.post("/api/dom/compress", files={"file": ("a.tiff", document)}, data=form, params={"wait": "60"})
    data = answer.json()["data"]
    assert (data["domId"], data["harvestId"], data["originalSize"]) == ("scan-1", None, len(document))
    assert (data["textTokens"], data["compressionRatio"], data["quality"]) == (None, None, None)
    back = posted(stack, "/api/dom/scan-1/decompress", {"format": "markdown"})
    assert back["metadata"]["pages"] == 2


def test_a_scan_may_be_read_and_compressed_in_one_pass(stack: StackUnderTest) -> None:
    job = stack.ended(stack.submit(multi_page([grain((200, 260))], "TIFF"), mode="tiny", compression="true")["id"])
    result = stack.result(job["id"]).json()
    container = fetched(stack, f"/api/jobs/{job['id']}/pages/1/tokens")
    assert result["metadata"]["tokensGenerated"] == 73
    assert describe(container).mode == "tiny"


# -- crawl ---------------------------------------------


def test_a_page_of_the_web_is_crawled_in_one_call(stack: StackUnderTest, site: Site, store: Database) -> None:
    url = site.page("/archive", PAGE)
    data = posted(stack, "/api/crawl", {"url": url, "sessionId": "s-1", "mode": "tiny", **SMALL})["data"]
    assert (data["crawl"]["url"], data["crawl"]["crawlSessionId"]) == (url, "s-1")
    assert data["crawl"]["extractedContent"]["title"] == "Weaver Lane"
    assert data["crawl"]["language"] == "en"
    assert data["compression"]["visionTokens"] == sum(page["visionTokens"] for page in data["pages"]) > 0
    row = store.one("SELECT * FROM crawled_pages_visual WHERE url = :url", url=url)
    assert row is not None
    assert str(row["id"]) == data["crawl"]["id"]


def test_a_crawler_needs_no_web_service(stack: StackUnderTest, site: Site) -> None:
    caller = client.Client.of(settings_of(dict(stack.environment)))
    jobs = [
        caller.crawl(site.page(f"/crawled/{n}", PAGE), session_id="s-2", mode="tiny", priority="bulk", **SMALL)
        for n in range(3)
    ]
    for job in jobs:
        assert job.get(timeout=60).status == "succeeded"
    with stack.http as http:
        found = http.get("/api/crawl", params={"sessionId": "s-2"}).json()["crawls"]
    assert len(found) == 3


# -- addresses ---------------------------------------------


def test_a_document_of_the_web_is_read(stack: StackUnderTest, site: Site) -> None:
    scan = multi_page([grain((200, 200)), grain((201, 200))], "TIFF")
    url = site.page("/scan.tiff", scan, media_type="image/tiff")
    answer = posted(stack, "/api/ocr/process", {"url": url, "mode": "tiny", "prompt": "free"})
    assert [page["pageNo"] for page in answer["data"]["pages"]] == [1, 2]


@pytest.mark.parametrize("path", ["/api/dom/render", "/api/dom/compress", "/api/crawl", "/api/ocr/process"])
def test_an_address_of_this_machine_is_refused(stack: StackUnderTest, path: str, store: Database) -> None:
    with stack.http as http:
        answer = http.post(path, json={"url": f"{stack.url}/healthz"}).json()
    job = stack.ended(answer["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "address_forbidden")
    assert get_job_row(store, UUID(job["id"]))["pages_total"] is None
