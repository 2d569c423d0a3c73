"""What was asked for becomes a job: 202 with the job, or 200 with its result for a caller that waits and is lucky."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import structlog
from flask import Response
from structlog.contextvars import bound_contextvars

from ocr_tasks.contract import Kind, OcrOptions
from ocr_tasks.errors import ServiceUnavailable
from ocr_tasks.jobs.submitting import create_job
from ocr_tasks.jobs.views import JobView, get_job_row, job_view
from ocr_tasks.kinds.engines import settled
from ocr_tasks.kinds.options import JobOptions
from ocr_tasks.kinds.sources import AnySource, entry_route, stored
from web.intake import refuse_unknown_query
from web.jobs import result_response
from web.responses import job_response
from web.services import services
from web.waiting import wait_asked_for

log = structlog.get_logger(__name__)


def wait_wanted() -> float:
    """Seconds that a submit waits for its result; raises UnknownField or InvalidOption."""
    refuse_unknown_query("wait")
    return wait_asked_for(services().settings)


def accepted(kind: Kind, given: JobOptions, source_of: Callable[[], AnySource], wait_s: float) -> Response:
    """A new job. source_of: stores what was sent, once it is known that an engine can do what is asked.

    Raises OperationUnavailable, StorageFull, and what `source_of` raises.
    """
    shared = services()
    engine, options = settled(shared.settings, given)
    job_id = uuid.uuid4()
    with bound_contextvars(job_id=str(job_id)):
        source = source_of()
        job = create_job(shared.db, job_id, kind=kind, engine=engine, source=source, options=options)
        if job is None:  # the connection was lost with the answer: the second try found the first one's row
            job = job_view(get_job_row(shared.db, job_id))
        row = stored(source)
        log.info(
            "job_accepted",
            kind=str(kind),
            media_type=row.media_type,
            size_bytes=row.size_bytes,
            url=row.url is not None,  # that there is one; what stands in it is the caller's matter
            priority=options.priority,
        )
        password = given.password if isinstance(given, OcrOptions) else None
        shared.dispatch.entry(job_id, entry_route(kind, row, options.priority), password)
        return _answer(job, options, wait_s)


def _answer(job: JobView, options: JobOptions, wait_s: float) -> Response:
    """The result, to a caller that waits for one that comes in time; else the job as it was accepted."""
    if not _ended(job.id, wait_s):
        return job_response(job, status=202)
    response = result_response(job.id, options.result_format)
    response.headers["Location"] = job.links.self
    response.headers["Preference-Applied"] = f"wait={wait_s:g}"
    return response


def _ended(job_id: uuid.UUID, wait_s: float) -> bool:
    """Whether a job ended in time. Once it is accepted nothing is an error: a retry would make a second job."""
    shared = services()
    try:
        return shared.waiters.wait(shared.db, job_id, wait_s) is not None
    except ServiceUnavailable:
        return False
