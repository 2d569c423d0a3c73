"""Redis killed, restarted empty, frozen: what was accepted is in Postgres, so nothing is lost and web goes on."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ocr_tasks.jobs.database import Database
from tests.faults.checks import ended_right, goes_on, some_are_read
from tests.servers import OwnServers
from tests.stack import StackUnderTest, tiff

pytestmark = pytest.mark.stack

FROZEN_S = 10
ANSWERS_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def stack(stack_on_own_servers: StackUnderTest) -> StackUnderTest:
    return stack_on_own_servers


def timed_submit(stack: StackUnderTest, pages: int, lane: str = "interactive") -> tuple[str, float]:
    """A job's id, and how long its submitter waited, in seconds."""
    began = time.monotonic()
    job_id = stack.submit(tiff(pages), priority=lane)["id"]
    return job_id, time.monotonic() - began


def test_a_redis_killed_and_restarted_empty_loses_nothing(
    stack: StackUnderTest, store: Database, own_servers: OwnServers
) -> None:
    jobs = {stack.submit(tiff(20), priority=lane)["id"]: 20 for lane in ("interactive", "bulk")}
    some_are_read(stack, next(iter(jobs)))
    own_servers.kill(own_servers.redis)
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(lambda n: timed_submit(stack, n), (1, 2, 3, 4)))
    own_servers.redis.start()
    goes_on(stack, next(iter(jobs)))
    assert max(waited_s for _, waited_s in answers) < ANSWERS_WITHIN_S
    jobs |= {job_id: n + 1 for n, (job_id, _) in enumerate(answers)}
    for job_id, count in jobs.items():
        ended_right(stack, store, job_id, count)


def test_a_redis_frozen_for_ten_seconds_holds_no_caller_up_and_loses_nothing(
    stack: StackUnderTest, store: Database, own_servers: OwnServers
) -> None:
    assert own_servers.redis.pid is not None
    running = stack.submit(tiff(40))["id"]
    some_are_read(stack, running)
    thaw = threading.Timer(FROZEN_S, os.kill, (own_servers.redis.pid, signal.SIGCONT))
    os.kill(own_servers.redis.pid, signal.SIGSTOP)
    thaw.start()
    try:
        with ThreadPoolExecutor(4) as callers:
            answers = list(callers.map(lambda n: timed_submit(stack, n), range(1, 5)))
        assert thaw.is_alive(), "the freeze was over before the last caller had an answer"
    finally:
        thaw.join()
    assert max(waited_s for _, waited_s in answers) < ANSWERS_WITHIN_S
    goes_on(stack, running)
    ended_right(stack, store, running, 40)
    for n, (job_id, _) in enumerate(answers):
        ended_right(stack, store, job_id, n + 1)
