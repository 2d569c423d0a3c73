"""Every error leaves as an RFC 9457 problem document with a stable `code`."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from ocr_tasks import errors
from ocr_tasks.errors import OcrError, Problem

log = structlog.get_logger(__name__)

# A caller that is still sending hears a refusal only while its bytes are taken; closing on it would reset the
# connection. They are thrown away for so many seconds, or until none has come for a while.
DRAIN_S = 60
SILENCE_S = 5


def register(app: Flask) -> None:
    """Turn everything that a route raises into a problem document."""
    app.register_error_handler(OcrError, _known)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unknown)


def problem_response(problem: Problem) -> Response:
    """A problem document as a response; `instance` is the address that was asked for."""
    body = json.dumps(problem | {"instance": quote(request.path)}, ensure_ascii=False)
    response = Response(body, status=problem["status"], content_type="application/problem+json")
    if problem["code"] in ("not_ready", "service_unavailable", "storage_full"):
        response.headers["Retry-After"] = "1"
    return response


def _known(error: OcrError) -> Response:
    if error.status >= 500:
        log.warning("request_failed", path=request.path, code=error.code, cause=repr(error.__cause__)[:300])
    return _refusal(error.problem())


def _refusal(problem: Problem) -> Response:
    """The problem, sent at once; then what the caller still sends is taken, so that it comes to reading."""
    response = problem_response(problem)
    if request.method == "POST":
        environ = request.environ
        response.call_on_close(lambda: _drain(environ))
    return response


def _http(error: HTTPException) -> Response:
    """Flask's own refusals, in our words."""
    response = _known(_translated(error))
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _translated(error: HTTPException) -> OcrError:
    if isinstance(error, NotFound):
        return errors.NotFound(f"There is nothing at {request.path[:200]}.")
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        return errors.MethodNotAllowed(f"{request.path[:200]} answers {allowed}, not {request.method}.")
    if isinstance(error, RequestEntityTooLarge):
        return _too_large()
    refusal = errors.InvalidRequest(error.description or error.name)
    refusal.status = error.code or 400  # type: ignore[misc]
    return refusal


def _too_large() -> OcrError:
    limit, size = request.max_content_length or 0, request.content_length
    if size is not None and size <= limit:
        parts = request.max_form_parts
        return errors.TooLarge(f"The form has more than {parts} parts, or a field of more than 500 kB.", limit=parts)
    known = f"{size} bytes" if size is not None else "more"
    return errors.TooLarge(f"The request has {known}; the limit is {limit} bytes.", value=size, limit=limit)


def _unknown(error: Exception) -> Response:
    log.exception("request_crashed", path=request.path)
    return _refusal(OcrError("Something went wrong inside the service; its log says what.").problem())


def _drain(environ: dict[str, Any]) -> None:
    until = time.monotonic() + DRAIN_S
    try:
        if connection := environ.get("gunicorn.socket"):
            connection.settimeout(SILENCE_S)
        while time.monotonic() < until and environ["wsgi.input"].read(65536):
            pass
    except (OSError, ValueError):
        return  # the caller has left
