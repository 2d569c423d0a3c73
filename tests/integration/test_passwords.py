"""The decrypted copy of a document: kept while its job runs, and no longer."""

from __future__ import annotations

import uuid

from ocr_tasks.contract import OcrOptions, Source
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.inspecting import Inspected, claim_inspect, set_pages
from ocr_tasks.jobs.ranges import claim_range, release_ranges
from ocr_tasks.jobs.retention import unreferenced
from ocr_tasks.jobs.submitting import cancel_job, create_job

ORIGINAL, COPY = "a" * 64, "b" * 64


def test_pages_are_made_from_the_copy_and_only_a_job_that_is_not_over_keeps_it(db: Database) -> None:
    job_id = uuid.uuid4()
    source = Source(blob=ORIGINAL, media_type="application/pdf", size_bytes=5)
    create_job(db, job_id, engine="rapid", source=source, options=OcrOptions())
    claim = claim_inspect(db, job_id, 30)
    assert claim is not None
    assert claim.source.pages_blob == ORIGINAL
    assert unreferenced(db, [ORIGINAL, COPY]) == [COPY]
    set_pages(db, claim, Inspected(1, 1, {"prepared": COPY}))
    (range_id,) = release_ranges(db, job_id, window=8, range_pages=16)
    of_range = claim_range(db, range_id, 30)
    assert of_range is not None
    assert (of_range.source.blob, of_range.source.pages_blob) == (ORIGINAL, COPY)
    assert unreferenced(db, [ORIGINAL, COPY]) == []
    cancel_job(db, job_id)
    assert unreferenced(db, [ORIGINAL, COPY]) == [COPY]


def test_without_a_copy_the_source_stays_as_it_was(db: Database) -> None:
    job_id = uuid.uuid4()
    source = Source(blob=ORIGINAL, media_type="application/pdf", size_bytes=5)
    create_job(db, job_id, engine="rapid", source=source, options=OcrOptions())
    claim = claim_inspect(db, job_id, 30)
    assert claim is not None
    set_pages(db, claim, Inspected(1, 1))
    row = db.one("SELECT source FROM jobs")
    assert row is not None
    assert row["source"] == source.model_dump(by_alias=True, exclude_none=True)
