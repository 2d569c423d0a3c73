"""From a source to pages: ranges released inside the job's window, their pages added, the dead halved.

Lock order everywhere: job, then range, then page.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from ocr_tasks.contract import Kind, Priority, parse_pages
from ocr_tasks.errors import OcrError, Problem
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.progress import PROGRESS, Progress, progress_of
from ocr_tasks.kinds.options import options_of
from ocr_tasks.kinds.sources import StoredSource


@dataclass(frozen=True)
class RangeClaim:
    """The right to prepare a range; `page_nos` are those of it that are still missing."""

    range_id: int
    job_id: UUID
    kind: Kind
    attempt: int
    page_nos: tuple[int, ...]
    source: StoredSource
    priority: Priority


@dataclass(frozen=True)
class NewPage:
    """A page as preparing leaves it: with an image, or vision tokens, for an engine, or with the error that ended it.

    offset_y: where it begins in the screenshot it was cut from, in pixels; source_text: what is known to stand on it.
    """

    page_no: int
    image_blob: str | None = None
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    dpi: float | None = None
    offset_y: int | None = None
    source_text: str | None = None
    compression_id: UUID | None = None
    error: Problem | None = None


@dataclass(frozen=True)
class RangeAdded:
    """What became of new pages: `queued` are to be sent."""

    queued: tuple[int, ...]
    progress: Progress


def release_ranges(db: Database, job_id: UUID, *, window: int, range_pages: int) -> list[int]:
    """Open as many ranges as the job's window of pages in flight has room for; returns their ids, to be sent."""

    def release(connection: Connection) -> list[int]:
        job = (
            connection.execute(
                text(
                    f"SELECT {PROGRESS}, source_pages, jobs.options FROM jobs"
                    " WHERE id = :job AND status = 'running' FOR UPDATE"
                ),
                {"job": job_id},
            )
            .mappings()
            .first()
        )
        if job is None:
            return []
        progress = progress_of(job)
        opened = list(_ranges_inside(window, range_pages, progress))
        if not opened:
            return []
        page_nos = parse_pages(options_of(job["kind"], job["options"]).page_range, job["source_pages"])
        ids = [
            connection.execute(
                text("INSERT INTO ranges (job_id, page_nos) VALUES (:job, :page_nos) RETURNING id"),
                {"job": job_id, "page_nos": page_nos[first:last]},
            ).scalar_one()
            for first, last in opened
        ]
        connection.execute(
            text("UPDATE jobs SET pages_released = :released WHERE id = :job"),
            {"job": job_id, "released": opened[-1][1]},
        )
        return ids

    return db.run(release)


def _ranges_inside(window: int, range_pages: int, progress: Progress) -> list[tuple[int, int]]:
    """Slices of the job's list of pages that may start now.

    A slice is not opened for every page that ends: a quarter of the window must be free first.
    """
    total = progress.total or 0
    released, room = progress.released, window - progress.in_flight
    smallest = min(range_pages, max(1, window // 4))
    opened = []
    while released < total and room >= min(smallest, total - released):
        size = min(range_pages, room, total - released)
        opened.append((released, released + size))
        released, room = released + size, room - size
    return opened


def claim_range(db: Database, range_id: int, lease_s: float) -> RangeClaim | None:
    """Take a queued range of a running job; None when there is nothing to do."""
    row = db.one(
        """
        UPDATE ranges SET status = 'running', attempt = ranges.attempt + 1,
               lease_until = now() + make_interval(secs => :lease)
          FROM jobs
         WHERE ranges.id = :range AND ranges.status = 'queued' AND jobs.id = ranges.job_id AND jobs.status = 'running'
        RETURNING ranges.job_id, ranges.attempt, jobs.kind, jobs.source, jobs.priority,
                  ARRAY(SELECT n FROM unnest(ranges.page_nos) AS n EXCEPT
                        SELECT page_no FROM pages WHERE pages.job_id = ranges.job_id ORDER BY 1) AS missing
        """,
        range=range_id,
        lease=lease_s,
    )
    if row is None:
        return None
    return RangeClaim(
        range_id=range_id,
        job_id=row["job_id"],
        kind=Kind(row["kind"]),
        attempt=row["attempt"],
        page_nos=tuple(row["missing"]),
        source=StoredSource.model_validate(row["source"]),
        priority=Priority(row["priority"]),
    )


ADD_PAGES = f"""
WITH job AS (SELECT id FROM jobs WHERE id = :job AND status = 'running' FOR UPDATE),
fence AS (SELECT job.id FROM job JOIN ranges ON ranges.job_id = job.id
           WHERE ranges.id = :range AND ranges.attempt = :attempt AND ranges.status = 'running' FOR UPDATE OF ranges),
added AS (
    INSERT INTO pages (job_id, page_no, image_blob, media_type, width, height, dpi, offset_y, source_text,
                       compression_id, error, status, finished_at)
    SELECT fence.id, new.page_no, new.image_blob, new.media_type, new.width, new.height, new.dpi, new.offset_y,
           new.source_text, new.compression_id, new.error,
           CASE WHEN new.error IS NULL THEN 'queued' ELSE 'failed' END, CASE WHEN new.error IS NOT NULL THEN now() END
      FROM fence, jsonb_to_recordset(cast(:pages AS jsonb)) AS new
           (page_no integer, image_blob text, media_type text, width integer, height integer, dpi real,
            offset_y integer, source_text text, compression_id uuid, error jsonb)
    ON CONFLICT (job_id, page_no) DO NOTHING RETURNING page_no, status),
counted AS (SELECT count(*) FILTER (WHERE status = 'failed') AS failed,
                   array_agg(page_no ORDER BY page_no) FILTER (WHERE status = 'queued') AS queued FROM added)
UPDATE jobs SET pages_failed = pages_failed + counted.failed,
       status = CASE WHEN pages_succeeded + pages_failed + counted.failed = pages_total
                     THEN 'finishing' ELSE status END,
       sent_at = CASE WHEN pages_succeeded + pages_failed + counted.failed = pages_total THEN now() ELSE sent_at END
  FROM counted, fence WHERE jobs.id = fence.id RETURNING {PROGRESS}, coalesce(counted.queued, '{{}}') AS queued
"""


def add_pages(db: Database, claim: RangeClaim, pages: Sequence[NewPage]) -> RangeAdded | None:
    """Store pages of a range; those with an error count as failed at once. None when the claim was lost."""
    return _add_pages(db, claim.job_id, claim.range_id, claim.attempt, pages)


def _add_pages(db: Database, job_id: UUID, range_id: int, attempt: int, pages: Sequence[NewPage]) -> RangeAdded | None:
    row = db.one(
        ADD_PAGES,
        job=job_id,
        range=range_id,
        attempt=attempt,
        pages=json.dumps([asdict(page) for page in pages], default=str),
    )
    return RangeAdded(tuple(row["queued"]), progress_of(row)) if row else None


def end_range(db: Database, claim: RangeClaim) -> None:
    """Every page of the range has its row: the range goes. One whose pages are missing stays for the reconciler."""
    db.execute(
        """
        DELETE FROM ranges WHERE id = :range AND attempt = :attempt AND NOT EXISTS
            (SELECT FROM unnest(page_nos) AS n WHERE NOT EXISTS
                (SELECT FROM pages WHERE pages.job_id = ranges.job_id AND page_no = n))
        """,
        range=claim.range_id,
        attempt=claim.attempt,
    )


def give_back_range(db: Database, claim: RangeClaim) -> bool:
    """Put what is missing of a range back in its queue, uncharged: the worker is stopping, or the blob store is full.

    False when nothing is missing: its job may be over before anybody could claim the rest, which would stay for ever.
    """
    end_range(db, claim)
    return db.changes_one(
        """
        UPDATE ranges SET status = 'queued', lease_until = NULL, sent_at = now()
         WHERE id = :range AND attempt = :attempt AND status = 'running'
        """,
        range=claim.range_id,
        attempt=claim.attempt,
    )


@dataclass(frozen=True)
class RangeDied:
    """What became of a range whose parser died: ranges to be sent, and the job's progress if a page was given up."""

    job_id: UUID
    range_ids: tuple[int, ...] = ()
    progress: Progress | None = None


def range_died(
    db: Database,
    range_id: int,
    *,
    charge: bool,
    failures: int,
    losses: int,
    error: OcrError,
    before: datetime | None = None,
) -> RangeDied | None:
    """The process that prepared a range is gone: halve the rest of it, down to the one page that is to blame.

    charge: it was seen to die on this range, so a page that was alone in it pays a failure.
    before: only if its lease ran out before this time; another reconciler may have been quicker.
    """

    def bury(connection: Connection) -> RangeDied | dict[str, Any] | None:
        row = (
            connection.execute(
                text(
                    """
                SELECT id, job_id, attempt, failures, losses, ARRAY(SELECT n FROM unnest(page_nos) AS n EXCEPT
                       SELECT page_no FROM pages WHERE pages.job_id = ranges.job_id ORDER BY 1) AS missing
                  FROM ranges WHERE id = :range AND status = 'running'
                   AND (cast(:before AS timestamptz) IS NULL OR lease_until < :before) FOR UPDATE
                """
                ),
                {"range": range_id, "before": before},
            )
            .mappings()
            .first()
        )
        if row is None:
            return None
        missing = list(row["missing"])
        if not missing:
            connection.execute(text("DELETE FROM ranges WHERE id = :range"), {"range": range_id})
            return RangeDied(row["job_id"])
        if len(missing) == 1 and (row["failures"] + int(charge) >= failures or row["losses"] + 1 >= losses):
            return dict(row)
        return RangeDied(row["job_id"], tuple(_requeue_halves(connection, row["id"], missing, charge)))

    buried = db.run(bury)
    if not isinstance(buried, dict):
        return buried
    page = NewPage(buried["missing"][0], error=error.problem())
    added = _add_pages(db, buried["job_id"], range_id, buried["attempt"], [page])
    db.execute("DELETE FROM ranges WHERE id = :range", range=range_id)
    return RangeDied(buried["job_id"], progress=added.progress if added else None)


def _requeue_halves(connection: Connection, range_id: int, missing: list[int], charge: bool) -> list[int]:
    half = (len(missing) + 1) // 2
    first, second = missing[:half], missing[half:]
    connection.execute(
        text(
            """
            UPDATE ranges SET page_nos = :first, status = 'queued', lease_until = NULL, sent_at = now(),
                   failures = failures + :charge, losses = losses + 1 WHERE id = :range
            """
        ),
        {"range": range_id, "first": first, "charge": int(charge and not second)},
    )
    if not second:
        return [range_id]
    added = connection.execute(
        text("INSERT INTO ranges (job_id, page_nos) SELECT job_id, :second FROM ranges WHERE id = :range RETURNING id"),
        {"range": range_id, "second": second},
    ).scalar_one()
    return [range_id, added]
