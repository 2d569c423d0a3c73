"""What a crawler found: a row a page, made when its crawl job ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from ocr_tasks.contract import Wire
from ocr_tasks.errors import NotFound
from ocr_tasks.jobs.database import Database


@dataclass(frozen=True)
class NewCrawl:
    """A crawled page, to be stored; see crawled_pages_visual in schema.sql. Its content is what Postgres takes."""

    id: UUID
    url: str
    crawl_session_id: str | None
    harvest_id: UUID
    language: str | None
    layout_type: str
    extracted_content: dict[str, Any]
    crawled_at: datetime

    def view(self) -> CrawlView:
        """As it goes over the wire."""
        return CrawlView(**{name: getattr(self, name) for name in CrawlView.model_fields})


class CrawlView(Wire):
    """A crawled page on the wire. language: ISO 639-1, null for too little text to tell."""

    id: UUID
    url: str
    crawl_session_id: str | None
    harvest_id: UUID
    language: str | None
    layout_type: str
    extracted_content: dict[str, Any]
    crawled_at: datetime


# The harvest is locked against being deleted until the row is there, and the row goes with it afterwards.
INSERT = """
WITH kept AS (SELECT id FROM dom_harvests WHERE id = :harvest_id FOR KEY SHARE)
INSERT INTO crawled_pages_visual
       (id, url, crawl_session_id, job_id, harvest_id, language, layout_type, extracted_content, crawled_at)
SELECT :id, :url, :crawl_session_id, :job_id, kept.id, :language, :layout_type, :extracted_content, :crawled_at
  FROM kept
"""


def insert_crawl(connection: Connection, job_id: UUID, crawl: NewCrawl) -> None:
    """Add what a job found, in the transaction that ends it; raises NotFound when its harvest was deleted meanwhile."""
    values = vars(crawl) | {"job_id": job_id, "extracted_content": json.dumps(crawl.extracted_content)}
    if connection.execute(text(INSERT), values).rowcount == 0:
        raise NotFound(f"The harvest {crawl.harvest_id} was deleted.", value=str(crawl.harvest_id))


LIST = """
SELECT * FROM crawled_pages_visual
 WHERE (cast(:session AS text) IS NULL OR crawl_session_id = :session)
   AND (cast(:url AS text) IS NULL OR url = :url)
   AND (cast(:crawled_at AS timestamptz) IS NULL OR (crawled_at, id) < (:crawled_at, cast(:id AS uuid)))
 ORDER BY crawled_at DESC, id DESC LIMIT :limit
"""


def list_crawls(
    db: Database,
    *,
    limit: int,
    session_id: str | None = None,
    url: str | None = None,
    before: tuple[datetime, UUID] | None = None,
) -> list[CrawlView]:
    """The newest first, of a crawl session, or of an address. before: (crawled_at, id) of the last one already seen."""
    rows = db.all(
        LIST,
        session=session_id,
        url=url,
        crawled_at=before and before[0],
        id=before and before[1],
        limit=limit,
    )
    return [crawl_view(row) for row in rows]


def crawl_view(row: RowMapping) -> CrawlView:
    return CrawlView(**{name: row[name] for name in CrawlView.model_fields})
