"""Which direct callers are to be told how their job ended.

What was published is known by its time: Redis that was emptied later than that has forgotten it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping

from ocr_tasks.contract import Format, Status
from ocr_tasks.errors import Problem
from ocr_tasks.jobs.database import Database
from ocr_tasks.kinds.options import options_of

AT_ONCE = 200

COLUMNS = """id, kind, status, options, pages_total, pages_succeeded, pages_failed, result, error, now() AS read_at"""


@dataclass(frozen=True)
class EndedJob:
    """A direct caller's job that is over. `read_at`: by the database's clock, before anything of it is published."""

    job_id: UUID
    status: Status
    format: Format
    total: int | None
    succeeded: int
    failed: int
    result: dict[str, Any] | None
    error: Problem | None
    read_at: datetime


def ended_job(db: Database, job_id: UUID) -> EndedJob | None:
    """A job of a direct caller, when it is over."""
    row = db.one(f"SELECT {COLUMNS} FROM jobs WHERE id = :job AND direct AND finished_at IS NOT NULL", job=job_id)
    return _ended(row) if row else None


def unpublished(db: Database, *, since: datetime, kept_s: float) -> list[EndedJob]:
    """Jobs of direct callers that ended within `kept_s`, not published since then; the newest first, some of them."""
    rows = db.all(
        f"""
        SELECT {COLUMNS} FROM jobs
         WHERE direct AND finished_at > now() - make_interval(secs => :kept)
           AND (published_at IS NULL
                OR published_at < :since AND published_at > now() - make_interval(secs => :kept))
         ORDER BY finished_at DESC LIMIT :some
        """,
        since=since,
        kept=kept_s,
        some=AT_ONCE,
    )
    return [_ended(row) for row in rows]


def mark_published(db: Database, job: EndedJob) -> None:
    """How the job ended was published."""
    db.execute("UPDATE jobs SET published_at = :at WHERE id = :job", job=job.job_id, at=job.read_at)


def database_time(db: Database) -> datetime:
    """The time by the database's clock."""
    row = db.one("SELECT now() AS now")
    assert row is not None
    now: datetime = row["now"]
    return now


def _ended(row: RowMapping) -> EndedJob:
    return EndedJob(
        job_id=row["id"],
        status=Status(row["status"]),
        format=options_of(row["kind"], row["options"]).result_format,
        total=row["pages_total"],
        succeeded=row["pages_succeeded"],
        failed=row["pages_failed"],
        result=row["result"],
        error=row["error"],
        read_at=row["read_at"],
    )
