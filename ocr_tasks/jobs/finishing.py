"""The last step: the pages' results become the job's result, once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from ocr_tasks.contract import Kind, Status
from ocr_tasks.errors import Problem
from ocr_tasks.jobs.database import Database
from ocr_tasks.kinds.options import JobOptions, options_of
from ocr_tasks.kinds.sources import StoredSource

PAGES_AT_ONCE = 50


@dataclass(frozen=True)
class FinishClaim:
    """The right to assemble a job's result. `took_ms`: since its source was first opened."""

    job_id: UUID
    kind: Kind
    attempt: int
    source: StoredSource
    options: JobOptions
    succeeded: int
    failed: int
    source_pages: int | None
    took_ms: int


def claim_finish(db: Database, job_id: UUID, lease_s: float) -> FinishClaim | None:
    """Take a job whose pages have all ended; None when there is nothing to do."""
    row = db.one(
        """
        UPDATE jobs SET attempt = attempt + 1, lease_until = now() + make_interval(secs => :lease)
         WHERE id = :job AND status = 'finishing' AND (lease_until IS NULL OR lease_until < now())
        RETURNING id, kind, attempt, source, options, source_pages, pages_succeeded, pages_failed,
                  cast(extract(epoch FROM now() - started_at) * 1000 AS bigint) AS took_ms
        """,
        job=job_id,
        lease=lease_s,
    )
    if row is None:
        return None
    return FinishClaim(
        job_id=row["id"],
        kind=Kind(row["kind"]),
        attempt=row["attempt"],
        source=StoredSource.model_validate(row["source"]),
        options=options_of(row["kind"], row["options"]),
        succeeded=row["pages_succeeded"],
        failed=row["pages_failed"],
        source_pages=row["source_pages"],
        took_ms=row["took_ms"],
    )


def each_page(db: Database, job_id: UUID) -> Iterator[RowMapping]:
    """The rows of a job's pages in order, a few at a time."""
    last = 0
    while rows := _pages_after(db, job_id, last):
        yield from rows
        last = rows[-1]["page_no"]


def _pages_after(db: Database, job_id: UUID, page_no: int) -> Sequence[RowMapping]:
    return db.all(
        "SELECT * FROM pages WHERE job_id = :job AND page_no > :page ORDER BY page_no LIMIT :some",
        job=job_id,
        page=page_no,
        some=PAGES_AT_ONCE,
    )


def end_job(
    db: Database,
    claim: FinishClaim,
    status: Status,
    *,
    result: dict[str, Any] | None = None,
    error: Problem | None = None,
    also: Callable[[Connection], None] | None = None,
) -> bool:
    """Store how the job ended; False when the claim was lost or the job was cancelled meanwhile.

    also: writes further rows in the same transaction.
    """

    def end(connection: Connection) -> bool:
        statement = """
            UPDATE jobs SET status = :status, result = :result, error = :error, finished_at = now(), lease_until = NULL
             WHERE id = :job AND status = 'finishing' AND attempt = :attempt
            """
        fenced = {
            "job": claim.job_id,
            "attempt": claim.attempt,
            "status": status,
            "result": json.dumps(result) if result else None,
            "error": json.dumps(error) if error else None,
        }
        ended = connection.execute(text(statement), fenced).rowcount == 1
        if ended and also is not None:
            also(connection)
        return ended

    return db.run(end)


def finish_died(db: Database, job_id: UUID) -> bool:
    """The process that held a `finishing` job is gone: let it be claimed again; True when it is to be sent."""
    return db.changes_one(
        "UPDATE jobs SET lease_until = NULL, sent_at = now(), sends = sends + 1"
        " WHERE id = :job AND status = 'finishing'",
        job=job_id,
    )


def renew_job(db: Database, job_id: UUID, attempt: int, lease_s: float) -> bool:
    """Extend the lease on inspecting or finishing a job; False when it is no longer held."""
    return db.changes_one(
        """
        UPDATE jobs SET lease_until = now() + make_interval(secs => :lease)
         WHERE id = :job AND attempt = :attempt AND status IN ('preparing', 'finishing')
        """,
        job=job_id,
        attempt=attempt,
        lease=lease_s,
    )


def renew_range(db: Database, range_id: int, attempt: int, lease_s: float) -> bool:
    """Extend the lease on a range; False when it is no longer held."""
    return db.changes_one(
        """
        UPDATE ranges SET lease_until = now() + make_interval(secs => :lease)
         WHERE id = :range AND attempt = :attempt AND status = 'running'
        """,
        range=range_id,
        attempt=attempt,
        lease=lease_s,
    )
