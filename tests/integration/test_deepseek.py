"""DeepSeek-OCR through the whole stack: a small random checkpoint in the published form, on `worker gpu`."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from uuid import UUID

import httpx
import pytest
from PIL import Image

from ocr_tasks.contract import PageResult, parse_options
from tests.conftest import settings_of
from tests.documents import multi_page
from tests.pages import grain
from tests.stack import CLI, PROGRAMS, StackUnderTest, running_stack
from tests.tiny_checkpoints import write_checkpoint
from workers.engine import Engine, PageDone, PageWork, WorkId
from workers.engine.deepseek.engine import load_deepseek

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

PAGES = 3
OPTIONS = {"mode": "tiny", "prompt": "free"}


@pytest.fixture(scope="module")
def stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("deepseek-ocr"), "deepseek-ocr")
    environment = new_environment(
        OCR_ENGINE="deepseek", DEEPSEEK_OCR_MODEL_PATH=str(checkpoint), OCR_CPU_THREADS="1", DEEPSEEK_OCR_BATCH_SIZE="4"
    )
    programs = {**PROGRAMS, "pool": [*CLI, "worker", "gpu"]}
    with running_stack(
        tmp_path_factory.mktemp("stack"), environment, "prepare", "reconcile", "pool", programs=programs
    ) as stack:
        stack.start("web")
        stack.wait_ready(120)
        yield stack


@pytest.fixture(scope="module")
def engine(stack: StackUnderTest) -> Iterator[Engine]:
    """The same checkpoint in this process."""
    engine = load_deepseek(settings_of(dict(stack.environment)))
    yield engine
    engine.close()


def test_pages_of_a_job_are_what_the_model_reads_one_by_one(stack: StackUnderTest, engine: Engine) -> None:
    document = multi_page([grain((300 + n, 400)) for n in range(PAGES)], "TIFF")
    job = stack.ended(stack.submit(document, **OPTIONS)["id"], 180)
    assert job["pages"] == {"total": PAGES, "succeeded": PAGES, "failed": 0}
    pages = stack.result(job["id"]).json()["data"]["pages"]
    for page in pages:
        assert (page["engine"], page["revision"]) == ("deepseek", engine.revision)
        assert page["visionTokens"] > 0
        assert page["textTokens"] > 0
        again = read_here(engine, stack, job["id"], page["pageNo"])
        assert {name: page[name] for name in again} == again
    assert len({page["text"] for page in pages}) == PAGES


def read_here(engine: Engine, stack: StackUnderTest, job_id: str, page_no: int) -> dict[str, object]:
    """What this process makes of a page's image."""
    content = httpx.get(f"{stack.url}/api/jobs/{job_id}/pages/{page_no}/image").raise_for_status().content
    image = Image.open(io.BytesIO(content)).convert("RGB")
    work = PageWork(WorkId(UUID(int=0), page_no, 1), lambda: image, parse_options(OPTIONS))
    engine.admit([work])
    done: list[PageDone] = []
    while not done:
        done += engine.step()
    (result,) = [one.outcome for one in done]
    assert isinstance(result, PageResult)
    return result.model_dump(
        mode="json",
        by_alias=True,
        include={"text", "markdown", "flags", "vision_tokens", "text_tokens", "mode", "retried_from"},
    )
