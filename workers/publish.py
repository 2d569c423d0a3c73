"""The one way to Celery's result backend: what `AsyncResult(job_id)` says to a direct caller.

How a job ended comes from its row, and only from there; the states themselves refuse what comes too late.
"""

from __future__ import annotations

import threading
import time
from typing import Any
from uuid import UUID

import structlog

from ocr_tasks.app import RESULT_EXPIRES_S
from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import Status
from ocr_tasks.direct import INLINE_BYTES
from ocr_tasks.errors import BlobMissing, OcrError
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.progress import Progress
from ocr_tasks.jobs.publishing import EndedJob, database_time, ended_job, mark_published, unpublished
from ocr_tasks.states import (
    Meta,
    Over,
    State,
    States,
    failure_meta,
    progress_meta,
    revoked_meta,
    success_meta,
)

log = structlog.get_logger(__name__)

# A job's progress is published at most this often by one process.
PROGRESS_S = 0.5


class Publisher:
    """Publishes the states of direct callers' jobs. Methods raise ServiceUnavailable unless they say otherwise."""

    def __init__(self, states: States, db: Database, blobs: BlobStore) -> None:
        self.states = states
        self.db = db
        self.blobs = blobs
        self._newest: dict[UUID, Progress] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def progress(self, progress: Progress) -> None:
        """Note how far a job is; a thread publishes the newest of it, so that a frozen Redis holds up no page."""
        if not progress.direct:
            return
        with self._lock:
            self._newest[progress.job_id] = progress
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
                self._thread.start()

    def refuse(self, task_id: str, error: OcrError) -> None:
        """FAILURE for a task that becomes no job."""
        self.states.put(failure_meta(task_id, error.problem()), Over.UNENDED)

    def forestall(self, job_id: UUID) -> None:
        """REVOKED for a job whose row is not there yet: its entry task will find this, and not begin."""
        self.states.put(revoked_meta(str(job_id)), Over.UNENDED)

    def was_revoked(self, job_id: UUID) -> bool:
        """Whether a job was revoked before its row was there."""
        known = self.states.get(str(job_id))
        return known is not None and known["status"] == State.REVOKED

    def end(self, job_id: UUID) -> bool:
        """How a direct caller's job ended, if it did. Never raises: the reconciler publishes what could not be."""
        try:
            job = ended_job(self.db, job_id)
            if job is not None:
                self._publish_end(job)
        except OcrError as error:
            log.warning("end_not_published", error=error.detail)
            return False
        return job is not None

    def forgotten(self) -> int:
        """Ends that were not published, or that Redis forgot; returns how many."""
        jobs = unpublished(
            self.db, since=self.states.remembers_since(lambda: database_time(self.db)), kept_s=RESULT_EXPIRES_S
        )
        for job in jobs:
            self._publish_end(job)
        return len(jobs)

    def _publish_end(self, job: EndedJob) -> None:
        self.states.put(self._end_meta(job), Over.ANYTHING)
        mark_published(self.db, job)

    def _end_meta(self, job: EndedJob) -> Meta:
        task_id = str(job.job_id)
        if job.status == Status.CANCELLED:
            return revoked_meta(task_id)
        if job.status == Status.FAILED:
            return failure_meta(task_id, job.error or OcrError().problem())
        return success_meta(task_id, self._result(job))

    def _result(self, job: EndedJob) -> dict[str, Any]:
        """Small enough for Redis: a text of more than `INLINE_BYTES` goes by its key in the blob store."""
        stored: dict[str, Any] = (job.result or {}).get(job.format) or {}  # none after retention
        content = None
        if stored and stored["size_bytes"] <= INLINE_BYTES:
            try:
                content = self.blobs.get(stored["blob"]).decode()
            except BlobMissing as error:
                log.warning("result_missing", job_id=str(job.job_id), blob=error.extensions.get("value"))
        return {
            "jobId": str(job.job_id),
            "status": str(job.status),
            "pages": {"total": job.total, "succeeded": job.succeeded, "failed": job.failed},
            "format": str(job.format),
            "content": content,
            "blob": stored.get("blob"),
            "sizeBytes": stored.get("size_bytes"),
        }

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._newest:
                    self._thread = None
                    return
                batch, self._newest = self._newest, {}
            for progress in batch.values():
                self._publish_progress(progress)
            time.sleep(PROGRESS_S)

    def _publish_progress(self, progress: Progress) -> None:
        meta = progress_meta(
            str(progress.job_id),
            status=progress.status,
            total=progress.total,
            succeeded=progress.succeeded,
            failed=progress.failed,
        )
        try:
            self.states.put(meta, Over.OLDER)
        except OcrError as error:
            log.info("progress_not_published", job_id=str(progress.job_id), error=error.detail)
