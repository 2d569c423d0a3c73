"""`/api/crawl`: one page of the web is rendered, read and compressed, in one job."""

from __future__ import annotations

from flask import Blueprint, Response

from ocr_tasks.contract import Kind
from ocr_tasks.kinds.bodies import parse_body
from web.accepting import accepted, wait_wanted
from web.dom import source_of
from web.intake import json_body

blueprint = Blueprint("crawl", __name__, url_prefix="/api/crawl")


@blueprint.post("")
def crawl() -> Response:
    """A page is to be crawled: `{"url"}`, the crawler's `sessionId`, and how."""
    wait_s = wait_wanted()
    page, options = parse_body(Kind.CRAWL, json_body())
    return accepted(Kind.CRAWL, options, lambda: source_of(page), wait_s)
