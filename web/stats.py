"""What was worked through, and what vision tokens cost and save: by the day, and over all days asked for."""

from __future__ import annotations

from flask import Blueprint, Response

from ocr_tasks.jobs.analytics import dom_stats
from ocr_tasks.jobs.statistics import processing_stats
from web.intake import refuse_unknown_query
from web.listing import number_asked_for
from web.responses import wire_response
from web.services import services

blueprint = Blueprint("stats", __name__)

MOST_DAYS = 3650


@blueprint.get("/api/ocr/stats")
def ocr() -> Response:
    """Documents that ended on the last `days` days (7 unless told), by kind of work; until this moment."""
    return wire_response(processing_stats(services().db, _days()))


@blueprint.get("/api/dom/stats")
def dom() -> Response:
    """What was harvested and compressed on the last `days` days (7 unless told); until this moment."""
    return wire_response(dom_stats(services().db, _days()))


def _days() -> int:
    refuse_unknown_query("days")
    return number_asked_for("days", 7, MOST_DAYS)
