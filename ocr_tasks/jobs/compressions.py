"""Vision tokens at rest: a row a page, made when a compress or crawl job ends, decoded by decompress jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from ocr_tasks.contract import Wire
from ocr_tasks.errors import NotFound
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.harvests import uuid_of


def ratio_of_tokens(text_tokens: int | None, vision_tokens: int | None) -> float | None:
    """The compression ratio: text tokens per vision token; None where one of them is unknown."""
    if text_tokens is None or not vision_tokens:
        return None
    return text_tokens / vision_tokens


def ratio_of_bytes(stored_bytes: int, source_bytes: int) -> float:
    """The byte ratio: stored bytes per byte of the source; above 1, the stored form is the larger one."""
    return stored_bytes / source_bytes


@dataclass(frozen=True)
class NewCompression:
    """A page's vision tokens, to be stored; see dom_visual_compressions in schema.sql."""

    id: UUID
    dom_id: str
    harvest_id: UUID | None
    page_no: int
    tokens_blob: str
    compressed_size: int
    format: str
    mode: str
    model: str
    revision: str
    vision_tokens: int
    text_tokens: int | None
    original_size: int
    quality: float | None
    width: int
    height: int
    offset_y: int | None
    metadata: dict[str, Any]
    created_at: datetime

    def view(self) -> CompressionView:
        """As it goes over the wire."""
        known = {name: value for name, value in vars(self).items() if name in CompressionView.model_fields}
        return CompressionView(
            **known,
            compression_ratio=ratio_of_tokens(self.text_tokens, self.vision_tokens),
            byte_ratio=ratio_of_bytes(self.compressed_size, self.original_size),
        )


INSERT = """
INSERT INTO dom_visual_compressions
       (id, dom_id, harvest_id, job_id, page_no, visual_tokens, format, mode, model, revision, vision_tokens,
        text_tokens, compression_ratio, original_size, compressed_size, byte_ratio, quality, width, height, offset_y,
        metadata, created_at)
VALUES (:id, :dom_id, :harvest_id, :job_id, :page_no, :visual_tokens, :format, :mode, :model, :revision, :vision_tokens,
        :text_tokens, :compression_ratio, :original_size, :compressed_size, :byte_ratio, :quality, :width, :height,
        :offset_y, :metadata, :created_at)
"""


def insert_compressions(
    connection: Connection, job_id: UUID, pages: Sequence[NewCompression], load: Callable[[str], bytes]
) -> None:
    """Add a job's pages in the transaction that ends it. load: the bytes under a blob's key, one page at a time.

    Raises NotFound when their harvest was deleted meanwhile; from here on it cannot be, until they are there.
    """
    for harvest_id in {page.harvest_id for page in pages} - {None}:
        kept = connection.execute(text("SELECT id FROM dom_harvests WHERE id = :id FOR KEY SHARE"), {"id": harvest_id})
        if kept.first() is None:
            raise NotFound(f"The harvest {harvest_id} was deleted.", value=str(harvest_id))
    for page in pages:
        view = page.view()
        values = vars(page) | {
            "job_id": job_id,
            "visual_tokens": load(page.tokens_blob),
            "compression_ratio": view.compression_ratio,
            "byte_ratio": view.byte_ratio,
            "metadata": json.dumps(page.metadata),
        }
        connection.execute(text(INSERT), values)


class CompressionView(Wire):
    """A page's stored vision tokens on the wire. Sizes in bytes; quality 0 to 1, null while nobody measured it."""

    id: UUID
    dom_id: str
    page_no: int
    format: str
    mode: str
    model: str
    revision: str
    vision_tokens: int
    text_tokens: int | None
    compression_ratio: float | None
    original_size: int
    compressed_size: int
    byte_ratio: float
    quality: float | None
    width: int
    height: int
    offset_y: int | None
    created_at: datetime


ALL_BUT_TOKENS = """id, dom_id, harvest_id, job_id, page_no, format, mode, model, revision, vision_tokens, text_tokens,
    compression_ratio, original_size, compressed_size, byte_ratio, quality, width, height, offset_y, metadata,
    created_at"""


def compression_view(row: RowMapping) -> CompressionView:
    return CompressionView(**{name: row[name] for name in CompressionView.model_fields})


def compressions_of_job(db: Database, job_id: UUID) -> Sequence[RowMapping]:
    """A job's pages of vision tokens, in order, without the tokens themselves."""
    return db.all(
        f"SELECT {ALL_BUT_TOKENS} FROM dom_visual_compressions WHERE job_id = :job ORDER BY page_no", job=job_id
    )


def newest_compression(db: Database, dom_id: str) -> Sequence[RowMapping]:
    """The pages that were compressed last under a dom_id, or of the harvest of this id; raises NotFound."""
    newest = db.one(
        """
        SELECT job_id FROM dom_visual_compressions
         WHERE dom_id = :dom OR harvest_id = cast(:id AS uuid) ORDER BY created_at DESC, page_no LIMIT 1
        """,
        dom=dom_id,
        id=uuid_of(dom_id),
    )
    if newest is None:
        raise NotFound(f"No vision tokens are stored under {dom_id[:80]!r}; compress it first.", value=dom_id[:80])
    return compressions_of_job(db, newest["job_id"])


def stored_tokens(db: Database, compression_id: UUID) -> bytes:
    """A page's vision tokens, a container; raises NotFound when they were deleted."""
    row = db.one("SELECT visual_tokens FROM dom_visual_compressions WHERE id = :id", id=compression_id)
    if row is None:
        raise NotFound("The vision tokens of this page were deleted.", value=str(compression_id))
    return bytes(row["visual_tokens"])
