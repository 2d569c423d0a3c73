"""How much there is to do and how much was done, counted in the rows: what monitoring asks for."""

from __future__ import annotations

from dataclasses import dataclass

from ocr_tasks.contract import Kind, Priority, Status
from ocr_tasks.jobs.database import Database


@dataclass(frozen=True)
class JobCount:
    kind: Kind
    status: Status
    jobs: int


@dataclass(frozen=True)
class PageCount:
    """Pages of running jobs that wait for an engine (`queued`) or are held by a node (`running`)."""

    engine: str
    priority: Priority
    status: Status
    pages: int


LIVE_JOBS = "status NOT IN ('succeeded', 'failed', 'cancelled')"


def count_live_jobs(db: Database) -> list[JobCount]:
    """Jobs that are not over; quick however many there have been."""
    return _job_counts(db, LIVE_JOBS)


def count_ended_jobs(db: Database) -> list[JobCount]:
    """Jobs that are over, all there ever were: takes the longer, the more they are."""
    return _job_counts(db, f"NOT ({LIVE_JOBS})")


def _job_counts(db: Database, which: str) -> list[JobCount]:
    rows = db.all(f"SELECT kind, status, count(*) AS jobs FROM jobs WHERE {which} GROUP BY 1, 2 ORDER BY 1, 2")
    return [JobCount(Kind(row["kind"]), Status(row["status"]), row["jobs"]) for row in rows]


def count_live_pages(db: Database) -> list[PageCount]:
    """Pages inside the windows of the jobs that are not over."""
    rows = db.all(
        """
        SELECT jobs.engine, jobs.priority, pages.status, count(*) AS pages
          FROM pages JOIN jobs ON jobs.id = pages.job_id
         WHERE pages.status IN ('queued', 'running') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        """
    )
    return [PageCount(row["engine"], Priority(row["priority"]), Status(row["status"]), row["pages"]) for row in rows]


@dataclass(frozen=True)
class OldestWaiting:
    """Seconds that the oldest job waits for its inspection, and the oldest page for an engine; 0 when none does."""

    job_s: float
    page_s: float


def oldest_waiting(db: Database) -> OldestWaiting:
    # OFFSET 0: else the oldest of all jobs are looked through for the first that still waits, however many there are.
    row = db.one(
        """
        SELECT (SELECT extract(epoch FROM now() - min(created_at))
                  FROM (SELECT created_at FROM jobs WHERE status = 'queued' OFFSET 0) AS waiting) AS job_s,
               (SELECT extract(epoch FROM now() - min(created_at)) FROM pages WHERE status = 'queued') AS page_s
        """
    )
    assert row is not None
    return OldestWaiting(float(row["job_s"] or 0), float(row["page_s"] or 0))
