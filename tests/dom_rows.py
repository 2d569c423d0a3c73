"""Rows about pages of the web, as the workers leave them, for tests of what reads them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from ocr_tasks.blobs import BlobStore
from ocr_tasks.jobs.compressions import NewCompression, insert_compressions
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.harvests import NewHarvest, PageSpan, TextRun, insert_harvest

DOM = b"<!doctype html><p>hello<script>alert(1)</script>"
IMAGE = b"\x89PNG\r\n\x1a\n of a screenshot"


def add_harvest(db: Database, blobs: BlobStore, dom_id: str | None = None, **changes: Any) -> NewHarvest:
    """Store a harvest; returns it."""
    harvest_id = uuid.uuid4()
    known: dict[str, Any] = {
        "id": harvest_id,
        "dom_id": dom_id or str(harvest_id),
        "url": "https://example.com/",
        "final_url": "https://example.com/",
        "http_status": 200,
        "title": "Example",
        "text": "hello world",
        "text_runs": (TextRun(text="hello world", box=(10, 20, 110, 40)),),
        "frames": [],
        "dom_blob": blobs.put(DOM),
        "dom_bytes": len(DOM),
        "image_blob": blobs.put(IMAGE),
        "media_type": "image/png",
        "image_bytes": len(IMAGE),
        "width": 1920,
        "height": 1080,
        "device_scale": 1.0,
        "clip": None,
        "settled": True,
        "pages": (PageSpan(page_no=1, top=0, bottom=1080),),
        "options": {"format": "png"},
        "timings": {"total": 350},
        "blocked": [],
        "browser": "Chromium",
    }
    harvest = NewHarvest(**{**known, **changes})
    db.run(lambda connection: insert_harvest(connection, uuid.uuid4(), harvest))
    return harvest


def add_compression(
    db: Database, blobs: BlobStore, dom_id: str, harvest_id: UUID | None = None, *, pages: int = 1
) -> UUID:
    """Store vision tokens of some pages; returns the id of their job."""
    job_id, key = uuid.uuid4(), blobs.put(b"container")
    rows = [
        NewCompression(
            id=uuid.uuid4(),
            dom_id=dom_id,
            harvest_id=harvest_id,
            page_no=n,
            tokens_blob=key,
            compressed_size=len(b"container"),
            format="int8",
            mode="base",
            model="deepseek-ai/DeepSeek-OCR",
            revision="0123",
            vision_tokens=273,
            text_tokens=546,
            original_size=4,
            quality=None,
            width=1920,
            height=1080,
            offset_y=0,
            metadata={},
            created_at=datetime.now(UTC),
        )
        for n in range(1, pages + 1)
    ]
    db.run(lambda connection: insert_compressions(connection, job_id, rows, blobs.get))
    return job_id
