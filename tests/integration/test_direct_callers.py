"""Direct callers: jobs sent as Celery tasks, through a whole real stack, with an engine that answers at once."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from celery import chain, chord, group, signature
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult

from ocr_tasks.blobs import BlobStore
from ocr_tasks.client import Client, Job, JobCancelled, JobFailed, JobNotOver, JobProgress
from ocr_tasks.contract import Kind, Priority, Status, TaskName
from ocr_tasks.direct import INLINE_BYTES
from ocr_tasks.errors import (
    InvalidOption,
    InvalidPageRange,
    OcrError,
    OperationUnavailable,
    ServiceUnavailable,
    TooLarge,
    UnknownField,
    UnsupportedMediaType,
)
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.progress import Progress
from ocr_tasks.states import Over, States, failure_meta, progress_meta, revoked_meta, state_key
from tests.conftest import settings_of
from tests.simulated import expected_text
from tests.stack import StackUnderTest, free_port, light_tiff, running_stack, tiff, until
from workers.publish import Publisher

pytestmark = pytest.mark.stack

OCR, QUEUE = str(TaskName.OCR), "prepare.interactive"
TEXT = {"format": "text"}

ROOT = Path(__file__).resolve().parents[2]
PYTHON_EXAMPLES = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    """Twenty pages a second, so that a job of a few hundred is still running when it is looked at."""
    folder = tmp_path_factory.mktemp("stack")
    environment = new_environment(
        SIM_CAPACITY="2", SIM_PAGE_S="0.05", OCR_BLOB_URL=(folder / "blobs").as_uri(), OCR_MAX_UPLOAD_MB="4"
    )
    with running_stack(folder, environment, "web", "prepare", "reconcile", "simulated") as stack:
        yield stack


@pytest.fixture(scope="module")
def caller(stack: StackUnderTest) -> Client:
    return Client.of(settings_of(dict(stack.environment)))


@pytest.fixture
def store(stack: StackUnderTest) -> Iterator[Database]:
    database = Database(settings_of(dict(stack.environment)))
    yield database
    database.close()


def inline(content: bytes) -> dict[str, str]:
    return {"bytes": base64.b64encode(content).decode()}


def send(caller: Client, source: object, options: object = TEXT, **how: Any) -> AsyncResult:
    """What a caller does that only knows the names: returns Celery's own result."""
    how = {"task_id": str(uuid.uuid4()), "queue": QUEUE, "ignore_result": False} | how
    return caller.app.send_task(OCR, kwargs={"source": source, "options": options}, **how)


def rest(stack: StackUnderTest, job_id: str) -> httpx.Response:
    return httpx.get(f"{stack.url}/api/jobs/{job_id}")


def wait_for_row(stack: StackUnderTest, job_id: str) -> None:
    until(lambda: rest(stack, job_id).is_success, what=f"the row of {job_id}")


def forget(stack: StackUnderTest, job_id: uuid.UUID) -> None:
    """Take one state away from Redis."""
    redis.Redis.from_url(stack.environment["REDIS_URL"]).delete(state_key(str(job_id)))


# -- results ---------------------------------------------


def test_a_document_comes_back_as_text_and_its_job_is_one_like_every_other(
    caller: Client, stack: StackUnderTest
) -> None:
    job = caller.ocr(tiff(3), TEXT, filename="three.tiff")
    result = job.get(timeout=30)
    assert result.text().split("\f") == [expected_text(65 + n, 64) for n in range(3)]
    assert (result.job_id, result.status, result.pages.succeeded) == (job.id, "succeeded", 3)
    assert stack.job(str(job.id))["status"] == "succeeded"
    assert stack.text(str(job.id)) == result.text()
    assert caller.job(job.id).get(timeout=1) == result
    assert job.progress().succeeded == 3


def test_a_path_an_open_file_and_a_blob_key_are_sources_too(caller: Client, tmp_path: Path) -> None:
    path = tmp_path / "one.tiff"
    path.write_bytes(tiff(1))
    key = BlobStore(caller.settings.blobs_url).put(tiff(1, first_width=70))
    with path.open("rb") as file:
        jobs = [caller.ocr(source, format="text") for source in (path, file, io.BytesIO(tiff(1)), key)]
        widths = [job.get(timeout=30).text() for job in jobs]
    assert widths == [expected_text(width, 64) for width in (65, 65, 65, 70)]


def test_what_does_not_fit_into_a_message_goes_through_the_shared_blob_store(caller: Client) -> None:
    large = tiff(1, height=INLINE_BYTES // 64)
    assert len(large) > INLINE_BYTES
    assert caller.ocr(large, TEXT).get(timeout=30).text() == expected_text(65, INLINE_BYTES // 64)


def test_a_large_result_is_fetched_from_the_shared_blob_store(
    caller: Client, stack: StackUnderTest, store: Database
) -> None:
    job = caller.ocr(tiff(1), TEXT)
    assert job.get(timeout=30).content is not None
    large = "x" * (INLINE_BYTES + 1)
    stored = {"text": {"blob": BlobStore(caller.settings.blobs_url).put(large.encode()), "size_bytes": len(large)}}
    forget(stack, job.id)
    store.execute("UPDATE jobs SET result = :r, published_at = NULL WHERE id = :job", job=job.id, r=json.dumps(stored))
    result = job.get(timeout=15)
    assert (result.content, result.size_bytes) == (None, len(large))
    assert result.text() == large


def test_the_same_job_sent_twice_is_read_once(caller: Client, stack: StackUnderTest, store: Database) -> None:
    job_id = uuid.uuid4()
    first, _ = (caller.ocr(tiff(2), TEXT, job_id=job_id) for _ in range(2))
    assert first.get(timeout=30).text() == stack.text(str(job_id))
    caller.ocr(tiff(1), TEXT).get(timeout=30)  # its message was behind the second one
    assert caller.job(job_id).get(timeout=5).pages.succeeded == 2
    rows = store.all("SELECT attempt FROM pages WHERE job_id = :job", job=job_id)
    assert [row["attempt"] for row in rows] == [1, 1]


def test_a_job_that_fails_raises_the_problem_that_rest_answers(caller: Client, stack: StackUnderTest) -> None:
    job = caller.ocr(tiff(3), pages="2-9")
    with pytest.raises(JobFailed, match="3 page") as failed:
        job.get(timeout=30)
    assert failed.value.reason == "invalid_page_range"
    assert failed.value.problem() == stack.job(str(job.id))["error"]


def test_get_gives_up_when_its_time_is_over(caller: Client) -> None:
    with pytest.raises(TimeoutError, match=r"not over after 0\.2 s"):
        caller.job(uuid.uuid4()).get(timeout=0.2)


def test_a_redis_that_is_away_is_waited_for_and_sending_says_so(caller: Client) -> None:
    gone = Client.of(caller.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"}))
    with pytest.raises(JobNotOver, match="Redis is not reachable"):
        gone.job(uuid.uuid4()).get(timeout=0.3)
    with pytest.raises(ServiceUnavailable, match="Sending again with job_id="):
        gone.ocr(tiff(1))


@pytest.mark.parametrize("example", PYTHON_EXAMPLES)
def test_what_the_readme_tells_direct_callers_to_run_runs(stack: StackUnderTest, example: str) -> None:
    run = [sys.executable, "-c", example]
    ran = subprocess.run(
        run, cwd=ROOT, env={**os.environ, **stack.environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"page of \d+ by \d+", ran.stdout)


# -- refused before anything is sent ---------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "error", "named"),
    [
        (b"<html><p>text</html>", {}, UnsupportedMediaType, "text/html"),
        (b"%PDF-1.7", {"mode": "huge"}, InvalidOption, "huge"),
        (b"%PDF-1.7", {"colour": "red"}, UnknownField, "colour"),
        (b"%PDF-1.7", {"pages": "5-2"}, InvalidPageRange, "5-2"),
        (b"%PDF-1.7", {"compression": True}, OperationUnavailable, "encode"),
        (b"%PDF-1.7" + bytes(4 * 1024 * 1024), {}, TooLarge, str(4 * 1024 * 1024)),
        ("page.pdf", {}, InvalidOption, "page.pdf"),
        ("0" * 64, {}, OcrError, "0" * 64),
    ],
)
def test_what_cannot_be_read_is_refused_before_it_is_sent(
    caller: Client, source: bytes | str, options: dict[str, object], error: type[OcrError], named: str
) -> None:
    nowhere = caller.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    with pytest.raises(error, match=named):
        Client.of(nowhere).ocr(source, options)


def test_a_large_document_without_a_shared_blob_store_is_refused_and_says_what_to_set(caller: Client) -> None:
    alone = Client.of(caller.settings.model_copy(update={"blob_url": None}))
    with pytest.raises(TooLarge, match=f"{INLINE_BYTES} fit into a message. Set OCR_BLOB_URL"):
        alone.ocr(b"%PDF-1.7" + bytes(INLINE_BYTES))


def test_a_mistyped_queue_raises(caller: Client) -> None:
    with pytest.raises(KeyError, match=r"prepare\.intractive"):
        send(caller, inline(tiff(1)), queue="prepare.intractive")


# -- refused by the worker ---------------------------------------------


@pytest.mark.parametrize(
    ("source", "options", "task_id", "code"),
    [
        ({"bytes": "no base64!"}, TEXT, None, "invalid_option"),
        ({"bytes": "", "blob": "0" * 64}, TEXT, None, "invalid_option"),
        ({}, TEXT, None, "invalid_option"),
        ("page.pdf", TEXT, None, "invalid_option"),
        (inline(b""), TEXT, None, "empty_file"),
        (inline(b"plain text"), TEXT, None, "unsupported_media_type"),
        (inline(bytes(INLINE_BYTES + 1)), TEXT, None, "body_too_large"),
        (inline(tiff(1)), {"compression": True}, None, "operation_unavailable"),
        (inline(tiff(1)), TEXT, "AB5A8F4E-9D7C-4B61-9A43-0D6D1B1E6B11", "invalid_id"),
    ],
)
def test_a_raw_payload_that_is_wrong_fails_its_task_and_leaves_no_job(
    caller: Client, store: Database, source: object, options: object, task_id: str | None, code: str
) -> None:
    result = send(caller, source, options, task_id=task_id or str(uuid.uuid4()))
    with pytest.raises(RuntimeError, match=f"^{code}: "):
        result.get(timeout=20)
    assert result.state == "FAILURE"
    assert store.one("SELECT id FROM jobs WHERE id = :job", job=uuid.UUID(result.id)) is None


def test_an_unknown_argument_is_named(caller: Client) -> None:
    task_id = str(uuid.uuid4())
    sent = caller.app.send_task(OCR, kwargs={"sorce": {}}, task_id=task_id, queue=QUEUE, ignore_result=False)
    with pytest.raises(RuntimeError, match=r"^unknown_field: .*'sorce'"):
        sent.get(timeout=20)


def test_links_are_refused_and_nothing_of_them_is_sent(caller: Client, store: Database) -> None:
    next_ids = [str(uuid.uuid4()) for _ in range(2)]
    after = [signature("nobody", app=caller.app, queue=QUEUE, task_id=next_id) for next_id in next_ids]
    linked = send(caller, inline(tiff(1)), link=after[0])
    caught = send(caller, inline(tiff(1)), link_error=after[1])
    for result, name in ((linked, "link"), (caught, "link_error")):
        with pytest.raises(RuntimeError, match=f"^invalid_request: {name}: "):
            result.get(timeout=20)
        assert store.one("SELECT id FROM jobs WHERE id = :job", job=uuid.UUID(result.id)) is None
    # A task that nobody knows fails as soon as it is taken: these would have been, before this one was.
    caller.ocr(tiff(1)).get(timeout=30)
    assert [caller.app.AsyncResult(next_id).state for next_id in next_ids] == ["PENDING", "PENDING"]


def test_a_chain_or_chord_over_an_entry_task_fails_where_its_caller_waits(caller: Client) -> None:
    def entry() -> Any:
        how = {"queue": QUEUE, "task_id": str(uuid.uuid4()), "app": caller.app}
        return signature(OCR, kwargs={"source": inline(tiff(1)), "options": TEXT}, **how)

    body = signature("nobody", app=caller.app, queue=QUEUE)
    with pytest.raises(RuntimeError, match=r"^invalid_request: chain: "):
        chain(entry(), body.clone(), app=caller.app).apply_async().get(timeout=20)
    with pytest.raises(Exception, match=r"invalid_request: .*chord"):
        chord([entry(), entry()], body.clone(), app=caller.app).apply_async().get(timeout=20)


def test_an_entry_task_may_stand_in_a_group_or_last_in_a_chain(caller: Client) -> None:
    def entry(width: int) -> Any:
        kwargs = {"source": inline(tiff(1, first_width=width)), "options": TEXT}
        return signature(OCR, kwargs=kwargs, queue=QUEUE, task_id=str(uuid.uuid4()), app=caller.app, immutable=True)

    first = signature(str(TaskName.CANCEL), kwargs={"job_id": str(uuid.uuid4())}, queue=QUEUE, app=caller.app)
    last = chain(first, entry(70), app=caller.app).apply_async().get(timeout=20)
    both = group([entry(71), entry(72)], app=caller.app).apply_async().get(timeout=20)
    assert [result["content"] for result in (last, *both)] == [expected_text(width, 64) for width in (70, 71, 72)]


# -- progress, cancel, revoke ---------------------------------------------


def further(job: Job, succeeded: int) -> JobProgress:
    """How far a job is as soon as more of its pages have succeeded."""

    def seen() -> JobProgress | None:
        progress = job.progress()
        return progress if progress.succeeded > succeeded else None

    return until(seen, what=f"more than {succeeded} pages")


def test_progress_grows_and_cancelling_ends_the_job_for_every_observer(caller: Client, stack: StackUnderTest) -> None:
    job = caller.ocr(light_tiff(600), TEXT)
    first = further(job, 0)
    later = further(job, first.succeeded)
    assert (later.status, later.total) == ("running", 600)
    job.cancel()
    with pytest.raises(JobCancelled):
        job.get(timeout=10)
    assert stack.job(str(job.id))["status"] == "cancelled"


def test_cancelling_over_rest_is_told_to_the_direct_caller(caller: Client, stack: StackUnderTest) -> None:
    job = caller.ocr(light_tiff(600), TEXT)
    until(lambda: job.progress().succeeded)
    httpx.delete(f"{stack.url}/api/jobs/{job.id}").raise_for_status()
    with pytest.raises(JobCancelled):
        job.get(timeout=10)


def test_revoking_a_running_job_with_terminate_kills_no_process(caller: Client, stack: StackUnderTest) -> None:
    other = caller.ocr(light_tiff(100), TEXT)
    result = send(caller, inline(light_tiff(600)))
    until(lambda: result.state == "PROGRESS")
    result.revoke(terminate=True, signal="SIGKILL")
    with pytest.raises(TaskRevokedError):
        result.get(timeout=10)
    assert stack.job(result.id)["status"] == "cancelled"
    assert other.get(timeout=30).pages.succeeded == 100
    assert "child_died" not in stack.log("prepare")


def test_a_job_that_is_over_cannot_be_revoked(caller: Client, stack: StackUnderTest) -> None:
    job = caller.ocr(tiff(1), TEXT)
    text = job.get(timeout=30).text()
    job.cancel()
    caller.ocr(tiff(1)).get(timeout=30)  # its message was behind
    assert caller.job(job.id).get(timeout=1).text() == text


def test_a_task_that_expired_is_not_begun(caller: Client, stack: StackUnderTest) -> None:
    result = send(caller, inline(tiff(1)), expires=-5)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=20)
    assert rest(stack, result.id).status_code == 404


def test_a_job_is_revoked_or_cancelled_while_its_message_still_waits(caller: Client, stack: StackUnderTest) -> None:
    stack.stop("prepare")
    revoked, cancelled = send(caller, inline(tiff(2))), caller.ocr(light_tiff(600), TEXT)
    revoked.revoke()
    cancelled.cancel()
    until(lambda: revoked.state == "REVOKED")
    stack.start("prepare")
    with pytest.raises(JobCancelled):
        cancelled.get(timeout=30)
    for job_id in (revoked.id, str(cancelled.id)):
        wait_for_row(stack, job_id)  # REVOKED is told before it
        job = stack.ended(job_id)
        assert (job["status"], job["pages"]["succeeded"]) == ("cancelled", 0)


def test_a_cancel_that_no_worker_heard_waits_for_one(caller: Client, stack: StackUnderTest) -> None:
    stack.stop("prepare")
    stack.stop("simulated")
    job = caller.ocr(light_tiff(600), TEXT)
    job.cancel()
    stack.start("simulated")
    stack.start("prepare")
    with pytest.raises(JobCancelled):
        job.get(timeout=30)
    wait_for_row(stack, str(job.id))  # REVOKED is told before it, when the cancel comes first
    assert stack.ended(str(job.id))["status"] == "cancelled"


# -- what Redis forgets ---------------------------------------------


def test_a_redis_that_is_emptied_hears_again_how_jobs_ended(caller: Client, stack: StackUnderTest) -> None:
    good, bad = caller.ocr(tiff(2), TEXT), caller.ocr(tiff(2), pages="9")
    text = good.get(timeout=30).text()
    with pytest.raises(JobFailed):
        bad.get(timeout=30)
    for _ in range(2):
        redis.Redis.from_url(stack.environment["REDIS_URL"]).flushdb()
        assert caller.job(good.id).get(timeout=15).text() == text
        with pytest.raises(JobFailed) as failed:
            caller.job(bad.id).get(timeout=15)
        assert failed.value.reason == "invalid_page_range"


def test_a_result_that_nobody_published_is_published_by_the_reconciler(
    caller: Client, stack: StackUnderTest, store: Database
) -> None:
    job = caller.ocr(tiff(2), TEXT)
    text = job.get(timeout=30).text()
    forget(stack, job.id)
    with pytest.raises(JobNotOver):
        caller.job(job.id).get(timeout=1)  # this alone is not seen
    store.execute("UPDATE jobs SET published_at = NULL WHERE id = :job", job=job.id)
    assert caller.job(job.id).get(timeout=15).text() == text


# -- the fence ---------------------------------------------


@pytest.fixture
def states(caller: Client) -> States:
    return caller.states


def test_late_progress_does_not_overwrite_an_end(states: States) -> None:
    task_id = str(uuid.uuid4())
    running = progress_meta(task_id, status="running", total=3, succeeded=1, failed=0)
    assert states.put(running, Over.OLDER)
    assert states.put(failure_meta(task_id, InvalidOption("no").problem()), Over.ANYTHING)
    assert not states.put(running | {"result": running["result"] | {"succeeded": 3}}, Over.OLDER)
    assert not states.put(revoked_meta(task_id), Over.UNENDED)
    assert (known := states.get(task_id)) is not None
    assert known["status"] == "FAILURE"


def test_progress_of_fewer_pages_does_not_overwrite_that_of_more(states: States) -> None:
    task_id = str(uuid.uuid4())
    metas = [progress_meta(task_id, status="running", total=9, succeeded=n, failed=0) for n in (2, 1, 3)]
    assert [states.put(meta, Over.OLDER) for meta in metas] == [True, False, True]


@pytest.fixture
def frozen() -> Iterator[States]:
    """On a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield States(f"redis://127.0.0.1:{server.getsockname()[1]}/0", timeout_s=0.5)


def test_a_redis_that_does_not_answer_holds_up_no_page(frozen: States, store: Database, caller: Client) -> None:
    publisher = Publisher(frozen, store, BlobStore(caller.settings.blobs_url))
    before = time.monotonic()
    for n in range(1000):
        progress = Progress(uuid.uuid4(), Kind.OCR, Status.RUNNING, Priority.BULK, "rapid", 1000, 8, n, 0, direct=True)
        publisher.progress(progress)
    assert time.monotonic() - before < 0.5


def test_a_redis_that_does_not_answer_leaves_an_end_to_the_reconciler(
    frozen: States, store: Database, caller: Client
) -> None:
    job = caller.ocr(tiff(1), TEXT)
    job.get(timeout=30)
    publisher = Publisher(frozen, store, BlobStore(caller.settings.blobs_url))
    before = time.monotonic()
    assert publisher.end(job.id) is False
    assert time.monotonic() - before < 3
