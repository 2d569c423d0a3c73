"""A source is looked into, once: what it is, how many pages it has, and how many of them the job reads."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from ocr_tasks.contract import Kind
from ocr_tasks.errors import OcrError, ParserDied
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.harvests import NewHarvest, insert_harvest
from ocr_tasks.jobs.progress import PROGRESS, Progress, progress_of
from ocr_tasks.kinds.options import JobOptions, options_of
from ocr_tasks.kinds.sources import StoredSource


@dataclass(frozen=True)
class InspectClaim:
    """The right to inspect a job's source."""

    job_id: UUID
    kind: Kind
    attempt: int
    source: StoredSource
    options: JobOptions


@dataclass(frozen=True)
class Inspected:
    """What a source turned out to be.

    source_pages: that it has; pages_total: that the job reads. source: fields of it that are known now, such as the
    blob of what stands at its address. harvest: what was rendered of it, to be stored.
    """

    source_pages: int
    pages_total: int
    source: dict[str, Any] = field(default_factory=dict)
    harvest: NewHarvest | None = None


def claim_inspect(db: Database, job_id: UUID, lease_s: float) -> InspectClaim | None:
    """Take a queued job; None when somebody else did, or it was cancelled."""
    row = db.one(
        """
        UPDATE jobs SET status = 'preparing', attempt = attempt + 1, started_at = coalesce(started_at, now()),
               lease_until = now() + make_interval(secs => :lease)
         WHERE id = :job AND status = 'queued' RETURNING kind, attempt, source, options
        """,
        job=job_id,
        lease=lease_s,
    )
    if row is None:
        return None
    kind, source = Kind(row["kind"]), StoredSource.model_validate(row["source"])
    return InspectClaim(job_id, kind, row["attempt"], source, options_of(kind, row["options"]))


def set_pages(db: Database, claim: InspectClaim, found: Inspected) -> Progress | None:
    """The source was inspected: the job runs, or is to be finished if it has no pages. None when the claim was lost."""

    def settle(connection: Connection) -> RowMapping | None:
        statement = f"""
            UPDATE jobs SET status = CASE WHEN :total = 0 THEN 'finishing' ELSE 'running' END, lease_until = NULL,
                   source_pages = :source_pages, pages_total = :total, sent_at = now(), sends = 0,
                   source = source || cast(:source AS jsonb),
                   options = options - 'headers'  -- they may hold secrets, and no later step needs them
             WHERE id = :job AND status = 'preparing' AND attempt = :attempt RETURNING {PROGRESS}
            """
        fenced = {
            "job": claim.job_id,
            "attempt": claim.attempt,
            "source_pages": found.source_pages,
            "total": found.pages_total,
            "source": json.dumps(found.source),
        }
        row = connection.execute(text(statement), fenced).mappings().first()
        if row is not None and found.harvest is not None:
            insert_harvest(connection, claim.job_id, found.harvest)
        return row

    row = db.run(settle)
    return progress_of(row) if row else None


def replace_source(db: Database, claim: InspectClaim, source: StoredSource) -> bool:
    """More is known of a source: put its job back in the queue, for whoever can go on with it."""
    return db.changes_one(
        """
        UPDATE jobs SET status = 'queued', lease_until = NULL, sent_at = now(), source = cast(:source AS jsonb)
         WHERE id = :job AND status = 'preparing' AND attempt = :attempt
        """,
        job=claim.job_id,
        attempt=claim.attempt,
        source=source.model_dump_json(by_alias=True, exclude_none=True),
    )


def give_back_inspect(db: Database, claim: InspectClaim) -> bool:
    """Put a job back in its queue, uncharged: the blob store is not reachable, say."""
    return db.changes_one(
        """
        UPDATE jobs SET status = 'queued', lease_until = NULL, sent_at = now(), sends = sends + 1
         WHERE id = :job AND status = 'preparing' AND attempt = :attempt
        """,
        job=claim.job_id,
        attempt=claim.attempt,
    )


def fail_inspect(db: Database, claim: InspectClaim, error: OcrError) -> bool:
    """The source cannot be read: the job fails with the problem that says why."""
    return db.changes_one(
        """
        UPDATE jobs SET status = 'failed', error = :error, finished_at = now(), lease_until = NULL,
               options = options - 'headers'
         WHERE id = :job AND status = 'preparing' AND attempt = :attempt
        """,
        job=claim.job_id,
        attempt=claim.attempt,
        error=json.dumps(error.problem()),
    )


def inspect_died(
    db: Database, job_id: UUID, *, charge: bool, failures: int, losses: int, before: datetime | None = None
) -> bool:
    """The process that inspected a job is gone; True when the job is queued again and is to be sent.

    charge: it was seen to die on this source, so the job pays a failure; `failures` of them end it.
    losses: deaths of any kind that end it.
    before: only if its lease ran out before this time; another reconciler may have been quicker.
    """
    row = db.one(
        """
        UPDATE jobs SET failures = failures + :charge, losses = losses + 1, lease_until = NULL, sent_at = now(),
               status = CASE WHEN failures + :charge >= :failures OR losses + 1 >= :losses
                             THEN 'failed' ELSE 'queued' END,
               error = CASE WHEN failures + :charge >= :failures OR losses + 1 >= :losses
                            THEN cast(:error AS jsonb) END,
               finished_at = CASE WHEN failures + :charge >= :failures OR losses + 1 >= :losses THEN now() END
         WHERE id = :job AND status = 'preparing'
           AND (cast(:before AS timestamptz) IS NULL OR lease_until < :before) RETURNING status
        """,
        job=job_id,
        before=before,
        charge=int(charge),
        failures=failures,
        losses=losses,
        error=json.dumps(ParserDied("The source made its parser crash or run out of time or memory.").problem()),
    )
    return row is not None and row["status"] == "queued"
