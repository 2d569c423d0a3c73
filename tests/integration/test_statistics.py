"""The statistics of every day equal a recount of the jobs that ended on it, whenever and by however many counted."""

from __future__ import annotations

import random
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from ocr_tasks.contract import Kind, Status
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.retention import expire_jobs
from ocr_tasks.jobs.statistics import ROLL_UP_LOCK, Rounds, processing_stats, roll_up
from ocr_tasks.settings import Settings
from tests.ended_jobs import JobPlan, PagePlan, ended, random_plan
from tests.stack import until
from workers.reconcile import Reconciler
from workers.runtime import make_runtime

TYPES = {Kind.OCR: "manual", Kind.CRAWL: "crawler", Kind.RENDER: "dom", Kind.COMPRESS: "dom", Kind.DECOMPRESS: "dom"}
NEAR_MIDNIGHT = [timedelta(0), timedelta(microseconds=1), timedelta(hours=23, minutes=59, seconds=59.999999)]

Row = dict[str, Any]


def recount(plans: Iterable[JobPlan]) -> dict[tuple[date, str], Row]:
    """What the rows must say, told from what was done and not from the database."""
    groups: dict[tuple[date, str], list[JobPlan]] = defaultdict(list)
    for plan in plans:
        if plan.status in (Status.SUCCEEDED, Status.FAILED):
            assert plan.finished_at is not None
            groups[plan.finished_at.astimezone(UTC).date(), TYPES[plan.kind]].append(plan)
    return {key: _row(group) for key, group in groups.items()}


def _row(group: list[JobPlan]) -> Row:
    pages = [(plan, page) for plan in group for page in plan.pages]
    read = [(plan, page) for plan, page in pages if page.succeeds]
    ratios = [
        page.tokens[0] / page.tokens[1]
        for plan, page in read
        if page.tokens and plan.kind in (Kind.OCR, Kind.COMPRESS, Kind.CRAWL)
    ]
    took = [(plan.finished_at - plan.started_at) for plan in group if plan.finished_at and plan.started_at]
    return {
        "documents_processed": len(group),
        "total_pages": len(read),
        "avg_compression_ratio": pytest.approx(sum(ratios) / len(ratios)) if ratios else None,
        "total_processing_time": pytest.approx(sum(took, timedelta()) / timedelta(milliseconds=1), abs=0.5001),
        "gpu_utilized": any(page.node.startswith("gpu") for _, page in pages),
        "success_rate": pytest.approx(sum(plan.status == Status.SUCCEEDED for plan in group) / len(group)),
    }


def stored(db: Database) -> dict[tuple[date, str], Row]:
    return _by_day([dict(row) for row in db.all("SELECT * FROM ocr_processing_stats")])


def read(db: Database, days: int = 3650) -> dict[tuple[date, str], Row]:
    return _by_day([row.model_dump() for row in processing_stats(db, days).stats])


def _by_day(rows: list[Row]) -> dict[tuple[date, str], Row]:
    return {(row.pop("date"), row.pop("process_type")): row for row in rows}


def today(db: Database) -> date:
    row = db.one("SELECT now() AS now")
    assert row is not None
    found: datetime = row["now"]
    return found.astimezone(UTC).date()


def some_jobs(db: Database, chance: random.Random, count: int, days: int) -> list[JobPlan]:
    """Jobs that ended on the last days, many of them around midnight."""
    plans = []
    for _ in range(count):
        of_day = chance.choice([*NEAR_MIDNIGHT, timedelta(seconds=chance.random() * 86_399)])
        day = today(db) - timedelta(days=chance.randrange(days))
        finished_at = datetime.combine(day, datetime.min.time(), UTC) + of_day
        plan = random_plan(chance, finished_at, finished_at - timedelta(seconds=chance.expovariate(0.01)))
        ended(db, plan)
        plans.append(plan)
    return plans


def ended_now(db: Database, plan: JobPlan) -> JobPlan:
    """A job that ends at this moment, with the times that its row has."""
    row = db.one("SELECT started_at, finished_at FROM jobs WHERE id = :job", job=ended(db, plan))
    assert row is not None
    return replace(plan, started_at=row["started_at"], finished_at=row["finished_at"])


def test_rows_equal_a_recount_across_midnights_and_after_more_jobs(db: Database) -> None:
    chance = random.Random(20261125)
    assert read(db) == {}
    roll_up(db)
    assert stored(db) == {}
    plans = some_jobs(db, chance, 60, days=4)
    assert {plan.status for plan in plans} > {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}
    assert read(db) == recount(plans), "nothing was rolled up yet"
    roll_up(db)
    assert stored(db) == recount(plans)
    plans += some_jobs(db, chance, 30, days=4)
    roll_up(db, since=today(db) - timedelta(days=4))
    assert stored(db) == recount(plans)
    roll_up(db)
    assert stored(db) == recount(plans)
    assert read(db) == recount(plans)


def test_a_day_that_was_rolled_up_is_counted_again_as_long_as_it_is_the_last(db: Database) -> None:
    yesterday = datetime.combine(today(db) - timedelta(days=1), datetime.min.time(), UTC)
    early = JobPlan(Kind.RENDER, Status.SUCCEEDED, (), yesterday, yesterday + timedelta(seconds=1))
    late = JobPlan(Kind.RENDER, Status.FAILED, (), yesterday, yesterday + timedelta(hours=23, minutes=59, seconds=59))
    ended(db, early)
    roll_up(db)
    ended(db, late)
    assert read(db) == recount([early, late])
    roll_up(db)
    assert stored(db) == recount([early, late])


def test_a_job_that_failed_before_it_started_takes_no_time(db: Database) -> None:
    noon = datetime.combine(today(db), datetime.min.time(), UTC)
    plan = JobPlan(Kind.OCR, Status.FAILED, (), None, noon)
    ended(db, plan)
    (row,) = read(db).values()
    assert row["total_processing_time"] == 0
    assert (row["documents_processed"], row["success_rate"], row["avg_compression_ratio"]) == (1, 0.0, None)


def test_what_only_pages_tell_outlives_them(db: Database) -> None:
    at = datetime.combine(today(db), datetime.min.time(), UTC)
    pages = (PagePlan(node="gpu0@host", tokens=(1000, 100)), PagePlan(tokens=(500, 100)))
    plans = [JobPlan(Kind.OCR, Status.SUCCEEDED, pages, at, at)]
    ended(db, plans[0])
    roll_up(db)
    assert expire_jobs(db, 1e-9) == 1
    assert db.all("SELECT FROM pages") == []
    roll_up(db)
    assert stored(db) == recount(plans)
    assert read(db) == recount(plans)
    assert [row["avg_compression_ratio"] for row in stored(db).values()] == [7.5]


def test_two_that_roll_up_while_jobs_end_leave_what_a_recount_gives(db: Database) -> None:
    chance, over, failures = random.Random(7), threading.Event(), []

    def go_round() -> None:
        try:
            while not over.is_set():
                roll_up(db)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test fails with it
            failures.append(error)

    threads = [threading.Thread(target=go_round) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        plans = [ended_now(db, random_plan(chance)) for _ in range(40)]
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
    assert failures == []
    roll_up(db)
    assert stored(db) == recount(plans)


def test_a_roll_up_that_waited_counts_what_ended_meanwhile(db: Database) -> None:
    plans = some_jobs(db, random.Random(8), 3, days=1)
    with db.engine.begin() as other:
        lock = {"schema": db.schema, "lock": ROLL_UP_LOCK}
        other.execute(text("SELECT pg_advisory_xact_lock(hashtext(:schema), :lock)"), lock)
        waiting = threading.Thread(target=roll_up, args=(db,))
        waiting.start()
        until(lambda: db.all("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"), what="waiting")
        plans += some_jobs(db, random.Random(9), 5, days=1)
    waiting.join(20)
    assert stored(db) == recount(plans)


def test_days_that_were_asked_for_are_given_with_their_totals(db: Database) -> None:
    plans = some_jobs(db, random.Random(5), 40, days=5)
    for days in (1, 2, 5):
        expected = recount(plan for plan in plans if _is_within(plan, today(db), days))
        answer = processing_stats(db, days)
        assert read(db, days) == expected
        assert [row.date for row in answer.stats] == sorted((day for day, _ in expected), reverse=True)
        assert answer.totals.documents_processed == sum(row["documents_processed"] for row in expected.values())
        ended_well = [p for p in plans if _is_within(p, today(db), days) and p.status == Status.SUCCEEDED]
        assert answer.totals.success_rate == len(ended_well) / answer.totals.documents_processed


def _is_within(plan: JobPlan, day: date, days: int) -> bool:
    return plan.finished_at is not None and plan.finished_at.astimezone(UTC).date() > day - timedelta(days=days)


def test_the_reconciler_rolls_up(db: Database, settings: Settings) -> None:
    plans = some_jobs(db, random.Random(6), 5, days=2)
    reconciler = Reconciler(make_runtime(settings, pool_size=1))
    reconciler.pass_once()
    reconciler.runtime.db.close()
    assert stored(db) == recount(plans)


def test_rounds_keep_their_pause(db: Database) -> None:
    rounds = Rounds(pause_s=3600)
    rounds.roll_up_if_due(db)
    plans = some_jobs(db, random.Random(4), 2, days=1)
    rounds.roll_up_if_due(db)
    assert stored(db) == {}
    rounds.due_at = 0
    rounds.roll_up_if_due(db)
    assert stored(db) == recount(plans)
