"""`/api/jobs/{id}/events`: a job's life as server-sent events: `progress`, `page`, `done`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from flask import Blueprint, Response

from ocr_tasks.contract import TERMINAL, parse_id
from ocr_tasks.errors import OcrError, ServiceUnavailable
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.views import get_job, pages_ended
from web.intake import refuse_unknown_query
from web.services import services
from web.waiting import Waiters

blueprint = Blueprint("events", __name__, url_prefix="/api/jobs")

LOOK_S = 0.3
# A comment now and then keeps proxies from closing a quiet stream, and finds out that a caller has left.
ALIVE_S = 15.0


@blueprint.get("/<job_id>/events")
def events(job_id: str) -> Response:
    """Events until the job is over; 503 when as many callers stream and wait as this process bears."""
    refuse_unknown_query()
    shared = services()
    wanted = parse_id(job_id)
    get_job(shared.db, wanted)
    if not shared.waiters.enter():
        limit = shared.settings.max_waiters
        raise ServiceUnavailable(f"{limit} callers stream or wait already; poll the job instead.", limit=limit)
    response = Response(_stream(shared.db, shared.waiters, wanted), content_type="text/event-stream; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(shared.waiters.leave)
    return response


def _stream(db: Database, waiters: Waiters, job_id: UUID) -> Iterator[str]:
    told: set[int] = set()
    since: datetime | None = None
    last_progress, alive_at = "", time.monotonic()
    while True:
        try:
            job = get_job(db, job_id)
            ended = [page for page in pages_ended(db, job_id, since) if page.page_no not in told]
        except OcrError as error:
            yield _event("error", json.dumps(error.problem()))
            return
        for page in ended:
            told.add(page.page_no)
            since = page.finished_at
            yield _event("page", json.dumps(page.wire()))
        progress = json.dumps(job.wire(), ensure_ascii=False)
        if job.status in TERMINAL:
            yield _event("done", progress)
            return
        if progress != last_progress:
            yield _event("progress", progress)
            last_progress, alive_at = progress, time.monotonic()
        elif time.monotonic() - alive_at > ALIVE_S:
            yield ": still there\n\n"
            alive_at = time.monotonic()
        if waiters.stopping.wait(LOOK_S):
            return


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
