"""What callers may see of jobs and pages, as it goes over the wire."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field
from sqlalchemy import RowMapping

from ocr_tasks.contract import NOTICES, TERMINAL, Block, Kind, Priority, Status, TaskName, Wire, parse_pages
from ocr_tasks.errors import Gone, InvalidOption, NotFound, NotReady, Problem
from ocr_tasks.jobs.database import Database
from ocr_tasks.kinds.options import options_of
from ocr_tasks.kinds.sources import StoredSource, entry_route

NAMED_PAGES = 100


class PageCounts(Wire):
    total: int | None
    succeeded: int
    failed: int


class Links(Wire):
    self: str
    result: str
    events: str


class JobView(Wire):
    """A job on the wire. notice: what has to be known of results of its engine."""

    id: UUID
    kind: Kind
    engine: str
    notice: str | None
    status: Status
    priority: Priority
    batch_id: UUID | None = None
    pages: PageCounts
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: Problem | None
    links: Links


class PageView(Wire):
    """A page on the wire. Boxes in pixels of its image, times in ms.

    offset_y: where it begins in the screenshot it was cut from, in pixels. dtype: of its stored vision tokens. quality:
    of what they decode to, 0 to 1.
    """

    page_no: int
    status: Status
    width: int | None
    height: int | None
    text: str | None
    markdown: str | None
    offset_y: int | None
    flags: tuple[str, ...]
    blocks: tuple[Block, ...] | None
    vision_tokens: int | None
    text_tokens: int | None
    compression_ratio: float | None
    dtype: str | None
    quality: float | None
    engine: str | None
    revision: str | None
    mode: str | None
    retried_from: str | None
    queue_ms: int | None
    inference_ms: int | None
    error: Problem | None


class EndedPage(Wire):
    """How a page ended, without what was read: its flags, or the error that it failed with."""

    page_no: int
    status: Status
    flags: tuple[str, ...]
    error: Problem | None
    finished_at: datetime | None


class JobDetail(JobView):
    """A job, and which of its pages failed or are flagged (the first 100 of them)."""

    flagged_pages: tuple[EndedPage, ...] = Field(default=())


def job_view(row: RowMapping) -> JobView:
    """The wire form of a row of `jobs`."""
    base = f"/api/jobs/{row['id']}"
    return JobView(
        id=row["id"],
        kind=row["kind"],
        engine=row["engine"],
        notice=NOTICES.get(row["engine"]),
        status=row["status"],
        priority=row["priority"],
        pages=PageCounts(total=row["pages_total"], succeeded=row["pages_succeeded"], failed=row["pages_failed"]),
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        error=row["error"],
        links=Links(self=base, result=f"{base}/result", events=f"{base}/events"),
    )


def page_view(row: RowMapping) -> PageView:
    """The wire form of a row of `pages`."""
    names = [name for name in PageView.model_fields if name not in ("compression_ratio", "dtype")]
    vision, text = row["vision_tokens"], row["text_tokens"]
    ratio = round(text / vision, 2) if vision and text is not None else None
    return PageView(
        **{name: row[name] for name in names}, compression_ratio=ratio, dtype=(row["tokens"] or {}).get("dtype")
    )


def get_job_row(db: Database, job_id: UUID) -> RowMapping:
    """A job's row as it stands; raises NotFound."""
    row = db.one("SELECT * FROM jobs WHERE id = :job", job=job_id)
    if row is None:
        raise NotFound(f"There is no job {job_id}.", value=str(job_id))
    return row


def route_of(row: RowMapping) -> tuple[TaskName, str]:
    """The task and the queue of a job's first step."""
    return entry_route(Kind(row["kind"]), StoredSource.model_validate(row["source"]), Priority(row["priority"]))


def get_status(db: Database, job_id: UUID) -> Status:
    """A job's status and nothing else: what waiting asks for, often; raises NotFound."""
    row = db.one("SELECT status FROM jobs WHERE id = :job", job=job_id)
    if row is None:
        raise NotFound(f"There is no job {job_id}.", value=str(job_id))
    return Status(row["status"])


def get_job(db: Database, job_id: UUID) -> JobDetail:
    """A job with its failed and flagged pages; raises NotFound."""
    view = job_view(get_job_row(db, job_id))
    rows = db.all(
        """
        SELECT page_no, status, flags, error, finished_at FROM pages
         WHERE job_id = :job AND (status = 'failed' OR flags <> '{}') ORDER BY page_no LIMIT :some
        """,
        job=job_id,
        some=NAMED_PAGES,
    )
    return JobDetail(**dict(view), flagged_pages=tuple(EndedPage(**row) for row in rows))


def pages_ended(db: Database, job_id: UUID, since: datetime | None = None) -> list[EndedPage]:
    """The pages of a job that have ended, in the order they did.

    since: only those that ended after half a minute before this; a transaction that began earlier may commit later.
    """
    rows = db.all(
        """
        SELECT page_no, status, flags, error, finished_at FROM pages
         WHERE job_id = :job AND status IN ('succeeded', 'failed')
           AND (cast(:since AS timestamptz) IS NULL OR finished_at > cast(:since AS timestamptz) - interval '30 s')
         ORDER BY finished_at, page_no
        """,
        job=job_id,
        since=since,
    )
    return [EndedPage(**row) for row in rows]


def list_jobs(
    db: Database, *, limit: int, status: Status | None = None, before: tuple[datetime, UUID] | None = None
) -> list[JobView]:
    """The newest jobs first. before: (created_at, id) of the last one already seen."""
    rows = db.all(
        """
        SELECT * FROM jobs
         WHERE (cast(:status AS text) IS NULL OR status = :status)
           AND (cast(:created_at AS timestamptz) IS NULL OR (created_at, id) < (:created_at, cast(:id AS uuid)))
         ORDER BY created_at DESC, id DESC LIMIT :limit
        """,
        status=status,
        created_at=before and before[0],
        id=before and before[1],
        limit=limit,
    )
    return [job_view(row) for row in rows]


def get_page_row(db: Database, job_id: UUID, page_no: int) -> RowMapping:
    """A page's row.

    Raises NotFound when job or page do not exist, NotReady when the page may still come, Gone after retention.
    """
    row = db.one("SELECT * FROM pages WHERE job_id = :job AND page_no = :page", job=job_id, page=page_no)
    if row is not None:
        return row
    job = get_job_row(db, job_id)
    if job["expired_at"] is not None:
        raise Gone(f"The pages of job {job_id} were kept until {job['expired_at']:%Y-%m-%d}.")
    source_pages, asked_for = job["source_pages"], options_of(job["kind"], job["options"]).page_range
    if source_pages is not None and page_no not in parse_pages(asked_for, source_pages):
        chosen = f", of which it reads {asked_for}" if asked_for else ""
        raise NotFound(
            f"Job {job_id} has no page {page_no}: its source has {source_pages} page(s){chosen}.",
            value=page_no,
            limit=source_pages,
        )
    if Status(job["status"]) in TERMINAL:
        raise NotFound(f"Job {job_id} has {job['status']} and has no page {page_no}.", value=page_no)
    raise NotReady(f"Page {page_no} is not prepared yet.")


def parse_status(given: str) -> Status:
    """A status a caller filters by; raises InvalidOption."""
    try:
        return Status(given)
    except ValueError:
        names = ", ".join(Status)
        raise InvalidOption(f"status: {given[:40]!r} is none of {names}.", field="status", value=given[:40]) from None
