"""A job comes into being, and may be cancelled."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Connection, text

from ocr_tasks.contract import TERMINAL, Kind, Status
from ocr_tasks.errors import Conflict, NotFound
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.views import JobView, job_view
from ocr_tasks.kinds.engines import check_operations
from ocr_tasks.kinds.options import JobOptions
from ocr_tasks.kinds.sources import AnySource

CREATE = """
INSERT INTO jobs (id, kind, priority, engine, source, options, direct)
VALUES (:id, :kind, :priority, :engine, :source, :options, :direct)
ON CONFLICT (id) DO NOTHING RETURNING *
"""

# Looked at and locked in one statement: a row that comes into being between two would be called over, and stay.
LOCK_JOB = "SELECT status FROM jobs WHERE id = :job FOR UPDATE"

CANCEL_JOB = """
UPDATE jobs SET status = 'cancelled', finished_at = now(), lease_until = NULL
 WHERE id = :job
"""

CANCEL_PAGES = """
UPDATE pages SET status = 'cancelled', lease_until = NULL, finished_at = now()
 WHERE job_id = :job AND status = ANY(:live)
"""


def create_job(
    db: Database,
    job_id: UUID,
    *,
    engine: str,
    source: AnySource,
    options: JobOptions,
    kind: Kind = Kind.OCR,
    direct: bool = False,
) -> JobView | None:
    """Insert a job as `queued`; None when it exists already, as after a second delivery.

    direct: it was submitted as a task, so its state is published to Celery's result backend.
    """
    check_operations(engine, options)
    row = db.one(
        CREATE,
        id=job_id,
        kind=kind,
        priority=options.priority,
        engine=engine,
        source=source.model_dump_json(by_alias=True, exclude_none=True),
        options=options.model_dump_json(by_alias=True),
        direct=direct,
    )
    return job_view(row) if row else None


def cancel_job(db: Database, job_id: UUID) -> None:
    """End a job that is not over; what runs of it is evicted as soon as its node learns of it.

    Raises NotFound, or Conflict when the job ended before.
    """

    def cancel(connection: Connection) -> Status | None:
        row = connection.execute(text(LOCK_JOB), {"job": job_id}).one_or_none()
        if row is None:
            return None
        status = Status(row.status)
        if status not in TERMINAL:
            connection.execute(text(CANCEL_JOB), {"job": job_id})
            connection.execute(text("DELETE FROM ranges WHERE job_id = :job"), {"job": job_id})
            connection.execute(text(CANCEL_PAGES), {"job": job_id, "live": ["queued", "running"]})
            return Status.CANCELLED
        return status

    status = db.run(cancel)
    if status is None:
        raise NotFound(f"There is no job {job_id}.")
    if status != Status.CANCELLED:
        raise Conflict(f"The job has {status} already and cannot be cancelled.", value=str(status))
