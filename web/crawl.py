"""`/api/crawl`: pages of the web are rendered, read and compressed, and found again."""

from __future__ import annotations

from flask import Blueprint, Response, request

from ocr_tasks.contract import Kind
from ocr_tasks.jobs.crawls import list_crawls
from ocr_tasks.kinds.bodies import parse_body
from web.accepting import accepted, wait_wanted
from web.dom import source_of
from web.intake import json_body, refuse_unknown_query
from web.listing import cursor_asked_for, limit_asked_for, piece
from web.responses import json_response
from web.services import services

blueprint = Blueprint("crawl", __name__, url_prefix="/api/crawl")

# Fewer than of jobs: each has the whole text of its page.
USUAL, MOST = 20, 50


@blueprint.post("")
def crawl() -> Response:
    """A page is to be crawled: `{"url"}`, the crawler's `sessionId`, and how."""
    wait_s = wait_wanted()
    page, options = parse_body(Kind.CRAWL, json_body())
    return accepted(Kind.CRAWL, options, lambda: source_of(page), wait_s)


@blueprint.get("")
def index() -> Response:
    """Crawled pages, of a session or an address, the newest first; `next` is the cursor of the rest, or null."""
    refuse_unknown_query("sessionId", "url", "limit", "cursor")
    limit = limit_asked_for(USUAL, MOST)
    found = list_crawls(
        services().db,
        limit=limit + 1,
        session_id=request.args.get("sessionId"),
        url=request.args.get("url"),
        before=cursor_asked_for(),
    )
    shown, following = piece(found, limit, lambda crawl: crawl.crawled_at)
    return json_response({"crawls": [crawl.wire() for crawl in shown], "next": following})
