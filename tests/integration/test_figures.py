"""A document read by a server elsewhere, through the whole stack; its figures are cut out, shown, and go with it."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from PIL import Image

from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import OcrOptions, PageResult, Source
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.reading import PageClaim, claim_page, succeed_page
from ocr_tasks.jobs.retention import unreferenced
from ocr_tasks.jobs.submitting import create_job
from ocr_tasks.settings import Settings
from tests.answers import DOCUMENT
from tests.conftest import settings_of
from tests.documents import encoded
from tests.openai_server import OpenAiServer, Request, openai_server
from tests.stack import StackUnderTest, running_stack
from web import create_app
from workers.reconcile import Reconciler
from workers.runtime import make_runtime

pytestmark = pytest.mark.stack

HOUR_S = 3600
PICTURE = (100, 250, 900, 500)  # of DOCUMENT, on a page whose pixels are the grid's


def drawing() -> bytes:
    """A page of 999 x 999 pixels, grey where DOCUMENT has its figure."""
    page = Image.new("L", (999, 999), 255)
    page.paste(77, PICTURE)
    return encoded(page, "PNG")


@pytest.fixture(scope="module")
def server() -> Iterator[OpenAiServer]:
    def answer(request: Request) -> str:
        return DOCUMENT if "markdown" in request.prompt else "# Plain"

    with openai_server(answer=answer, key="sesame") as server:
        yield server


@pytest.fixture(scope="module")
def stack(
    server: OpenAiServer, new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    environment = new_environment(
        OCR_ENGINE="endpoint", DEEPSEEK_OCR_ENDPOINT=server.url, DEEPSEEK_OCR_API_KEY="sesame", OCR_LOG_LEVEL="debug"
    )
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, environment, "web", "prepare", "reconcile", "engine") as stack:
        yield stack


@pytest.fixture(scope="module")
def job(stack: StackUnderTest) -> dict[str, Any]:
    job = stack.ended(stack.submit(drawing(), "page.png")["id"])
    assert job["status"] == "succeeded", job
    return job


def test_a_page_is_read_by_the_server_and_keeps_its_layout(stack: StackUnderTest, job: dict[str, Any]) -> None:
    page = stack.result(job["id"]).json()["data"]["pages"][0]
    assert [block["kind"] for block in page["blocks"]][:4] == ["heading", "paragraph", "heading", "figure"]
    assert page["blocks"][3]["box"] == list(PICTURE)
    assert page["engine"] == "endpoint"
    assert page["revision"].startswith("deepseek-ai/DeepSeek-OCR@vllm-0.12.0")
    assert (page["visionTokens"], page["flags"]) == (283, [])
    assert "sesame" not in stack.log("engine")


def test_its_figure_is_linked_from_the_markdown_and_served(stack: StackUnderTest, job: dict[str, Any]) -> None:
    path = f"/api/jobs/{job['id']}/pages/1/figures/1"
    markdown = stack.result(job["id"], "markdown").text
    assert f"\n\n![figure]({path})\n\nFigure 1 | Ships by month\n\n" in markdown
    with stack.http as http:
        answer = http.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "immutable" in answer.headers["cache-control"]
        figure = Image.open(io.BytesIO(answer.content))
        assert (figure.size, figure.getextrema()) == ((800, 250), (77, 77))
        for other, status in (("2", 404), ("0", 400), ("x", 400)):
            assert http.get(f"{path[:-1]}{other}").status_code == status
        assert http.get(f"{path}?size=9").status_code == 400


def test_the_result_as_html_shows_the_figure_and_loads_nothing_else(stack: StackUnderTest, job: dict[str, Any]) -> None:
    answer = stack.result(job["id"], "html")
    assert f'<img src="/api/jobs/{job["id"]}/pages/1/figures/1" alt="figure">' in answer.text
    assert "<td>1,114</td>" in answer.text
    assert answer.headers["content-security-policy"] == "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"
    assert "img-src" not in stack.result(job["id"], "text").headers["content-security-policy"]


def test_the_prompt_reaches_the_server(stack: StackUnderTest, server: OpenAiServer) -> None:
    job = stack.ended(stack.submit(drawing(), "page.png", prompt="locate", locate="Total")["id"])
    assert job["status"] == "succeeded", job
    assert server.requests[-1].prompt == "<image>\nLocate <|ref|>Total<|/ref|> in the image."
    assert stack.text(job["id"]) == "Plain"


def test_a_figure_stays_as_long_as_its_page_and_goes_after_it(stack: StackUnderTest, job: dict[str, Any]) -> None:
    settings = settings_of(dict(stack.environment))
    blobs, path = BlobStore(settings.blobs_url), f"/api/jobs/{job['id']}/pages/1/figures/1"
    for retention_days, status in ((30.0, 200), (1e-9, 410)):
        make_old(blobs)
        runtime = make_runtime(settings.model_copy(update={"retention_days": retention_days}), pool_size=1)
        Reconciler(runtime).keep_house()
        runtime.db.close()
        with stack.http as http:
            assert http.get(path).status_code == status
    assert not list(blobs.older_than(0)), "something is left that nobody refers to"


def make_old(blobs: BlobStore) -> None:
    for path in blobs.fs.find(blobs.root):
        os.utime(path, (time.time() - 100 * HOUR_S,) * 2)


def test_figures_of_a_page_that_is_not_read_yet_are_not_ready(db: Database, settings: Settings) -> None:
    job_id = page_to_be_read(db)
    with create_app(settings).test_client() as client:
        answer = client.get(f"/api/jobs/{job_id}/pages/1/figures/1")
        assert (answer.status_code, answer.get_json()["code"]) == (409, "not_ready")


def test_a_stale_attempts_figures_are_nobodys(db: Database) -> None:
    job_id, result = page_to_be_read(db), PageResult(text="", markdown="")
    stale = claim_page(db, job_id, 1, node="one", lease_s=9)
    assert isinstance(stale, PageClaim)
    db.execute("UPDATE pages SET attempt = 2")
    how: dict[str, Any] = {"engine": "rapid", "revision": "r", "queue_ms": 0}
    assert succeed_page(db, stale, result, figure_blobs=["f" * 64], **how) is None
    assert unreferenced(db, ["f" * 64]) == ["f" * 64]
    db.execute("UPDATE pages SET attempt = 1")
    assert succeed_page(db, stale, result, figure_blobs=["f" * 64, "e" * 64], **how) is not None
    assert unreferenced(db, ["f" * 64, "e" * 64, "d" * 64]) == ["d" * 64]


def page_to_be_read(db: Database) -> UUID:
    """The id of a running job whose only page waits for an engine."""
    job_id = uuid4()
    source = Source(blob="0" * 64, media_type="image/png", size_bytes=1)
    create_job(db, job_id, engine="rapid", source=source, options=OcrOptions())
    db.execute("UPDATE jobs SET status = 'running', pages_total = 1, pages_released = 1 WHERE id = :job", job=job_id)
    db.execute("INSERT INTO pages (job_id, page_no, image_blob) VALUES (:job, 1, 'b')", job=job_id)
    return job_id
