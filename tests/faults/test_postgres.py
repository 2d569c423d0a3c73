"""Postgres restarted, killed, frozen in the middle of jobs: pages wait, and nobody is charged for it."""

from __future__ import annotations

import pytest

from ocr_tasks.jobs.database import Database
from tests.faults.checks import ended_right, resume, some_are_read, suspend
from tests.servers import OwnServers
from tests.stack import StackUnderTest, tiff, until

pytestmark = pytest.mark.stack

LEASE_S = 3


@pytest.fixture(scope="module")
def stack(stack_on_own_servers: StackUnderTest) -> StackUnderTest:
    return stack_on_own_servers


def two_running_jobs(stack: StackUnderTest) -> list[str]:
    jobs: list[str] = [stack.submit(tiff(24), priority=lane)["id"] for lane in ("interactive", "bulk")]
    some_are_read(stack, jobs[0])
    return jobs


def test_a_restarted_postgres_loses_nothing(stack: StackUnderTest, store: Database, own_servers: OwnServers) -> None:
    jobs = two_running_jobs(stack)
    own_servers.postgres.stop()
    own_servers.postgres.start()
    for job_id in jobs:
        ended_right(stack, store, job_id, 24)


def test_a_killed_postgres_loses_nothing(stack: StackUnderTest, store: Database, own_servers: OwnServers) -> None:
    jobs = two_running_jobs(stack)
    own_servers.kill(own_servers.postgres)
    own_servers.postgres.start()
    for job_id in jobs:
        ended_right(stack, store, job_id, 24)


@pytest.mark.parametrize("fault", ["restarted", "frozen"])
def test_leases_that_ran_out_while_postgres_was_away_are_not_held_against_their_pages(
    stack: StackUnderTest, store: Database, own_servers: OwnServers, fault: str
) -> None:
    slow = stack.submit(tiff(6))["id"]
    until(lambda: _running(store, slow), what="a running page")
    store.execute("UPDATE pages SET isolation = 'alone' WHERE job_id = :job AND status = 'running'", job=slow)
    store.close()
    _away_for_longer_than_a_lease(own_servers, fault)
    ended_right(stack, store, slow, 6)


def _running(store: Database, job_id: str) -> bool:
    return bool(store.all("SELECT 1 FROM pages WHERE job_id = :job AND status = 'running'", job=job_id))


def _away_for_longer_than_a_lease(own_servers: OwnServers, fault: str) -> None:
    import time

    assert own_servers.postgres.pid is not None
    if fault == "frozen":
        suspend(own_servers.postgres.pid)
        time.sleep(LEASE_S + 1)
        resume(own_servers.postgres.pid)
    else:
        own_servers.postgres.stop()
        time.sleep(LEASE_S + 1)
        own_servers.postgres.start()
