"""Jobs of every kind taken to their ends by the store's own functions, and harvests for them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from ocr_tasks.contract import Kind, OcrOptions, PageResult, Source, Status
from ocr_tasks.errors import EngineFailed, SourceError
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.finishing import claim_finish, end_job
from ocr_tasks.jobs.harvests import NewHarvest, PageSpan, TextRun
from ocr_tasks.jobs.inspecting import Inspected, claim_inspect, fail_inspect, set_pages
from ocr_tasks.jobs.ranges import NewPage, add_pages, claim_range, end_range, release_ranges
from ocr_tasks.jobs.reading import claim_page, fail_page, succeed_page
from ocr_tasks.jobs.submitting import cancel_job, create_job
from ocr_tasks.kinds.options import OPTIONS
from ocr_tasks.kinds.sources import AnySource, DomSource, UrlSource

ENGINE, REVISION = "deepseek", "r"


@dataclass(frozen=True)
class PagePlan:
    """What becomes of a page; tokens: text and vision tokens, of a page that has such."""

    succeeds: bool = True
    node: str = "deepseek0@host"
    tokens: tuple[int, int] | None = None


@dataclass(frozen=True)
class JobPlan:
    """What becomes of a job. ends: with no pages, `failed` is a source that could not be read."""

    kind: Kind
    ends: Status
    pages: tuple[PagePlan, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def status(self) -> Status:
        """How a job ends whose pages end so."""
        unread = bool(self.pages) and not any(page.succeeds for page in self.pages)
        return Status.FAILED if unread and self.ends == Status.SUCCEEDED else self.ends


def harvest(**changes: Any) -> NewHarvest:
    """A page of the web, rendered."""
    fields: dict[str, Any] = {
        **dict.fromkeys(("http_status", "title", "clip"), None),
        "id": (harvest_id := uuid4()),
        "dom_id": str(harvest_id),
        "url": "http://a.example/",
        "final_url": "http://a.example/",
        "text": "text",
        "text_runs": (TextRun(text="text", box=(0, 0, 40, 10)),),
        "frames": [],
        "dom_blob": "d" * 64,
        "dom_bytes": 1000,
        "image_blob": "e" * 64,
        "media_type": "image/png",
        "image_bytes": 2000,
        "width": 100,
        "height": 100,
        "device_scale": 1.0,
        "settled": True,
        "pages": (PageSpan(page_no=1, top=0, bottom=100),),
        "options": {},
        "timings": {},
        "blocked": [],
        "browser": "none",
    }
    return NewHarvest(**fields | changes)


def source_of(kind: Kind) -> AnySource:
    if kind == Kind.OCR:
        return Source(blob="0" * 64, media_type="image/png", size_bytes=1)
    return DomSource(dom_id="a-dom") if kind == Kind.DECOMPRESS else UrlSource(url="http://a.example/")


def ended(db: Database, plan: JobPlan, *, rendered: NewHarvest | None = None, **result: Any) -> UUID:
    """A job that went as planned, at the planned times. rendered: the harvest that it made; result: of end_job."""
    job_id = uuid4()
    options = OcrOptions() if plan.kind == Kind.OCR else OPTIONS[plan.kind]()
    create_job(db, job_id, engine="deepseek", source=source_of(plan.kind), options=options, kind=plan.kind)
    claim = claim_inspect(db, job_id, 30)
    assert claim is not None
    if plan.ends == Status.FAILED and not plan.pages:
        assert fail_inspect(db, claim, SourceError("it cannot be read"))
    else:
        source = {"harvestId": str(rendered.id)} if rendered else {}
        assert set_pages(db, claim, Inspected(len(plan.pages), len(plan.pages), source, rendered))
        read_pages(db, job_id, plan.pages)
        if plan.ends == Status.CANCELLED:
            db.execute("UPDATE jobs SET status = 'running' WHERE id = :job", job=job_id)
            cancel_job(db, job_id)
        elif plan.ends != Status.RUNNING:
            _finish(db, job_id, plan, rendered, result)
    if plan.finished_at is not None:
        db.execute(
            "UPDATE jobs SET started_at = :started, finished_at = :finished"
            " WHERE id = :job AND finished_at IS NOT NULL",
            started=plan.started_at,
            finished=plan.finished_at,
            job=job_id,
        )
    return job_id


def read_pages(db: Database, job_id: UUID, pages: Sequence[PagePlan]) -> None:
    """Take all pages of a running job through an engine."""
    for range_id in release_ranges(db, job_id, window=100, range_pages=100):
        of_range = claim_range(db, range_id, 30)
        assert of_range is not None
        assert add_pages(db, of_range, [NewPage(no, image_blob="1" * 64) for no in of_range.page_nos])
        end_range(db, of_range)
    for no, page in enumerate(pages, 1):
        claim = claim_page(db, job_id, no, node=page.node, lease_s=30)
        assert claim is not None
        if not page.succeeds:
            assert fail_page(db, claim, EngineFailed("it cannot be read"), engine=ENGINE, revision=REVISION)
            continue
        text_tokens, vision_tokens = page.tokens or (None, None)
        result = PageResult(text="x", markdown="x", text_tokens=text_tokens, vision_tokens=vision_tokens)
        assert succeed_page(db, claim, result, queue_ms=0, engine=ENGINE, revision=REVISION)


def _finish(db: Database, job_id: UUID, plan: JobPlan, rendered: NewHarvest | None, result: dict[str, Any]) -> None:
    claim = claim_finish(db, job_id, 30)
    assert claim is not None

    def compressions(connection: Connection) -> None:
        for no, page in enumerate(plan.pages, 1):
            if page.succeeds and plan.kind in (Kind.COMPRESS, Kind.CRAWL):
                insert_compression(connection, job_id, no, page.tokens, harvest_id=rendered.id if rendered else None)

    assert end_job(db, claim, plan.status, also=compressions, **result)


def insert_compression(
    connection: Connection,
    job_id: UUID,
    page_no: int,
    tokens: tuple[int, int] | None,
    *,
    harvest_id: UUID | None = None,
    sizes: tuple[int, int] = (1000, 200),
) -> None:
    """A page's stored vision tokens. sizes: bytes of the source, bytes stored."""
    connection.execute(
        text(
            """
            INSERT INTO dom_visual_compressions
                   (dom_id, harvest_id, job_id, page_no, visual_tokens, format, mode, model, revision, vision_tokens,
                    text_tokens, compression_ratio, original_size, compressed_size, byte_ratio, width, height)
            VALUES ('a-dom', :harvest, :job, :page, 'x', 'int8', 'base', 'm', 'r', :vision, :text, :ratio, :original,
                    :stored, :byte_ratio, 100, 100)
            """
        ),
        {
            "harvest": harvest_id,
            "job": job_id,
            "page": page_no,
            "text": tokens and tokens[0],
            "vision": tokens[1] if tokens else 100,
            "ratio": tokens and tokens[0] / tokens[1],
            "original": sizes[0],
            "stored": sizes[1],
            "byte_ratio": sizes[1] / sizes[0],
        },
    )


def random_plan(
    chance: random.Random, finished_at: datetime | None = None, started_at: datetime | None = None
) -> JobPlan:
    """Any kind of job that ends in any way."""
    kind = chance.choice(list(Kind))
    ends = chance.choice([Status.SUCCEEDED] * 5 + [Status.FAILED, Status.CANCELLED, Status.RUNNING])
    count = 0 if kind == Kind.RENDER or ends == Status.FAILED else chance.randint(1, 3)
    pages = tuple(
        PagePlan(
            succeeds=chance.random() < 0.7,
            node="gpu1@host" if chance.random() < 0.05 else "deepseek0@host",
            tokens=(chance.randint(0, 2000), chance.randint(1, 300)) if chance.random() < 0.6 else None,
        )
        for _ in range(count)
    )
    return JobPlan(kind, ends, pages, started_at, finished_at)
