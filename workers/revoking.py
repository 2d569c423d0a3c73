"""Revoking an entry task cancels its job, whether its message still waits or the job runs."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog
from celery.utils.functional import maybe_list
from celery.worker import control

from ocr_tasks.direct import is_job_id
from ocr_tasks.errors import Conflict, NotFound, OcrError
from ocr_tasks.jobs.submitting import cancel_job
from ocr_tasks.jobs.views import get_job_row
from workers.runtime import Runtime, impatient_runtime

log = structlog.get_logger(__name__)

celery_revoke = control.revoke


def revoke_job(runtime: Runtime, job_id: UUID) -> None:
    """Cancel a job that is not over, or keep it from beginning; raises ServiceUnavailable."""
    try:
        cancel_job(runtime.db, job_id)
    except NotFound:
        runtime.publisher.forestall(job_id)
        with suppress(NotFound, Conflict):  # its row may have come meanwhile
            cancel_job(runtime.db, job_id)
    except Conflict:
        return
    runtime.publisher.end(job_id)


def expire_job(runtime: Runtime, job_id: UUID) -> None:
    """Its entry task came later than the caller wanted: keep it from beginning, unless it has; may raise OcrError."""
    try:
        get_job_row(runtime.db, job_id)
    except NotFound:
        runtime.publisher.forestall(job_id)


@control.control_command(name="revoke", variadic="task_id", signature="[id1 [id2 [... [idN]]]]")
def revoke(state: Any, task_id: Any, terminate: bool = False, signal: Any = None, **kwargs: Any) -> Any:
    """Celery's command, but a job is cancelled in the database.

    `terminate` is left out for all tasks: it would kill a process that reads another job's source by the time the
    signal arrives. What runs of a cancelled job is evicted or refused anyway.
    """
    ids = {str(one) for one in maybe_list(task_id) or []}
    jobs = {one for one in ids if is_job_id(one)}
    for one in jobs:
        cancel_now_or_soon(UUID(one))
    if ids - jobs:
        celery_revoke(state, list(ids - jobs), **kwargs)
    return control.ok(f"tasks {ids} flagged as revoked")


@control.control_command(name="terminate", variadic="task_id", signature="<signal> [id1 [id2 [... [idN]]]]")
def terminate(state: Any, signal: Any, task_id: Any, **kwargs: Any) -> Any:
    """Celery's command; it revokes and kills nothing."""
    return revoke(state, task_id, **kwargs)


def cancel_now_or_soon(job_id: UUID) -> None:
    """Cancel a job from a worker's parent process; when Postgres does not answer, by a task that waits for it."""
    runtime = impatient_runtime()
    try:
        revoke_job(runtime, job_id)
    except OcrError as error:
        log.warning("revoked_later", job_id=str(job_id), error=error.detail)
        runtime.dispatch.cancel(job_id)
