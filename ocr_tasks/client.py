"""What a crawler calls: documents go to the workers as Celery tasks, without the web service.

    from ocr_tasks import client
    job = client.ocr(Path("page.pdf"), format="markdown")
    print(job.get(timeout=120).text())

What is guaranteed: from the moment a worker has stored the job's row, it ends exactly once, whatever dies, and `get`
hears of it again even if Redis loses everything. Before that, only Redis knows of the job: its message is worked on at
least once, but if Redis loses it, nobody remembers, and `get` times out. Send it again then with `job_id=job.id`: one
that did arrive is not read twice.
"""

from __future__ import annotations

import io
import os
import time
import uuid
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, ClassVar
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import Field
from redis.exceptions import RedisError

from ocr_tasks.app import make_app
from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import (
    Format,
    OcrOptions,
    Status,
    TaskName,
    Wire,
    check_operations,
    parse_options,
    prepare_queue,
)
from ocr_tasks.direct import (
    INLINE_BYTES,
    check_size,
    inline_source,
    look_at,
    parse_direct_source,
    parse_task_id,
)
from ocr_tasks.dispatch import Dispatcher
from ocr_tasks.errors import InvalidRequest, OcrError, Problem, ServiceUnavailable, TooLarge
from ocr_tasks.media import HEAD_BYTES, require_accepted
from ocr_tasks.settings import Settings, get_settings
from ocr_tasks.states import State, States

Document = bytes | Path | BinaryIO | str
"""Bytes, the path of a file, a file opened for reading bytes, or the key of a blob in the shared blob store."""

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


@dataclass(frozen=True)
class Client:
    """Sends documents to the workers that the settings name, and asks after them. Safe to share between threads."""

    settings: Settings
    app: Celery = field(repr=False)
    states: States = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Client:
        return cls(settings, make_app(settings, socket_timeout_s=2), States(settings.broker_url, timeout_s=2))

    def ocr(
        self,
        source: Document,
        options: OcrOptions | dict[str, Any] | None = None,
        *,
        filename: str | None = None,
        job_id: UUID | str | None = None,
        **further: Any,
    ) -> Job:
        """Send one document to be read; everything that can be refused is refused before anything is sent.

        options, further: as over REST, `options` in camelCase, `further` by their Python or their camelCase name.
        job_id: of an earlier call whose message may have been lost.
        Raises OcrError: InvalidOption and its like, UnsupportedMediaType, TooLarge, ServiceUnavailable.
        """
        chosen = _options(options, further)
        check_operations(self.settings.engine, chosen)
        task_id = parse_task_id(str(job_id)) if job_id is not None else uuid.uuid4()
        named = filename or _name_of(source)
        payload = parse_direct_source(self._source(source, named))
        self._send(task_id, payload.model_dump(by_alias=True, exclude_none=True), chosen)
        return Job(task_id, self)

    def job(self, job_id: UUID | str) -> Job:
        """An earlier job, by its id; raises InvalidId."""
        return Job(parse_task_id(str(job_id)), self)

    def _source(self, source: Document, filename: str | None) -> dict[str, Any]:
        if isinstance(source, str):
            named = {"blob": source, "filename": filename}
            key = parse_direct_source(named).blob
            if self.settings.blob_url and key:
                head, size_bytes = look_at(BlobStore(self.settings.blob_url), key)
                self._check(head, size_bytes, filename)
            return named
        if isinstance(source, Path):
            with source.open("rb") as file:
                return self._source_of_file(file, filename)
        return self._source_of_file(io.BytesIO(source) if isinstance(source, bytes) else source, filename)

    def _source_of_file(self, file: BinaryIO, filename: str | None) -> dict[str, Any]:
        start = file.tell()
        size_bytes = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        head = file.read(HEAD_BYTES)
        self._check(head, size_bytes, filename)
        if size_bytes <= INLINE_BYTES:
            return inline_source(head + file.read(), filename)
        if self.settings.blob_url is None:
            raise TooLarge(
                f"The document has {size_bytes} bytes; {INLINE_BYTES} fit into a message. "
                "Set OCR_BLOB_URL to the blob store that the workers use, and larger ones go through it.",
                value=size_bytes,
                limit=INLINE_BYTES,
            )
        file.seek(start)
        key, _ = BlobStore(self.settings.blob_url).put_stream(file)
        return {"blob": key, "filename": filename}

    def _check(self, head: bytes, size_bytes: int, filename: str | None) -> None:
        require_accepted(head, filename)
        check_size(size_bytes, self.settings.max_upload_bytes)

    def _send(self, job_id: UUID, source: dict[str, Any], options: OcrOptions) -> None:
        kwargs = {"source": source, "options": options.model_dump(mode="json", by_alias=True, exclude_unset=True)}
        try:
            self.app.send_task(
                str(TaskName.OCR),
                kwargs=kwargs,
                task_id=str(job_id),
                queue=prepare_queue(options.priority),
                ignore_result=True,
                # What events, Flower and logs show: neither the document nor what its options keep secret.
                argsrepr="()",
                kwargsrepr=f"{{'source': {'blob' if 'blob' in source else 'inline'}}}",
            )
        except (OperationalError, RedisError, OSError) as error:
            raise ServiceUnavailable(
                f"The message could not be sent, or nobody confirmed it. Sending again with job_id='{job_id}' is safe."
            ) from error


@dataclass(frozen=True)
class Job:
    """A job that was sent; `id` is the task's id as well."""

    id: UUID
    client: Client = field(repr=False, compare=False)

    def get(self, timeout: float | None = None) -> JobResult:
        """Wait until the job is over; a Redis that is away for a while is waited for.

        timeout (float): in seconds; None waits for as long as it takes.
        Raises JobFailed, JobCancelled, or JobNotOver (a TimeoutError) when the time is up.
        """
        give_up_at = None if timeout is None else time.monotonic() + timeout
        pause_s, trouble = FIRST_PAUSE_S, ""
        while True:
            try:
                meta, trouble = self.client.states.get(str(self.id)), ""
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
        meta = self.client.states.get(str(self.id))
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
        if not Dispatcher(self.client.app).cancel(self.id):
            raise ServiceUnavailable("The message could not be sent.")
        try:
            self.client.app.control.revoke(str(self.id))
        except (OperationalError, RedisError, OSError):
            return

    def _result(self, meta: dict[str, Any]) -> JobResult | None:
        if meta["status"] == State.SUCCESS:
            return JobResult(**meta["result"], blob_url=self.client.settings.blob_url)
        if meta["status"] == State.REVOKED:
            raise JobCancelled(f"Job {self.id} was cancelled.")
        if meta["status"] == State.FAILURE:
            problem = meta.get("problem")  # not there when Celery itself failed the task
            detail = problem["detail"] if problem else str(meta["result"])[:500]
            raise JobFailed(detail, problem=problem)
        return None


def ocr(
    source: Document,
    options: OcrOptions | dict[str, Any] | None = None,
    *,
    filename: str | None = None,
    job_id: UUID | str | None = None,
    **further: Any,
) -> Job:
    """Send one document to be read by the workers that the environment names; see `Client.ocr`."""
    return default_client().ocr(source, options, filename=filename, job_id=job_id, **further)


def job(job_id: UUID | str) -> Job:
    """An earlier job, by its id; raises InvalidId."""
    return default_client().job(job_id)


@lru_cache(maxsize=1)
def default_client() -> Client:
    """The client on the servers that this process's settings name."""
    return Client.of(get_settings())


def _options(given: OcrOptions | dict[str, Any] | None, further: dict[str, Any]) -> OcrOptions:
    """Options from both ways of giving them; raises UnknownField, InvalidOption or InvalidPageRange."""
    wire = given.model_dump(mode="json", by_alias=True, exclude_unset=True) if isinstance(given, OcrOptions) else given
    aliases = {name: described.alias or name for name, described in OcrOptions.model_fields.items()}
    return parse_options({**(wire or {}), **{aliases.get(name, name): value for name, value in further.items()}})


def _name_of(source: Document) -> str | None:
    name = source.name if isinstance(source, Path) else getattr(source, "name", None)
    return Path(name).name[:255] or None if isinstance(name, str) else None
