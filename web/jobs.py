"""`/api/jobs`: what became of them, their pages and results."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, Response, request

from ocr_tasks.contract import MEDIA_TYPE_OF_FORMAT, Format, Status, parse_id
from ocr_tasks.errors import Conflict, Gone, InvalidRequest, NotAcceptable, NotFound, NotReady
from ocr_tasks.jobs.submitting import cancel_job
from ocr_tasks.jobs.views import get_job, get_job_row, get_page_row, list_jobs, page_view, parse_status
from ocr_tasks.kinds.options import options_of
from web.intake import refuse_unknown_query
from web.listing import cursor_asked_for, limit_asked_for, piece
from web.problems import problem_response
from web.responses import blob_response, job_response, json_response, wire_response
from web.services import services

blueprint = Blueprint("jobs", __name__, url_prefix="/api/jobs")

CACHED = "private, max-age=3600, immutable"
# A result as HTML shows the figures of its own job, from here; nothing else is loaded.
HTML_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"


@blueprint.get("")
def index() -> Response:
    """Jobs, the newest first; `next` is the cursor of the page after this one, or null."""
    refuse_unknown_query("limit", "status", "cursor")
    limit = limit_asked_for()
    status = request.args.get("status")
    found = list_jobs(
        services().db,
        limit=limit + 1,
        status=parse_status(status) if status else None,
        before=cursor_asked_for(),
    )
    shown, following = piece(found, limit)
    return json_response({"jobs": [job.wire() for job in shown], "next": following})


@blueprint.get("/<job_id>")
def show(job_id: str) -> Response:
    """One job, with its failed and flagged pages."""
    refuse_unknown_query()
    return job_response(get_job(services().db, parse_id(job_id)))


@blueprint.delete("/<job_id>")
def cancel(job_id: str) -> Response:
    """End a job that is not over; cancelling it twice is no error."""
    refuse_unknown_query()
    wanted = parse_id(job_id)
    cancel_job(services().db, wanted)
    return job_response(get_job(services().db, wanted))


@blueprint.get("/<job_id>/result")
def result(job_id: str) -> Response:
    """The whole result in one format; 409 while there is none, 410 when it was there."""
    refuse_unknown_query("format")
    given = request.args.get("format")
    return result_response(parse_id(job_id), _format(given) if given else None)


def result_response(job_id: UUID, form: Format | None) -> Response:
    """A job's result, in the format it was submitted with when none is asked for."""
    row = get_job_row(services().db, job_id)
    status = Status(row["status"])
    if status == Status.FAILED:
        return problem_response(row["error"])
    if status == Status.CANCELLED:
        raise Conflict("The job was cancelled and has no result.", value=status)
    if status != Status.SUCCEEDED:
        raise NotReady(f"The job is {status}; its result is not there yet.", value=status)
    if row["expired_at"] is not None:
        raise Gone(f"The result was kept until {row['expired_at']:%Y-%m-%d} and is gone.")
    form = form or options_of(row["kind"], row["options"]).result_format
    stored = _stored_as(form, row["kind"], row["result"])
    response = blob_response(
        services().blobs, stored["blob"], MEDIA_TYPE_OF_FORMAT[form], size_bytes=stored["size_bytes"]
    )
    if form == Format.HTML:
        response.headers["Content-Security-Policy"] = HTML_POLICY
    return response


@blueprint.get("/<job_id>/pages/<page_no>")
def page(job_id: str, page_no: str) -> Response:
    """One page, readable as soon as it has ended; before that, its status."""
    refuse_unknown_query()
    return wire_response(page_view(get_page_row(services().db, parse_id(job_id), _page_no(page_no))))


@blueprint.get("/<job_id>/pages/<page_no>/image")
def page_image(job_id: str, page_no: str) -> Response:
    """The image that the engine reads; boxes are in its pixels."""
    refuse_unknown_query()
    row = get_page_row(services().db, parse_id(job_id), _page_no(page_no))
    if row["image_blob"] is None:
        reason = (row["error"] or {}).get("detail", "")
        raise Conflict(f"Page {page_no} could not be rasterised and has no image. {reason}".strip(), value=page_no)
    response = blob_response(services().blobs, row["image_blob"], row["media_type"])
    response.headers["Cache-Control"] = CACHED
    return response


@blueprint.get("/<job_id>/pages/<page_no>/tokens")
def page_tokens(job_id: str, page_no: str) -> Response:
    """A page's vision tokens as they are stored."""
    refuse_unknown_query()
    row = get_page_row(services().db, parse_id(job_id), _page_no(page_no))
    if row["status"] in (Status.QUEUED, Status.RUNNING):
        raise NotReady(f"Page {page_no} is {row['status']}; its vision tokens are not there yet.", value=row["status"])
    if row["tokens_blob"] is None:
        raise NotFound(f"Page {page_no} has no vision tokens.", value=page_no)
    response = blob_response(services().blobs, row["tokens_blob"], "application/octet-stream")
    response.headers["Cache-Control"] = CACHED
    return response


@blueprint.get("/<job_id>/pages/<page_no>/figures/<figure_no>")
def page_figure(job_id: str, page_no: str, figure_no: str) -> Response:
    """A picture that was cut out of a page, as the page's markdown shows it."""
    refuse_unknown_query()
    wanted = _number(figure_no, "a figure number; figures count from 1")
    row = get_page_row(services().db, parse_id(job_id), _page_no(page_no))
    if row["status"] in (Status.QUEUED, Status.RUNNING):
        raise NotReady(f"Page {page_no} is {row['status']}; its figures are not there yet.", value=row["status"])
    figures = row["figure_blobs"]
    if wanted > len(figures):
        raise NotFound(f"Page {page_no} has {len(figures)} figure(s).", value=wanted, limit=len(figures))
    response = blob_response(services().blobs, figures[wanted - 1], "image/png")
    response.headers["Cache-Control"] = CACHED
    return response


def _stored_as(form: Format, kind: str, result: dict[str, Any]) -> dict[str, Any]:
    """Where a result lies in a format; raises NotAcceptable for one that its kind of job has not got."""
    if form not in result:
        there = ", ".join(sorted(result))
        raise NotAcceptable(f"format: a {kind} job has no {form}; it has {there}.", field="format", value=str(form))
    found: dict[str, Any] = result[form]
    return found


def _format(given: str) -> Format:
    try:
        return Format(given)
    except ValueError:
        names = ", ".join(Format)
        raise NotAcceptable(f"format: {given[:40]!r} is none of {names}.", field="format", value=given[:40]) from None


def _page_no(given: str) -> int:
    return _number(given, "a page number; pages count from 1")


def _number(given: str, what: str) -> int:
    if not (given.isascii() and given.isdigit() and len(given) <= 9 and int(given) >= 1):
        raise InvalidRequest(f"{given[:40]!r} is not {what}.", value=given[:40])
    return int(given)
