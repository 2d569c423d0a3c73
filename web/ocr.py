"""`/api/ocr`: documents come in, as files or by their address."""

from __future__ import annotations

from flask import Blueprint, Response, request

from ocr_tasks.contract import Kind
from ocr_tasks.kinds.bodies import parse_body
from ocr_tasks.kinds.sources import UrlSource
from web.accepting import accepted, wait_wanted
from web.intake import form_file, form_options, json_body, store_file
from web.services import services

blueprint = Blueprint("ocr", __name__, url_prefix="/api/ocr")


@blueprint.post("/process")
def process() -> Response:
    """One document becomes a job: a file in a form, or `{"url"}` with the options beside it."""
    wait_s = wait_wanted()
    if request.is_json:
        page, wanted = parse_body(Kind.OCR, json_body())
        return accepted(Kind.OCR, wanted, lambda: UrlSource(url=page.url or ""), wait_s)
    file = form_file('or {"url": …} as application/json')
    options = form_options()
    return accepted(Kind.OCR, options, lambda: store_file(services().blobs, file, Kind.OCR), wait_s)
