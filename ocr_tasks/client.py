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
import uuid
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from ocr_tasks.app import make_app
from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import OcrOptions, TaskName, parse_options, prepare_queue
from ocr_tasks.direct import (
    INLINE_BYTES,
    check_size,
    inline_source,
    look_at,
    parse_direct_source,
    parse_task_id,
)
from ocr_tasks.errors import ServiceUnavailable, TooLarge
from ocr_tasks.following import Job, JobCancelled, JobFailed, JobNotOver, JobProgress, JobResult
from ocr_tasks.kinds.engines import check_operations
from ocr_tasks.media import HEAD_BYTES, require_accepted
from ocr_tasks.settings import Settings, get_settings
from ocr_tasks.states import States

__all__ = [
    "Client",
    "Document",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobNotOver",
    "JobProgress",
    "JobResult",
    "default_client",
    "job",
    "ocr",
]

Document = bytes | Path | BinaryIO | str
"""Bytes, the path of a file, a file opened for reading bytes, or the key of a blob in the shared blob store."""


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
        return Job(task_id, self.settings, self.app, self.states)

    def job(self, job_id: UUID | str) -> Job:
        """An earlier job, by its id; raises InvalidId."""
        return Job(parse_task_id(str(job_id)), self.settings, self.app, self.states)

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
        kwargs = {"source": source, "options": options.sent()}
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
    wire = given.sent() if isinstance(given, OcrOptions) else given
    aliases = {name: described.alias or name for name, described in OcrOptions.model_fields.items()}
    return parse_options({**(wire or {}), **{aliases.get(name, name): value for name, value in further.items()}})


def _name_of(source: Document) -> str | None:
    name = source.name if isinstance(source, Path) else getattr(source, "name", None)
    return Path(name).name[:255] or None if isinstance(name, str) else None
