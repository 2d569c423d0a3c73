"""`/api/ocr`: documents come in."""

from __future__ import annotations

import uuid

import structlog
from flask import Blueprint, Response
from structlog.contextvars import bound_contextvars

from ocr_tasks.contract import Kind, OcrOptions
from ocr_tasks.errors import ServiceUnavailable
from ocr_tasks.jobs.submitting import create_job
from ocr_tasks.jobs.views import JobView, get_job_row, job_view
from ocr_tasks.kinds.engines import settled
from ocr_tasks.kinds.sources import StoredSource, entry_route
from web.intake import form_file, form_options, refuse_unknown_query, store_file
from web.jobs import result_response
from web.responses import job_response
from web.services import services
from web.waiting import wait_asked_for

log = structlog.get_logger(__name__)
blueprint = Blueprint("ocr", __name__, url_prefix="/api/ocr")


@blueprint.post("/process")
def process() -> Response:
    """One document becomes a job; 202 with the job, or 200 with its result for a caller that waits and is lucky."""
    shared = services()
    refuse_unknown_query("wait")
    wait_s = wait_asked_for(shared.settings)
    file = form_file()
    options = form_options()
    engine, _ = settled(shared.settings, options)
    job_id = uuid.uuid4()
    with bound_contextvars(job_id=str(job_id)):
        source = store_file(shared.blobs, file)
        job = create_job(shared.db, job_id, engine=engine, source=source, options=options)
        if job is None:  # the connection was lost with the answer: the second try found the first one's row
            job = job_view(get_job_row(shared.db, job_id))
        log.info("job_accepted", media_type=source.media_type, size_bytes=source.size_bytes, priority=options.priority)
        shared.dispatch.entry(
            job_id, entry_route(Kind.OCR, StoredSource(blob=source.blob), options.priority), options.password
        )
        return _answer(job, options, wait_s)


def _answer(job: JobView, options: OcrOptions, wait_s: float) -> Response:
    """The result, to a caller that waits for one that comes in time; else the job as it was accepted."""
    if not _ended(job.id, wait_s):
        return job_response(job, status=202)
    response = result_response(job.id, options.format)
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
