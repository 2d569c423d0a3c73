"""What a crash left behind, found by looking at the rows; safe for several reconcilers at once (SKIP LOCKED).

A row is sent again when its message was sent too long ago and no queue holds it any more. The pause doubles with
each time, up to the length of a lease, so that a backlog does not become a storm.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ocr_tasks.contract import Priority, TaskName
from ocr_tasks.errors import EngineCrashed, OcrError, WorkerLost
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.progress import Progress
from ocr_tasks.jobs.reading import PageClaim, fail_page, give_back_page
from ocr_tasks.jobs.views import route_of
from ocr_tasks.kinds.options import options_of

AT_ONCE = 500

DUE = "sent_at + make_interval(secs => least(:resend * power(2, least(sends, 10)), :lease)) < now()"
UNFINISHED = "status = 'finishing' AND (lease_until IS NULL OR lease_until < now())"


@dataclass(frozen=True)
class Pauses:
    """resend_s: before a message is first sent again; lease_s: the longest pause."""

    resend_s: float
    lease_s: float

    def params(self) -> dict[str, Any]:
        return {"resend": self.resend_s, "lease": self.lease_s, "some": AT_ONCE}


@dataclass(frozen=True)
class Unsent:
    """A row whose message seems to be lost: an entry task (then `route` is there) or finish, a range or a page."""

    job_id: UUID
    priority: Priority
    engine: str
    finishing: bool = False
    route: tuple[TaskName, str] | None = None
    range_id: int | None = None
    page_no: int | None = None


def anything_due(db: Database, pauses: Pauses) -> bool:
    """Whether a row waits longer than its pause; cheap, asked before the queues are looked through."""
    row = db.one(
        f"""
        SELECT EXISTS (SELECT FROM jobs WHERE (status = 'queued' OR {UNFINISHED}) AND {DUE})
            OR EXISTS (SELECT FROM ranges WHERE status = 'queued' AND {DUE})
            OR EXISTS (SELECT FROM pages WHERE status = 'queued' AND {DUE}) AS due
        """,
        resend=pauses.resend_s,
        lease=pauses.lease_s,
    )
    return bool(row and row["due"])


# Keys of messages are written as dispatch does (a colon before a letter is escaped: it would be a parameter).
# Each marks due rows as sent now, also those whose message a queue still holds: they are looked at again after a
# longer pause, so that a backlog is not gone through again and again.
TAKE_JOBS = f"""
WITH due AS (
    SELECT id, id::text || CASE status WHEN 'finishing' THEN '\\:finish' ELSE '' END = ANY(:held) AS held FROM jobs
     WHERE (status = 'queued' OR {UNFINISHED}) AND {DUE} ORDER BY sent_at LIMIT :some FOR UPDATE SKIP LOCKED)
UPDATE jobs SET sent_at = now(), sends = sends + 1
  FROM due WHERE jobs.id = due.id
RETURNING held, jobs.id AS job_id, priority, engine, kind, source, status = 'finishing' AS finishing
"""

TAKE_RANGES = f"""
WITH due AS (
    SELECT id, job_id::text || '\\:r' || id = ANY(:held) AS held FROM ranges
     WHERE status = 'queued' AND {DUE} ORDER BY sent_at LIMIT :some FOR UPDATE SKIP LOCKED)
UPDATE ranges SET sent_at = now(), sends = ranges.sends + 1
  FROM due, jobs WHERE ranges.id = due.id AND jobs.id = ranges.job_id
RETURNING held, ranges.job_id, jobs.priority, jobs.engine, ranges.id AS range_id
"""

TAKE_PAGES = f"""
WITH due AS (
    SELECT job_id, page_no, job_id::text || ':' || page_no = ANY(:held) AS held FROM pages
     WHERE status = 'queued' AND {DUE} ORDER BY sent_at LIMIT :some FOR UPDATE SKIP LOCKED)
UPDATE pages SET sent_at = now(), sends = pages.sends + 1
  FROM due, jobs WHERE pages.job_id = due.job_id AND pages.page_no = due.page_no AND jobs.id = pages.job_id
RETURNING held, pages.job_id, jobs.priority, jobs.engine, pages.page_no
"""


def take_unsent(db: Database, pauses: Pauses, held: Collection[str]) -> list[Unsent]:
    """Rows to be sent again now. `held`: keys of the messages that the queues still hold (dispatch.message_key)."""
    rows = [
        row
        for statement in (TAKE_JOBS, TAKE_RANGES, TAKE_PAGES)
        for row in db.all(statement, held=list(held), **pauses.params())
        if not row["held"]
    ]
    return [
        Unsent(
            job_id=row["job_id"],
            priority=Priority(row["priority"]),
            engine=row["engine"],
            finishing=row.get("finishing", False),
            route=route_of(row) if "source" in row else None,
            range_id=row.get("range_id"),
            page_no=row.get("page_no"),
        )
        for row in rows
    ]


def server_time(db: Database) -> datetime:
    """The database's clock, which leases are written by."""
    row = db.one("SELECT now() AS now")
    assert row is not None
    now: datetime = row["now"]
    return now


def lost_inspections(db: Database, before: datetime) -> Sequence[UUID]:
    """Jobs whose inspecting process stopped renewing its lease."""
    rows = db.all(
        "SELECT id FROM jobs WHERE status = 'preparing' AND lease_until < :before LIMIT :some",
        before=before,
        some=AT_ONCE,
    )
    return [row["id"] for row in rows]


def lost_ranges(db: Database, before: datetime) -> Sequence[int]:
    """Ranges whose preparing process stopped renewing its lease."""
    rows = db.all(
        "SELECT id FROM ranges WHERE status = 'running' AND lease_until < :before LIMIT :some",
        before=before,
        some=AT_ONCE,
    )
    return [row["id"] for row in rows]


LOST_PAGES = """
UPDATE pages SET lease_until = now() + make_interval(secs => :lease), losses = pages.losses + 1,
       isolation = CASE isolation WHEN 'none' THEN 'suspect' ELSE isolation END
  FROM jobs
 WHERE jobs.id = pages.job_id AND (pages.job_id, pages.page_no) IN
       (SELECT job_id, page_no FROM pages WHERE status = 'running' AND lease_until < :before
         LIMIT :some FOR UPDATE SKIP LOCKED)
RETURNING pages.job_id, pages.page_no, pages.attempt, pages.failures, pages.losses, pages.isolation, pages.node,
          jobs.kind, jobs.options, jobs.priority, jobs.engine
"""


@dataclass(frozen=True)
class RecoveredPage:
    """A page whose node died: queued again, or given up (then `progress` says how far its job is)."""

    job_id: UUID
    page_no: int
    engine: str
    priority: Priority
    node: str | None
    progress: Progress | None = None
    queued: bool = False


def recover_pages(db: Database, before: datetime, *, lease_s: float, failures: int, losses: int) -> list[RecoveredPage]:
    """Take pages over from nodes that stopped renewing them.

    One that was in its engine alone is to blame for the death and pays a failure; the others are only suspect, pay
    nothing and are run alone next. `losses` deaths of any kind end a page.
    """
    recovered = []
    for row in db.all(LOST_PAGES, before=before, lease=lease_s, some=AT_ONCE):
        claim = PageClaim(
            job_id=row["job_id"],
            page_no=row["page_no"],
            attempt=row["attempt"],
            failures=row["failures"],
            image_blob=None,
            compression_id=None,
            source_text=None,
            waited_ms=0,
            alone=True,
            options=options_of(row["kind"], row["options"]),
            priority=Priority(row["priority"]),
        )
        error = _guilt(claim, failures) if row["isolation"] == "alone" else _bad_luck(row["losses"], losses)
        progress, queued = None, False
        if error is not None and _given_up(claim, error, failures):
            progress = fail_page(db, claim, error, engine=row["engine"], revision="", charge=_charges(error))
        else:
            queued = give_back_page(db, claim, error=error)
        recovered.append(
            RecoveredPage(claim.job_id, claim.page_no, row["engine"], claim.priority, row["node"], progress, queued)
        )
    return recovered


def _guilt(claim: PageClaim, limit: int) -> OcrError:
    return EngineCrashed(
        f"The engine's process died on this page, alone, {claim.failures + 1} time(s); the limit is {limit}.",
        value=claim.failures + 1,
        limit=limit,
    )


def _bad_luck(losses: int, limit: int) -> OcrError | None:
    if losses < limit:
        return None
    return WorkerLost(
        f"Workers died while they held this page, {losses} times; the limit is {limit}.", value=losses, limit=limit
    )


def _charges(error: OcrError) -> bool:
    return isinstance(error, EngineCrashed)


def _given_up(claim: PageClaim, error: OcrError, failures: int) -> bool:
    return not _charges(error) or claim.failures + 1 >= failures


def drop_orphaned_ranges(db: Database) -> None:
    """Delete ranges whose job is over: a cancel may have crossed a range that was just being halved."""
    db.execute(
        """
        DELETE FROM ranges USING jobs
         WHERE jobs.id = ranges.job_id AND jobs.status IN ('succeeded', 'failed', 'cancelled')
        """
    )


def jobs_with_room(db: Database) -> Sequence[tuple[UUID, str, Priority]]:
    """Running jobs that have pages left to release: (job, engine, lane)."""
    rows = db.all(
        "SELECT id, engine, priority FROM jobs WHERE status = 'running' AND pages_released < pages_total"
        " ORDER BY created_at LIMIT :some",
        some=AT_ONCE,
    )
    return [(row["id"], row["engine"], Priority(row["priority"])) for row in rows]
