"""What was harvested of pages of the web: stored with the job that did it, found again by its `dom_id`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from ocr_tasks.contract import Box, Wire
from ocr_tasks.errors import NotFound, storable
from ocr_tasks.jobs.database import Database


class TextRun(Wire):
    """A piece of visible text and its box in pixels of the screenshot."""

    text: str
    box: Box


class PageSpan(Wire):
    """A page cut out of a screenshot: its rows from `top` to `bottom`, in pixels."""

    page_no: int
    top: int
    bottom: int


@dataclass(frozen=True)
class NewHarvest:
    """A rendered page as preparing leaves it; see dom_harvests in schema.sql."""

    id: UUID
    dom_id: str
    url: str | None
    final_url: str | None
    http_status: int | None
    title: str | None
    text: str
    text_runs: tuple[TextRun, ...]
    frames: list[dict[str, Any]]
    dom_blob: str
    dom_bytes: int
    image_blob: str
    media_type: str
    image_bytes: int
    width: int
    height: int
    device_scale: float
    clip: dict[str, Any] | None
    settled: bool
    pages: tuple[PageSpan, ...]
    options: dict[str, Any]
    timings: dict[str, Any]
    blocked: list[dict[str, Any]]
    browser: str


COLUMNS = """id, dom_id, job_id, url, final_url, http_status, title, text, text_runs, frames, dom_blob, dom_bytes,
    image_blob, media_type, image_bytes, width, height, device_scale, clip, settled, pages, options, timings, blocked,
    browser"""
NAMES = re.split(r",\s+", COLUMNS)
INSERT = f"INSERT INTO dom_harvests ({COLUMNS}) VALUES (:{', :'.join(NAMES)})"


def insert_harvest(connection: Connection, job_id: UUID, harvest: NewHarvest) -> None:
    """Add a harvest, in its job's transaction."""
    values = vars(harvest) | {
        "job_id": job_id,
        "title": storable(harvest.title) if harvest.title is not None else None,
        "text": storable(harvest.text),
        "text_runs": json.dumps([run.wire() | {"text": storable(run.text)} for run in harvest.text_runs]),
        "pages": json.dumps([page.wire() for page in harvest.pages]),
        "clip": json.dumps(harvest.clip) if harvest.clip is not None else None,
        **{name: json.dumps(getattr(harvest, name)) for name in ("frames", "options", "timings", "blocked")},
    }
    connection.execute(text(INSERT), values)


class HarvestLinks(Wire):
    self: str
    image: str
    html: str


class HarvestSummary(Wire):
    """A harvest in a list."""

    id: UUID
    dom_id: str
    job_id: UUID
    url: str | None
    final_url: str | None
    http_status: int | None
    title: str | None
    width: int
    height: int
    device_scale: float
    clip: dict[str, Any] | None
    settled: bool
    dom_bytes: int
    image_bytes: int
    media_type: str
    created_at: datetime
    links: HarvestLinks


class HarvestView(HarvestSummary):
    """A harvest on the wire: boxes and spans in pixels of the screenshot, timings in milliseconds."""

    text: str
    text_runs: tuple[TextRun, ...]
    frames: list[dict[str, Any]]
    pages: tuple[PageSpan, ...]
    options: dict[str, Any]
    timings: dict[str, Any]
    blocked: list[dict[str, Any]]
    browser: str


def harvest_view(row: RowMapping) -> HarvestView:
    return HarvestView(**{name: row[name] for name in HarvestView.model_fields if name != "links"}, links=_links(row))


def harvest_summary(row: RowMapping) -> HarvestSummary:
    names = [name for name in HarvestSummary.model_fields if name != "links"]
    return HarvestSummary(**{name: row[name] for name in names}, links=_links(row))


def _links(row: RowMapping) -> HarvestLinks:
    base = f"/api/dom/{row['id']}"
    return HarvestLinks(self=base, image=f"{base}/image", html=f"{base}/html")


SUMMARY = ", ".join(name for name in HarvestSummary.model_fields if name != "links")
NEWEST = "SELECT * FROM dom_harvests WHERE dom_id = :dom ORDER BY created_at DESC, id DESC LIMIT 1"


def find_harvest(db: Database, dom_id: str) -> RowMapping:
    """The newest harvest under a dom_id, or the harvest of this id; raises NotFound."""
    row = db.one(NEWEST, dom=dom_id)
    if row is None and (wanted := uuid_of(dom_id)):
        row = db.one("SELECT * FROM dom_harvests WHERE id = :id", id=wanted)
    if row is None:
        raise NotFound(f"There is no harvest {dom_id[:80]!r}.", value=dom_id[:80])
    return row


def get_harvest(db: Database, harvest_id: UUID | str) -> RowMapping:
    """A harvest by its own id; raises NotFound when it was deleted."""
    row = db.one("SELECT * FROM dom_harvests WHERE id = :id", id=harvest_id)
    if row is None:
        raise NotFound(f"The harvest {harvest_id} was deleted.", value=str(harvest_id))
    return row


def harvest_of_job(db: Database, job_id: UUID) -> RowMapping | None:
    """The harvest that a job made."""
    return db.one("SELECT * FROM dom_harvests WHERE job_id = :job", job=job_id)


def list_harvests(
    db: Database, *, limit: int, words: str | None = None, url: str | None = None, before: tuple[datetime, UUID] | None
) -> list[HarvestSummary]:
    """The newest harvests first, of those that hold all the words, or are of this address.

    before: (created_at, id) of the last one already seen.
    """
    rows: Sequence[RowMapping] = db.all(
        f"""
        SELECT {SUMMARY} FROM dom_harvests
         WHERE (cast(:url AS text) IS NULL OR url = :url)
           AND (cast(:words AS text) IS NULL OR
                to_tsvector('simple', coalesce(title, '') || ' ' || left(text, 100000))
                @@ websearch_to_tsquery('simple', :words))
           AND (cast(:created_at AS timestamptz) IS NULL OR (created_at, id) < (:created_at, cast(:id AS uuid)))
         ORDER BY created_at DESC, id DESC LIMIT :limit
        """,
        url=url,
        words=words,
        created_at=before and before[0],
        id=before and before[1],
        limit=limit,
    )
    return [harvest_summary(row) for row in rows]


def delete_harvests(db: Database, dom_id: str) -> None:
    """Forget all that is stored under a dom_id, or the harvest of this id, with its vision tokens; raises NotFound.

    Its bytes go once nobody refers to them.
    """
    known = {"dom": dom_id, "id": uuid_of(dom_id)}

    def delete(connection: Connection) -> None:
        for table in ("dom_harvests", "dom_visual_compressions"):
            own = "OR id = cast(:id AS uuid)" if table == "dom_harvests" else ""
            connection.execute(text(f"DELETE FROM {table} WHERE dom_id = :dom {own}"), known)

    found = db.one(
        """
        SELECT EXISTS (SELECT FROM dom_harvests WHERE dom_id = :dom OR id = cast(:id AS uuid))
            OR EXISTS (SELECT FROM dom_visual_compressions WHERE dom_id = :dom) AS there
        """,
        **known,
    )
    if not (found and found["there"]):
        raise NotFound(f"Nothing is stored under {dom_id[:80]!r}.", value=dom_id[:80])
    db.run(delete)


def uuid_of(given: str) -> UUID | None:
    """A text as an id, if it is one."""
    try:
        return UUID(given)
    except ValueError:
        return None
