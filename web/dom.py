"""`/api/dom`: pages of the web are rendered and compressed, found again, read back, and forgotten."""

from __future__ import annotations

from flask import Blueprint, Response, request

from ocr_tasks.contract import Kind
from ocr_tasks.direct import html_source
from ocr_tasks.jobs.compressions import compression_view, newest_compression
from ocr_tasks.jobs.harvests import delete_harvests, find_harvest, harvest_view, list_harvests
from ocr_tasks.kinds.bodies import PageFields, parse_body, parse_dom_id, parse_form
from ocr_tasks.kinds.options import DecompressOptions, parse_job_options
from ocr_tasks.kinds.sources import AnySource, DomSource, UrlSource
from web.accepting import accepted, wait_wanted
from web.intake import (
    form_fields,
    form_file,
    has_body,
    json_body,
    nested_fields,
    query_text,
    refuse_unknown_query,
    store_file,
)
from web.listing import cursor_asked_for, limit_asked_for, piece
from web.responses import blob_response, json_response, wire_response
from web.services import services

blueprint = Blueprint("dom", __name__, url_prefix="/api/dom")

# A stranger's page: it is shown as what it is, in an origin of its own, runs nothing and loads nothing.
DOM_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:"
# A name gets new harvests: what a browser holds is asked after, and not sent again while it is the same.
ASK_AGAIN = "private, no-cache"
LONGEST_QUERY = 1000


@blueprint.post("/render")
def render() -> Response:
    """A page is to be rendered: `{"url"}` or `{"html"}`, and how."""
    wait_s = wait_wanted()
    page, options = parse_body(Kind.RENDER, json_body())
    return accepted(Kind.RENDER, options, lambda: source_of(page), wait_s)


@blueprint.post("/compress")
def compress() -> Response:
    """A page, a harvest or a file is to become vision tokens; a file comes in a form, with the options as fields."""
    wait_s = wait_wanted()
    if request.is_json:
        page, options = parse_body(Kind.COMPRESS, json_body())
        return accepted(Kind.COMPRESS, options, lambda: source_of(page), wait_s)
    file = form_file("or a page as application/json")
    dom_id, wanted = parse_form(nested_fields(form_fields(), "viewport", "headers"))
    return accepted(
        Kind.COMPRESS, wanted, lambda: store_file(services().blobs, file, Kind.COMPRESS, dom_id=dom_id), wait_s
    )


@blueprint.post("/<dom_id>/decompress")
def decompress(dom_id: str) -> Response:
    """What is stored as vision tokens is to be read back; 404 when nothing is."""
    wait_s = wait_wanted()
    wanted = parse_dom_id(dom_id)
    options = parse_job_options(DecompressOptions, json_body() if has_body() else {})

    def known() -> DomSource:
        newest_compression(services().db, wanted)
        return DomSource(dom_id=wanted)

    return accepted(Kind.DECOMPRESS, options, known, wait_s)


@blueprint.get("")
def index() -> Response:
    """Harvests, the newest first: those that hold all words of `q`, or are of the address `url`."""
    refuse_unknown_query("q", "url", "limit", "cursor")
    limit = limit_asked_for()
    words, url = query_text("q", LONGEST_QUERY), query_text("url", 8192)
    found = list_harvests(services().db, limit=limit + 1, words=words, url=url, before=cursor_asked_for())
    shown, following = piece(found, limit)
    return json_response({"harvests": [harvest.wire() for harvest in shown], "next": following})


@blueprint.get("/<dom_id>")
def show(dom_id: str) -> Response:
    """The newest harvest of a page, or a harvest by its own id."""
    refuse_unknown_query()
    return wire_response(harvest_view(find_harvest(services().db, parse_dom_id(dom_id))))


@blueprint.delete("/<dom_id>")
def forget(dom_id: str) -> Response:
    """Forget all harvests and vision tokens of a page, or one harvest by its own id."""
    refuse_unknown_query()
    delete_harvests(services().db, parse_dom_id(dom_id))
    return Response(status=204)


@blueprint.get("/<dom_id>/image")
def image(dom_id: str) -> Response:
    """The screenshot; boxes and pages are in its pixels."""
    refuse_unknown_query()
    row = find_harvest(services().db, parse_dom_id(dom_id))
    response = blob_response(services().blobs, row["image_blob"], row["media_type"], size_bytes=row["image_bytes"])
    response.headers["Cache-Control"] = ASK_AGAIN
    return response


@blueprint.get("/<dom_id>/html")
def html(dom_id: str) -> Response:
    """The DOM as it stood after its scripts had run, in UTF-8."""
    refuse_unknown_query()
    row = find_harvest(services().db, parse_dom_id(dom_id))
    response = blob_response(services().blobs, row["dom_blob"], "text/html; charset=utf-8", size_bytes=row["dom_bytes"])
    response.headers["Content-Security-Policy"] = DOM_POLICY
    response.headers["Cache-Control"] = ASK_AGAIN
    return response


@blueprint.get("/<dom_id>/compressions")
def compressions(dom_id: str) -> Response:
    """The vision tokens that were stored last, page by page, without the tokens themselves."""
    refuse_unknown_query()
    rows = newest_compression(services().db, parse_dom_id(dom_id))
    return json_response({"compressions": [compression_view(row).wire() for row in rows]})


def source_of(page: PageFields) -> AnySource:
    """Where a job gets its page from, with a text stored; raises NotFound, InvalidOption, TooLarge or StorageFull."""
    shared = services()
    if page.url is not None:
        return UrlSource(url=page.url, dom_id=page.dom_id)
    if page.html is not None:
        limit_bytes = shared.settings.max_upload_bytes
        return html_source(shared.blobs, page.html, dom_id=page.dom_id, limit_bytes=limit_bytes)
    assert page.dom_id is not None
    find_harvest(shared.db, page.dom_id)
    return DomSource(dom_id=page.dom_id)
