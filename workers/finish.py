"""The last step of a job: its pages become its result, guarded by the job's status and a fence."""

from __future__ import annotations

import tempfile
from pathlib import Path
from uuid import UUID

import structlog

from ocr_tasks.contract import Format, Status
from ocr_tasks.jobs.finishing import FinishClaim, claim_finish, each_page, end_job, renew_job
from ocr_tasks.jobs.views import page_view
from workers.leases import renewed
from workers.results import ResultFiles, why_none
from workers.runtime import Runtime

log = structlog.get_logger(__name__)


def finish_job(runtime: Runtime, job_id: UUID) -> str:
    """Assemble and store a job's result if that is still to be done; returns what became of it, for the log."""
    settings = runtime.settings
    claim = claim_finish(runtime.db, job_id, settings.lease_s)
    if claim is None:
        return "nothing to do"
    with renewed(lambda: renew_job(runtime.db, job_id, claim.attempt, settings.lease_s), settings.lease_s):
        if claim.succeeded == 0:
            first = page_view(next(iter(each_page(runtime.db, claim.job_id))))
            ended = end_job(runtime.db, claim, Status.FAILED, error=why_none(first, claim.failed))
        else:
            result = _store_result(runtime, claim)
            ended = end_job(runtime.db, claim, Status.SUCCEEDED, result=result)
    outcome = "refused: the claim was lost" if not ended else "succeeded" if claim.succeeded else "failed"
    log.info("job_ended", outcome=outcome, succeeded=claim.succeeded, failed=claim.failed, took_ms=claim.took_ms)
    return outcome


def _store_result(runtime: Runtime, claim: FinishClaim) -> dict[str, dict[str, object]]:
    """All formats in the blob store: format -> {blob, size_bytes}."""
    with tempfile.TemporaryDirectory(prefix="lightdom-ocr-") as folder:
        files = ResultFiles(Path(folder))
        files.write((page_view(row) for row in each_page(runtime.db, claim.job_id)), took_ms=claim.took_ms)
        stored: dict[str, dict[str, object]] = {}
        for form in Format:
            with files.path(form).open("rb") as file:
                key, size_bytes = runtime.blobs.put_stream(file)
            stored[form] = {"blob": key, "size_bytes": size_bytes}
        return stored
