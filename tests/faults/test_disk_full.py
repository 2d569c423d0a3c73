"""The blob store runs full: web refuses and keeps nothing, preparing waits for room and then goes on."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ocr_tasks.jobs.database import Database
from tests.faults.checks import ended_right
from tests.stack import StackUnderTest, running_stack, tiff, until

pytestmark = pytest.mark.stack

SIZE_KB = 512


@pytest.fixture(scope="module")
def small_disk(session_folder: Path) -> Iterator[Path]:
    """A file system of its own with little room, which takes root and the right to mount."""
    folder = session_folder / f"disk-{uuid.uuid4().hex}"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_KB}k,mode=777", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def stack(
    small_disk: Path, new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    environment = new_environment(OCR_BLOB_URL=(small_disk / "blobs").as_uri())
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, environment, "web", "prepare", "reconcile", "simulated") as stack:
        yield stack


@pytest.fixture
def filled(small_disk: Path) -> Iterator[Callable[[int], None]]:
    """Takes all room but so many bytes; gives it back in the end."""
    ballast = small_disk / "ballast"

    def fill(left_bytes: int) -> None:
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        ballast.write_bytes(bytes(max(0, free - left_bytes)))

    yield fill
    ballast.unlink(missing_ok=True)


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_submit_without_room_is_refused_and_leaves_nothing(
    stack: StackUnderTest, store: Database, small_disk: Path, filled: Callable[[int], None]
) -> None:
    filled(8 * 1024)
    files, jobs = files_in(small_disk), store.all("SELECT id FROM jobs")
    document = b"%PDF-1.4\n" + os.urandom(64 * 1024)
    answer = httpx.post(f"{stack.url}/api/ocr/process", files={"file": ("large.pdf", document)}, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["Retry-After"] == "1"
    assert files_in(small_disk) == files
    assert store.all("SELECT id FROM jobs") == jobs


def test_preparing_waits_for_room_and_goes_on_without_a_charge(
    stack: StackUnderTest, store: Database, small_disk: Path, filled: Callable[[int], None]
) -> None:
    stack.stop("prepare")
    job_id = stack.submit(tiff(12))["id"]
    filled(4096)
    stack.revive("prepare")
    given_back = "SELECT 1 FROM ranges WHERE job_id = :job AND status = 'queued' AND attempt >= 2"
    until(lambda: store.all(given_back, job=job_id), what="a range given back twice")
    assert stack.job(job_id)["pages"]["failed"] == 0
    (small_disk / "ballast").unlink()
    ended_right(stack, store, job_id, 12)
    assert not files_in(small_disk / "blobs" / "spool")


def test_a_result_waits_for_room(stack: StackUnderTest, store: Database, filled: Callable[[int], None]) -> None:
    stack.stop("simulated")
    job_id = stack.submit(tiff(8))["id"]
    until(lambda: len(store.all("SELECT 1 FROM pages WHERE job_id = :job", job=job_id)) == 8, what="prepared pages")
    filled(0)
    stack.revive("simulated")
    until(lambda: stack.job(job_id)["status"] == "finishing", what="the last page")
    tried = "SELECT 1 FROM jobs WHERE id = :job AND attempt >= 3"
    until(lambda: store.all(tried, job=job_id), what="a second try to finish")
    assert stack.job(job_id)["status"] == "finishing"
    filled_up = Path(stack.environment["OCR_BLOB_URL"].removeprefix("file://")).parent / "ballast"
    filled_up.unlink()
    ended_right(stack, store, job_id, 8)
