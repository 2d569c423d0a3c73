"""Cancelling a job, where others change its row at the same time."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import Connection, event

from ocr_tasks.contract import OcrOptions, Source
from ocr_tasks.errors import Conflict, NotFound, SourceError
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.inspecting import claim_inspect, fail_inspect
from ocr_tasks.jobs.submitting import cancel_job, create_job

SOURCE = Source(blob="a" * 64, media_type="image/tiff", size_bytes=5)


def submit(db: Database, job_id: uuid.UUID) -> None:
    create_job(db, job_id, engine="rapid", source=SOURCE, options=OcrOptions())


def test_a_job_that_comes_into_being_meanwhile_is_not_taken_for_one_that_is_over(db: Database) -> None:
    job_id = uuid.uuid4()
    seen: list[str] = []

    def submit_once(_connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)
        if len(seen) == 1:
            submit(db, job_id)

    event.listen(db.engine, "after_cursor_execute", submit_once)
    with pytest.raises(NotFound):
        cancel_job(db, job_id)
    assert "jobs" in seen[0]
    cancel_job(db, job_id)  # as whoever cancels does where there was no row
    assert [row["status"] for row in db.all("SELECT status FROM jobs")] == ["cancelled"]


def test_cancelling_twice_is_no_error_and_a_job_that_is_over_stays_as_it_ended(db: Database) -> None:
    cancelled, failed = uuid.uuid4(), uuid.uuid4()
    for job_id in (cancelled, failed):
        submit(db, job_id)
    cancel_job(db, cancelled)
    cancel_job(db, cancelled)
    claim = claim_inspect(db, failed, 30)
    assert claim is not None
    fail_inspect(db, claim, SourceError("no pages"))
    with pytest.raises(Conflict, match="failed"):
        cancel_job(db, failed)
