"""The last step of a job: its pages become its result, guarded by the job's status and a fence."""

from __future__ import annotations

import tempfile
from pathlib import Path
from uuid import UUID

import structlog

from ocr_tasks.contract import Kind, Status
from ocr_tasks.errors import NotFound
from ocr_tasks.jobs.finishing import FinishClaim, claim_finish, each_page, end_job, renew_job
from ocr_tasks.jobs.views import page_view
from workers.dom_results import DOM_ENDINGS
from workers.leases import renewed
from workers.results import Ending, read_document, why_none
from workers.runtime import Runtime

log = structlog.get_logger(__name__)

ENDINGS: dict[Kind, Ending] = {Kind.OCR: read_document, **DOM_ENDINGS}


def finish_job(runtime: Runtime, job_id: UUID) -> str:
    """Assemble and store a job's result if that is still to be done; returns what became of it, for the log."""
    settings = runtime.settings
    claim = claim_finish(runtime.db, job_id, settings.lease_s)
    if claim is None:
        return "nothing to do"
    with renewed(lambda: renew_job(runtime.db, job_id, claim.attempt, settings.lease_s), settings.lease_s):
        status = Status.FAILED if claim.failed and not claim.succeeded else Status.SUCCEEDED
        if status == Status.FAILED:
            first = page_view(next(iter(each_page(runtime.db, claim.job_id))))
            ended = end_job(runtime.db, claim, Status.FAILED, error=why_none(first, claim.failed))
        else:
            try:
                ended = _succeed(runtime, claim)
            except NotFound as error:  # what it is about was deleted while it ran
                status = Status.FAILED
                ended = end_job(runtime.db, claim, status, error=error.problem())
    outcome = "refused: the claim was lost" if not ended else str(status)
    log.info("job_ended", outcome=outcome, succeeded=claim.succeeded, failed=claim.failed, took_ms=claim.took_ms)
    return outcome


def _succeed(runtime: Runtime, claim: FinishClaim) -> bool:
    """Store the result, in every format that the kind has, and what else the job leaves in the database."""
    with tempfile.TemporaryDirectory(prefix="lightdom-ocr-") as folder:
        files, also = ENDINGS[claim.kind](runtime, claim, Path(folder))
        stored: dict[str, dict[str, object]] = {}
        for form, path in files.items():
            with path.open("rb") as file:
                key, size_bytes = runtime.blobs.put_stream(file)
            stored[form] = {"blob": key, "size_bytes": size_bytes}
    return end_job(runtime.db, claim, Status.SUCCEEDED, result=stored, also=also)
