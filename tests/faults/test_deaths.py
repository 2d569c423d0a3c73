"""Processes killed, hung and poisoned while jobs run: every job ends once, with the right text and exact counters."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import psutil
import pytest
import redis

from ocr_tasks.jobs.database import Database
from tests.faults.checks import all_texts_are_right, goes_on, held_pages_are_taken_over, pages_of, some_are_read
from tests.faults.conftest import SLOW, web_answers
from tests.poisoned_prepare import PARSER_DIES, PARSER_HANGS
from tests.simulated import HANGS, KILLS, RAISES, expected_text
from tests.stack import StackUnderTest, running_stack, tiff, tiff_of, until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    """Web and reconciler; each test adds the workers it torments."""
    environment = new_environment(OCR_STEP_TIMEOUT_S="2", OCR_PREPARE_TIMEOUT_S="3")
    with running_stack(tmp_path_factory.mktemp("stack"), environment) as stack:
        stack.start("web")
        stack.start("reconcile")
        web_answers(stack)
        yield stack


@pytest.fixture(autouse=True)
def _stop_workers(stack: StackUnderTest) -> Iterator[None]:
    yield
    for name in set(stack.processes) - {"web", "reconcile"}:
        stack.stop(name)
        del stack.processes[name]


def test_a_worker_killed_mid_page_loses_and_doubles_nothing(stack: StackUnderTest, store: Database) -> None:
    stack.start("prepare")
    stack.start("simulated", **SLOW)
    job_id = stack.submit(tiff(30))["id"]
    some_are_read(stack, job_id)
    stack.kill("simulated")
    job = stack.ended(job_id, reviving="simulated")
    assert job["pages"] == {"total": 30, "succeeded": 30, "failed": 0}
    all_texts_are_right(stack, job_id, 30)
    pages = pages_of(store, job_id)
    assert {page["failures"] for page in pages} == {0}
    assert max(int(str(page["attempt"])) for page in pages) >= 2


def test_what_a_killed_node_held_is_taken_over_within_two_leases(stack: StackUnderTest, store: Database) -> None:
    stack.start("prepare")
    for index, name in enumerate(("node 0", "node 1")):
        stack.start(name, str(index), program="simulated", **SLOW)
    job_id = stack.submit(tiff(60))["id"]
    until(lambda: _held_by(store, job_id, "rapid0"), what="a page held by node 0")
    stack.kill("node 0")
    held_pages_are_taken_over(store, job_id, _held_by(store, job_id, "rapid0"))
    assert stack.ended(job_id)["pages"] == {"total": 60, "succeeded": 60, "failed": 0}
    all_texts_are_right(stack, job_id, 60)
    assert {page["failures"] for page in pages_of(store, job_id)} == {0}


def _held_by(store: Database, job_id: str, node: str) -> list[int]:
    return [
        int(str(page["page_no"]))
        for page in pages_of(store, job_id)
        if page["status"] == "running" and str(page["node"]).startswith(f"{node}@")
    ]


def test_pages_that_were_given_back_often_bear_the_death_of_their_node(stack: StackUnderTest, store: Database) -> None:
    stack.start("prepare")
    job_id = stack.submit(tiff(8))["id"]
    until(lambda: len(pages_of(store, job_id)) == 8, what="prepared pages")
    store.execute("UPDATE pages SET attempt = 50 WHERE job_id = :job", job=job_id)
    stack.start("simulated", **SLOW)
    some_are_read(stack, job_id, 1)
    stack.kill("simulated")
    assert stack.ended(job_id, reviving="simulated")["pages"] == {"total": 8, "succeeded": 8, "failed": 0}
    all_texts_are_right(stack, job_id, 8)


def test_a_stopped_worker_gives_its_pages_back_uncharged(stack: StackUnderTest, store: Database) -> None:
    stack.start("prepare")
    stack.start("simulated", **(SLOW | {"SIM_PAGE_S": "0.5"}))
    job_id = stack.submit(tiff(16))["id"]
    some_are_read(stack, job_id)
    assert stack.stop("simulated", timeout_s=10) == 0
    left = [page for page in pages_of(store, job_id) if page["status"] != "succeeded"]
    assert left
    assert {page["status"] for page in left} == {"queued"}
    stack.start("simulated", **SLOW)
    assert stack.ended(job_id)["pages"] == {"total": 16, "succeeded": 16, "failed": 0}
    all_texts_are_right(stack, job_id, 16)
    assert {(page["failures"], page["isolation"]) for page in pages_of(store, job_id)} == {(0, "none")}


@pytest.mark.parametrize("height", [KILLS, HANGS], ids=["kills the node", "hangs the engine"])
def test_a_page_that_takes_the_node_with_it_fails_alone(stack: StackUnderTest, store: Database, height: int) -> None:
    stack.start("prepare")
    stack.start("simulated", SIM_CAPACITY="4", SIM_PAGE_S="0.05")
    sizes = [(65 + n, height if n == 5 else 64) for n in range(12)]
    job = stack.ended(stack.submit(tiff_of(sizes))["id"], reviving="simulated", timeout_s=90)
    assert job["pages"] == {"total": 12, "succeeded": 11, "failed": 1}
    assert [(page["pageNo"], page["error"]["code"]) for page in job["flaggedPages"]] == [(6, "engine_crashed")]
    failures = {page["page_no"]: page["failures"] for page in pages_of(store, job["id"])}
    assert failures == {n: 3 if n == 6 else 0 for n in range(1, 13)}


@pytest.mark.parametrize("height", [PARSER_DIES, PARSER_HANGS], ids=["kills the parser", "never ends"])
def test_a_page_that_no_parser_survives_fails_alone(stack: StackUnderTest, height: int) -> None:
    stack.start("poisoned")
    stack.start("simulated")
    sizes = [(65 + n, height if n == 4 else 64) for n in range(6)]
    job = stack.ended(stack.submit(tiff_of(sizes))["id"], timeout_s=120)
    assert job["pages"] == {"total": 6, "succeeded": 5, "failed": 1}
    assert [(page["pageNo"], page["error"]["code"]) for page in job["flaggedPages"]] == [(5, "parser_died")]
    texts = [expected_text(*size) if size[1] == 64 else "" for size in sizes]
    assert stack.text(job["id"]).split("\f") == texts
    assert "again and again" not in job["flaggedPages"][0]["error"]["detail"], "its deaths went unseen"


def test_a_killed_parser_child_loses_nothing(stack: StackUnderTest, store: Database) -> None:
    stack.start("prepare")
    stack.start("simulated", **SLOW)
    job_id = stack.submit(tiff(40))["id"]
    some_are_read(stack, job_id)
    for child in psutil.Process(stack.processes["prepare"].pid).children():
        child.send_signal(signal.SIGKILL)
    goes_on(stack, job_id)
    job = stack.ended(job_id)
    assert job["pages"] == {"total": 40, "succeeded": 40, "failed": 0}
    all_texts_are_right(stack, job_id, 40)


def test_a_redis_emptied_mid_run_loses_nothing(stack: StackUnderTest, store: Database) -> None:
    stack.start("prepare")
    stack.start("simulated", **SLOW)
    jobs = [stack.submit(tiff(20), priority=lane)["id"] for lane in ("interactive", "bulk", "interactive")]
    some_are_read(stack, jobs[0])
    redis.Redis.from_url(stack.environment["REDIS_URL"]).flushdb()
    goes_on(stack, jobs[0])
    late = stack.submit(tiff(3))["id"]
    for job_id in jobs:
        assert stack.ended(job_id)["pages"] == {"total": 20, "succeeded": 20, "failed": 0}
        all_texts_are_right(stack, job_id, 20)
        assert {page["failures"] for page in pages_of(store, job_id)} == {0}
    assert stack.ended(late)["status"] == "succeeded"


def test_jobs_accepted_while_no_worker_lives_are_read_later(stack: StackUnderTest) -> None:
    job_id = stack.submit(tiff(5))["id"]
    redis.Redis.from_url(stack.environment["REDIS_URL"]).flushdb()
    assert stack.job(job_id)["status"] == "queued"
    stack.start("prepare")
    stack.start("simulated")
    assert stack.ended(job_id)["pages"]["succeeded"] == 5


def test_an_engine_that_raises_fails_only_the_page_that_makes_it(stack: StackUnderTest, store: Database) -> None:
    stack.start("prepare")
    stack.start("simulated", SIM_CAPACITY="8", SIM_PAGE_S="0.02")
    sizes = [(65 + n, RAISES if n in (3, 4) else 64) for n in range(16)]
    job = stack.ended(stack.submit(tiff_of(sizes))["id"])
    assert job["pages"] == {"total": 16, "succeeded": 14, "failed": 2}
    assert [(page["pageNo"], page["error"]["code"]) for page in job["flaggedPages"]] == [
        (4, "engine_failed"),
        (5, "engine_failed"),
    ]
    failures = {page["page_no"]: page["failures"] for page in pages_of(store, job["id"])}
    assert failures == {n: 3 if n in (4, 5) else 0 for n in range(1, 17)}
    texts = [expected_text(*size) if size[1] == 64 else "" for size in sizes]
    assert stack.text(job["id"]).split("\f") == texts
