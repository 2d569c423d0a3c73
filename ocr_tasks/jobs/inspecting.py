"""A source is looked into, once: how many pages it has, and how many of them the job reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ocr_tasks.contract import OcrOptions, Source
from ocr_tasks.errors import OcrError, ParserDied
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.progress import PROGRESS, Progress, progress_of


class StoredSource(Source):
    """A source as its job's row holds it. `prepared`: the blob that pages are made from instead, decrypted, say."""

    prepared: str | None = None

    @property
    def pages_blob(self) -> str:
        return self.prepared or self.blob


@dataclass(frozen=True)
class InspectClaim:
    """The right to inspect a job's source."""

    job_id: UUID
    attempt: int
    source: StoredSource
    options: OcrOptions


def source_and_options(source: Any, options: Any) -> tuple[StoredSource, OcrOptions]:
    """What a job was given, out of the columns of its row."""
    return StoredSource.model_validate(source), OcrOptions.model_validate(options)


def claim_inspect(db: Database, job_id: UUID, lease_s: float) -> InspectClaim | None:
    """Take a queued job; None when somebody else did, or it was cancelled."""
    row = db.one(
        """
        UPDATE jobs SET status = 'preparing', attempt = attempt + 1, started_at = coalesce(started_at, now()),
               lease_until = now() + make_interval(secs => :lease)
         WHERE id = :job AND status = 'queued' RETURNING attempt, source, options
        """,
        job=job_id,
        lease=lease_s,
    )
    if row is None:
        return None
    source, options = source_and_options(row["source"], row["options"])
    return InspectClaim(job_id, row["attempt"], source, options)


def set_pages(
    db: Database, claim: InspectClaim, *, source_pages: int, pages_total: int, prepared: str | None = None
) -> Progress | None:
    """The source was inspected: the job runs, on the blob `prepared` if there is one. None when the claim was lost."""
    row = db.one(
        f"""
        UPDATE jobs SET status = 'running', source_pages = :source_pages, pages_total = :total, lease_until = NULL,
               source = source || jsonb_strip_nulls(jsonb_build_object('prepared', cast(:prepared AS text)))
         WHERE id = :job AND status = 'preparing' AND attempt = :attempt RETURNING {PROGRESS}
        """,
        job=claim.job_id,
        attempt=claim.attempt,
        source_pages=source_pages,
        total=pages_total,
        prepared=prepared,
    )
    return progress_of(row) if row else None


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
        UPDATE jobs SET status = 'failed', error = :error, finished_at = now(), lease_until = NULL
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
        error=json.dumps(ParserDied("The file made its parser crash or run out of time or memory.").problem()),
    )
    return row is not None and row["status"] == "queued"
