"""A deploy charges nobody, a cancel frees the device, web may come and go: under load, with real processes."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ocr_tasks.jobs.database import Database
from tests.faults.checks import ended_right, pages_of, some_are_read
from tests.stack import StackUnderTest, running_stack, tiff

pytestmark = pytest.mark.stack

PAGE_S, CAPACITY = 0.25, 2
WORKERS = ("node 0", "node 1", "prepare", "reconcile")


@pytest.fixture(scope="module")
def stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    environment = new_environment(SIM_CAPACITY=str(CAPACITY), SIM_PAGE_S=str(PAGE_S))
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, environment, "prepare", "reconcile") as stack:
        stack.start("web")
        for index in ("0", "1"):
            stack.start(f"node {index}", index, program="simulated")
        stack.wait_ready()
        yield stack


@pytest.mark.parametrize("whole_groups", [False, True], ids=["to the programs", "to their groups"])
def test_a_deploy_under_load_charges_no_page(stack: StackUnderTest, store: Database, whole_groups: bool) -> None:
    jobs = [stack.submit(tiff(24), priority=lane)["id"] for lane in ("interactive", "bulk", "interactive")]
    some_are_read(stack, jobs[0])
    for name in WORKERS:
        if whole_groups:
            stack.kill(name, signal.SIGTERM)
        else:
            stack.processes[name].terminate()
    for name in WORKERS:
        assert stack.processes[name].wait(15) == 0
        stack.revive(name)
    for job_id in jobs:
        pages = ended_right(stack, store, job_id, 24)
        assert {page["isolation"] for page in pages} == {"none"}


def test_a_cancelled_job_of_200_pages_frees_the_device_within_a_page(stack: StackUnderTest, store: Database) -> None:
    job_id = stack.submit(tiff(200))["id"]
    some_are_read(stack, job_id)
    httpx.delete(f"{stack.url}/api/jobs/{job_id}").raise_for_status()
    cancelled_at = time.monotonic()
    attempts = "SELECT sum(attempt) AS attempts FROM pages WHERE job_id = :job"
    before = store.one(attempts, job=job_id)
    small = stack.submit(tiff(CAPACITY))["id"]
    ended_right(stack, store, small, CAPACITY)
    # What was in the engine, one step of the other job, and what it takes to prepare and to finish.
    assert time.monotonic() - cancelled_at < 2 * CAPACITY * PAGE_S + 1.5
    assert store.one(attempts, job=job_id) == before
    assert {page["status"] for page in pages_of(store, job_id)} == {"succeeded", "cancelled"}
    assert stack.job(job_id)["status"] == "cancelled"
    assert not store.all("SELECT 1 FROM ranges WHERE job_id = :job", job=job_id)


def test_a_web_that_is_restarted_and_killed_forgets_no_job(stack: StackUnderTest, store: Database) -> None:
    jobs = [stack.submit(tiff(12))["id"]]
    stack.stop("web")
    stack.revive("web")
    stack.wait_ready()
    jobs.append(stack.submit(tiff(12))["id"])
    stack.kill("web")
    stack.revive("web")
    stack.wait_ready()
    for job_id in jobs:
        ended_right(stack, store, job_id, 12)


def test_a_web_killed_in_the_middle_of_an_upload_leaves_no_job_and_no_blob(
    stack: StackUnderTest, store: Database
) -> None:
    blobs = Path(stack.environment["OCR_DATA_DIR"]) / "blobs"
    before = _files_in(blobs), store.all("SELECT id FROM jobs")
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n%PDF-1.4\n'
    request = (
        b"POST /api/ocr/process HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 8000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", stack.port), timeout=10) as caller:
        caller.sendall(request + head + bytes(2_000_000))
        stack.kill("web")
    stack.revive("web")
    stack.wait_ready()
    assert (_files_in(blobs), store.all("SELECT id FROM jobs")) == before


def _files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
