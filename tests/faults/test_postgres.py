"""Postgres restarted, killed, frozen in the middle of jobs: pages wait, and nobody is charged for it."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from sqlalchemy import Connection, text

from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.submitting import create_job
from ocr_tasks.jobs.views import JobView
from ocr_tasks.settings import Settings
from tests.faults.checks import ended_right, goes_on, resume, some_are_read, suspend
from tests.servers import OwnServers
from tests.stack import StackUnderTest, tiff, until
from web import create_app

pytestmark = pytest.mark.stack

LEASE_S = 3


@pytest.fixture(scope="module")
def stack(stack_on_own_servers: StackUnderTest) -> StackUnderTest:
    return stack_on_own_servers


def two_running_jobs(stack: StackUnderTest) -> list[str]:
    jobs: list[str] = [stack.submit(tiff(16), priority=lane)["id"] for lane in ("interactive", "bulk")]
    some_are_read(stack, jobs[0])
    return jobs


def test_a_restarted_postgres_loses_nothing(stack: StackUnderTest, store: Database, own_servers: OwnServers) -> None:
    jobs = two_running_jobs(stack)
    own_servers.postgres.stop()
    own_servers.postgres.start()
    goes_on(stack, jobs[0])
    for job_id in jobs:
        ended_right(stack, store, job_id, 16)


def test_a_killed_postgres_loses_nothing(stack: StackUnderTest, store: Database, own_servers: OwnServers) -> None:
    jobs = two_running_jobs(stack)
    own_servers.kill(own_servers.postgres)
    own_servers.postgres.start()
    goes_on(stack, jobs[0])
    for job_id in jobs:
        ended_right(stack, store, job_id, 16)


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
    assert own_servers.postgres.pid is not None
    if fault == "frozen":
        suspend(own_servers.postgres.pid)
        time.sleep(LEASE_S + 1)
        resume(own_servers.postgres.pid)
    else:
        own_servers.postgres.stop()
        time.sleep(LEASE_S + 1)
        own_servers.postgres.start()


def test_a_statement_that_ran_into_its_time_limit_is_tried_again(db: Database) -> None:
    tries: list[int] = []

    def late_once(connection: Connection) -> int:
        tries.append(1)
        if len(tries) == 1:
            connection.execute(text("SET LOCAL statement_timeout = '20ms'"))
            connection.execute(text("SELECT pg_sleep(5)"))
        return len(tries)

    assert db.run(late_once) == 2


def test_a_submit_whose_insert_was_stored_but_not_answered_is_accepted(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored_twice(*args: Any, **options: Any) -> JobView | None:
        """As when the connection is lost after the commit, and the insert is tried again."""
        assert create_job(*args, **options) is not None
        return create_job(*args, **options)

    monkeypatch.setattr("web.accepting.create_job", stored_twice)
    with create_app(settings).test_client() as client:
        answer = client.post("/api/ocr/process", data={"file": (io.BytesIO(tiff(1)), "page.tiff")})
    assert answer.status_code == 202
    assert [str(row["id"]) for row in db.all("SELECT id FROM jobs")] == [answer.get_json()["id"]]
