"""`GET /api/crawl`: what crawlers found."""

from __future__ import annotations

from flask import Blueprint, Response, request

from ocr_tasks.jobs.crawls import list_crawls
from web.intake import refuse_unknown_query
from web.paging import cursor, parse_cursor, parse_number
from web.responses import json_response
from web.services import services

blueprint = Blueprint("crawls", __name__)

# Fewer than of jobs: each has the whole text of its page.
MOST = 50


@blueprint.get("/api/crawl")
def index() -> Response:
    """Crawled pages, of a session or an address, the newest first; `next` is the cursor of the rest, or null."""
    refuse_unknown_query("sessionId", "url", "limit", "cursor")
    limit = parse_number("limit", request.args.get("limit", "20"), MOST)
    after = request.args.get("cursor")
    found = list_crawls(
        services().db,
        limit=limit + 1,
        session_id=request.args.get("sessionId"),
        url=request.args.get("url"),
        before=parse_cursor(after) if after else None,
    )
    shown = found[:limit]
    more = len(found) > limit
    return json_response(
        {
            "crawls": [crawl.wire() for crawl in shown],
            "next": cursor(shown[-1].crawled_at, shown[-1].id) if more else None,
        }
    )
