"""Responses that several routes give: a job, a stored blob; and the headers that all of them carry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

from flask import Flask, Response, request

from ocr_tasks.blobs import CHUNK_BYTES, BlobStore
from ocr_tasks.contract import TERMINAL, Wire
from ocr_tasks.jobs.views import JobView


def register(app: Flask) -> None:
    """Headers for every response: what is answered is data, and never a page that may run something."""

    @app.after_request
    def _harden(response: Response) -> Response:
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        return response


def wire_response(view: Wire, status: int = 200) -> Response:
    """A model in its wire form."""
    return json_response(view.wire(), status)


def json_response(body: object, status: int = 200) -> Response:
    """Anything that JSON can say, written as everywhere here."""
    return Response(json.dumps(body, ensure_ascii=False), status=status, content_type="application/json")


def job_response(job: JobView, status: int = 200) -> Response:
    """A job; one that is not over says when to ask again, in seconds. A new one (202) says where it is."""
    response = wire_response(job, status)
    if status == 202:
        response.headers["Location"] = job.links.self
    if job.status not in TERMINAL:
        response.headers["Retry-After"] = "1"
    return response


def blob_response(blobs: BlobStore, key: str, media_type: str, *, size_bytes: int | None = None) -> Response:
    """Stored bytes, streamed; raises BlobMissing before anything is sent."""
    opened = blobs.open(key)
    file = opened.__enter__()

    def chunks() -> Iterator[bytes]:
        yield from _chunks(file)

    response = Response(chunks(), content_type=media_type)
    response.call_on_close(lambda: opened.__exit__(None, None, None))
    response.content_length = blobs.size_bytes(key) if size_bytes is None else size_bytes
    response.set_etag(key)
    response.make_conditional(request)
    return response


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
