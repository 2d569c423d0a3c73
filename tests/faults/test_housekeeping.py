"""Bytes that nobody refers to go, and no job that runs ever loses one: with grace and retention of seconds."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocr_tasks.blobs import BlobStore
from ocr_tasks.jobs.database import Database
from tests.conftest import settings_of
from tests.faults.checks import all_texts_are_right, ended_right, some_are_read
from tests.faults.conftest import SLOW
from tests.stack import StackUnderTest, running_stack, tiff
from workers.reconcile import Reconciler
from workers.runtime import make_runtime

pytestmark = pytest.mark.stack

GRACE_S = 2.0
HOUR_S = 3600


@pytest.fixture(scope="module")
def stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    """Pages wait for longer than a blob's grace."""
    environment = new_environment(**SLOW, OCR_BLOB_GRACE_H=str(GRACE_S / HOUR_S))
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, environment, "web", "prepare", "reconcile", "simulated") as stack:
        yield stack


@pytest.fixture
def blobs(stack: StackUnderTest) -> BlobStore:
    return BlobStore(settings_of(dict(stack.environment)).blobs_url)


def housekeeper(stack: StackUnderTest, **changes: Any) -> Reconciler:
    settings = settings_of(dict(stack.environment)).model_copy(update=changes)
    return Reconciler(make_runtime(settings, pool_size=1))


@pytest.fixture
def tidy_minded(stack: StackUnderTest) -> Iterator[list[int]]:
    """Two housekeepers that go round without a pause; the list counts their rounds."""
    over, rounds = threading.Event(), [0, 0]
    keepers = [housekeeper(stack), housekeeper(stack)]

    def keep(index: int) -> None:
        while not over.wait(0.02):
            keepers[index].keep_house()
            rounds[index] += 1

    threads = [threading.Thread(target=keep, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    yield rounds
    over.set()
    for thread, keeper in zip(threads, keepers, strict=True):
        thread.join(10)
        keeper.runtime.db.close()


def test_jobs_in_flight_keep_their_blobs_and_orphans_go(
    stack: StackUnderTest, store: Database, blobs: BlobStore, tidy_minded: list[int]
) -> None:
    orphan = blobs.put(b"nobody's")
    jobs = [stack.submit(tiff(30), priority=lane)["id"] for lane in ("interactive", "bulk")]
    some_are_read(stack, jobs[0])
    twin = stack.submit(tiff(30))["id"]  # the same bytes as theirs
    for job_id in (*jobs, twin):
        ended_right(stack, store, job_id, 30)
    assert not blobs.exists(orphan)
    assert min(tidy_minded) > 5, "somebody's round failed"
    all_texts_are_right(stack, jobs[0], 30)


def test_what_is_past_its_retention_goes_with_all_its_blobs(
    stack: StackUnderTest, store: Database, blobs: BlobStore
) -> None:
    ended, running = stack.submit(tiff(3, height=70))["id"], stack.submit(tiff(40))["id"]
    stack.ended(ended)
    some_are_read(stack, running)
    _make_old(blobs)
    keeper = housekeeper(stack, retention_days=1e-9)
    keeper.keep_house()
    keeper.runtime.db.close()
    assert stack.result(ended, "text").status_code == 410
    assert stack.job(ended)["status"] == "succeeded"
    ended_right(stack, store, running, 40)
    kept = {row["image_blob"] for row in store.all("SELECT image_blob FROM pages")}
    assert len([key for key in blobs.older_than(HOUR_S / 2) if key not in kept]) == 1, "the running job's source"


def test_a_blob_put_again_while_it_is_deleted_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = BlobStore(tmp_path.as_uri())
    key = blobs.put(b"wanted again")
    _make_old(blobs)
    look = blobs.fs.info

    def look_and_lose_the_race(path: str) -> Any:
        seen = look(path)
        blobs.put(b"wanted again")
        return seen

    monkeypatch.setattr(blobs.fs, "info", look_and_lose_the_race)
    assert not blobs.delete_older(key, HOUR_S)
    assert blobs.get(key) == b"wanted again"


def test_what_killed_processes_left_half_written_goes(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path.as_uri())
    blobs.put(b"makes the folders")
    spool = tmp_path / "spool"
    (spool / "half").mkdir()
    (spool / "half" / "blob").write_bytes(b"half a")
    (spool / "young").write_bytes(b"still written")
    os.utime(spool / "half", (0, 0))
    assert blobs.clear_spool(HOUR_S) == 1
    assert [path.name for path in spool.iterdir()] == ["young"]


def _make_old(blobs: BlobStore) -> None:
    """As if all blobs had been put an hour ago."""
    for path in blobs.fs.find(blobs.root):
        os.utime(path, (time.time() - HOUR_S,) * 2)
