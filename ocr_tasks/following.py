"""A job that was sent as a task, followed from where it was sent: its result, its progress, its end."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import Field
from redis.exceptions import RedisError

from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import Format, Status, Wire
from ocr_tasks.direct import INLINE_BYTES
from ocr_tasks.dispatch import Dispatcher
from ocr_tasks.errors import InvalidRequest, OcrError, Problem, ServiceUnavailable
from ocr_tasks.settings import Settings
from ocr_tasks.states import State, States

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.5


class JobFailed(OcrError):
    """The job failed; `problem()` is the problem document that says why, `reason` its code."""

    code, title, status = "job_failed", "The job failed", 422

    def __init__(self, detail: str | None = None, *, problem: Problem | None = None) -> None:
        super().__init__(detail)
        self._problem = problem

    @property
    def reason(self) -> str:
        return str(self.problem()["code"])

    def problem(self) -> Problem:
        return self._problem or super().problem()


class JobCancelled(OcrError):
    """The job was cancelled and has no result."""

    code, title, status = "job_cancelled", "The job was cancelled", 409


class JobNotOver(OcrError, TimeoutError):
    """`get` waited as long as it was told to; the job may still go on."""

    code: ClassVar[str] = "job_not_over"
    title: ClassVar[str] = "The job is not over yet"
    status: ClassVar[int] = 504
    retryable: ClassVar[bool] = True


class PageCounts(Wire):
    total: int | None
    succeeded: int
    failed: int


class JobProgress(Wire):
    """How far a job is. `status` is None while nothing is known: it waits, or its message or state was lost."""

    status: Status | None = None
    total: int | None = None
    succeeded: int = 0
    failed: int = 0


class JobResult(Wire):
    """What a job gave. A text of more than `INLINE_BYTES` has no `content`, only its key in the shared blob store."""

    job_id: UUID
    status: Status
    pages: PageCounts
    format: Format
    content: str | None
    blob: str | None
    size_bytes: int | None
    blob_url: str | None = Field(None, exclude=True)

    def text(self) -> str:
        """The whole text in the format asked for; raises BlobMissing, or InvalidRequest while OCR_BLOB_URL is unset."""
        if self.content is not None:
            return self.content
        if self.blob is None or self.blob_url is None:
            raise InvalidRequest(
                f"The result has {self.size_bytes} bytes and lies in the shared blob store. "
                "Set OCR_BLOB_URL to the one that the workers use.",
                value=self.size_bytes,
                limit=INLINE_BYTES,
            )
        return BlobStore(self.blob_url).get(self.blob).decode()

    def parsed(self) -> dict[str, Any]:
        """The result of a job whose format is `json`, as an object; raises as `text` does, or InvalidRequest."""
        if self.format != Format.JSON:
            raise InvalidRequest(f"The result is {self.format}, not json.", value=str(self.format))
        found: dict[str, Any] = json.loads(self.text())
        return found


@dataclass(frozen=True)
class Job:
    """A job that was sent; `id` is the task's id as well."""

    id: UUID
    settings: Settings = field(repr=False, compare=False)
    app: Celery = field(repr=False, compare=False)
    states: States = field(repr=False, compare=False)

    def get(self, timeout: float | None = None) -> JobResult:
        """Wait until the job is over; a Redis that is away for a while is waited for.

        timeout (float): in seconds; None waits for as long as it takes.
        Raises JobFailed, JobCancelled, or JobNotOver (a TimeoutError) when the time is up.
        """
        give_up_at = None if timeout is None else time.monotonic() + timeout
        pause_s, trouble = FIRST_PAUSE_S, ""
        while True:
            try:
                meta, trouble = self.states.get(str(self.id)), ""
            except ServiceUnavailable as error:
                meta, trouble = None, f" {error.detail}"
            if meta is not None and (result := self._result(meta)) is not None:
                return result
            left_s = pause_s if give_up_at is None else give_up_at - time.monotonic()
            if left_s <= 0:
                raise JobNotOver(f"Job {self.id} is not over after {timeout:g} s.{trouble}", value=timeout)
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)

    def progress(self) -> JobProgress:
        """How far the job is, as far as it was told last; raises ServiceUnavailable."""
        meta = self.states.get(str(self.id))
        if meta is None:
            return JobProgress()
        if meta["status"] == State.PROGRESS:
            return JobProgress(**meta["result"])
        if meta["status"] == State.SUCCESS:
            return JobProgress(status=Status.SUCCEEDED, **meta["result"]["pages"])
        return JobProgress(status=Status.CANCELLED if meta["status"] == State.REVOKED else Status.FAILED)

    def cancel(self) -> None:
        """End the job, or keep it from beginning; one that is over stays as it is. Raises ServiceUnavailable.

        The message is durable: it waits for a worker. The workers that are there are told at once as well.
        """
        if not Dispatcher(self.app).cancel(self.id):
            raise ServiceUnavailable("The message could not be sent.")
        try:
            self.app.control.revoke(str(self.id))
        except (OperationalError, RedisError, OSError):
            return

    def _result(self, meta: dict[str, Any]) -> JobResult | None:
        if meta["status"] == State.SUCCESS:
            return JobResult(**meta["result"], blob_url=self.settings.blob_url)
        if meta["status"] == State.REVOKED:
            raise JobCancelled(f"Job {self.id} was cancelled.")
        if meta["status"] == State.FAILURE:
            problem = meta.get("problem")  # not there when Celery itself failed the task
            detail = problem["detail"] if problem else str(meta["result"])[:500]
            raise JobFailed(detail, problem=problem)
        return None
