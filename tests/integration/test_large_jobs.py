"""A 1,000-page document streams through, and others get their turn beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import httpx
import pytest

from ocr_tasks.jobs.database import Database
from tests.conftest import settings_of
from tests.documents import born_digital, pdf_file
from tests.stack import StackUnderTest, running_stack, tiff, until

pytestmark = pytest.mark.stack

CAPACITY, PAGE_S = 2, 0.1
WINDOW = 4 * CAPACITY


@pytest.fixture(scope="module")
def slow_stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    """An engine that reads 10 pages a second, two at a time."""
    with running_stack(tmp_path_factory.mktemp("stack"), new_environment(), "prepare", "reconcile") as stack:
        stack.start("web")
        stack.start("simulated", SIM_CAPACITY=str(CAPACITY), SIM_PAGE_S=str(PAGE_S))
        stack.wait_ready()
        yield stack


@pytest.fixture
def store(slow_stack: StackUnderTest) -> Iterator[Database]:
    database = Database(settings_of(dict(slow_stack.environment)))
    yield database
    database.close()


def a_thousand_pages() -> bytes:
    return pdf_file([born_digital([f"This is page {n}"], size=(200, 200)) for n in range(1, 1001)])


def some_are_read(stack: StackUnderTest, job_id: str, count: int) -> bool:
    return bool(stack.job(job_id)["pages"]["succeeded"] >= count)


def cancel(stack: StackUnderTest, job_id: str) -> None:
    httpx.delete(f"{stack.url}/api/jobs/{job_id}").raise_for_status()


def test_the_first_page_is_readable_long_before_the_last_is_rasterised(
    slow_stack: StackUnderTest, store: Database
) -> None:
    job_id = slow_stack.submit(a_thousand_pages(), "large.pdf")["id"]

    def first() -> bool:
        answer = httpx.get(f"{slow_stack.url}/api/jobs/{job_id}/pages/1")
        return answer.status_code == 200 and answer.json()["status"] == "succeeded"

    until(first)
    counted = slow_stack.job(job_id)["pages"]
    prepared = store.one("SELECT count(*) AS pages FROM pages WHERE job_id = :job", job=job_id)
    assert counted["total"] == 1000
    assert prepared is not None
    assert prepared["pages"] <= counted["succeeded"] + WINDOW + 2 * CAPACITY
    cancel(slow_stack, job_id)


def test_no_more_pages_are_in_flight_than_the_window_holds(slow_stack: StackUnderTest, store: Database) -> None:
    job_id = slow_stack.submit(a_thousand_pages(), "large.pdf")["id"]
    most = 0

    def some_pages_on() -> bool:
        nonlocal most
        row = store.one(
            "SELECT pages_released - pages_succeeded - pages_failed AS in_flight, pages_succeeded FROM jobs"
            " WHERE id = :job",
            job=job_id,
        )
        assert row is not None
        most = max(most, row["in_flight"])
        return int(row["pages_succeeded"]) >= 60

    until(some_pages_on, timeout_s=60)
    assert 0 < most <= WINDOW
    cancel(slow_stack, job_id)


@pytest.mark.parametrize("lane", ["interactive", "bulk"])
def test_a_small_job_is_not_stuck_behind_large_ones(slow_stack: StackUnderTest, store: Database, lane: str) -> None:
    large = [slow_stack.submit(a_thousand_pages(), "large.pdf", priority="bulk")["id"] for _ in range(5)]
    for job_id in large:
        until(partial(some_are_read, slow_stack, job_id, 2))
    small = slow_stack.ended(slow_stack.submit(tiff(2), priority=lane)["id"])
    assert small["pages"]["succeeded"] == 2
    # Counted while the small job's pages waited: with a page of each job in turn, about five a page.
    row = store.one(
        """
        SELECT count(*) AS passed FROM pages, (SELECT min(created_at) AS since, max(finished_at) AS until
                                                 FROM pages WHERE job_id = :small) AS waited
         WHERE job_id <> :small AND finished_at BETWEEN since AND until
        """,
        small=small["id"],
    )
    assert row is not None
    assert row["passed"] <= 4 * len(large)
    for job_id in large:
        cancel(slow_stack, job_id)


def test_after_a_cancel_no_new_page_starts(slow_stack: StackUnderTest, store: Database) -> None:
    large = slow_stack.submit(a_thousand_pages(), "large.pdf")["id"]
    until(lambda: slow_stack.job(large)["pages"]["succeeded"] >= 5)
    cancel(slow_stack, large)
    attempts = "SELECT sum(attempt) AS attempts FROM pages WHERE job_id = :job"
    before = store.one(attempts, job=large)
    assert slow_stack.ended(slow_stack.submit(tiff(20))["id"])["pages"]["succeeded"] == 20
    assert store.one(attempts, job=large) == before
    assert store.all("SELECT 1 FROM pages WHERE job_id = :job AND status IN ('queued', 'running')", job=large) == []
