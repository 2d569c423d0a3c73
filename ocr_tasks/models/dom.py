"""Harvests, their vision tokens, crawled pages and statistics."""

from __future__ import annotations

from datetime import date as day
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DDL, BigInteger, CheckConstraint, ForeignKey, Index, UniqueConstraint, desc, event
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION
from sqlalchemy.orm import Mapped, mapped_column

from ocr_tasks.models.base import NOW, Base

NEW_ID = sql("gen_random_uuid()")


class Harvest(Base):
    __tablename__ = "dom_harvests"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    dom_id: Mapped[str]
    job_id: Mapped[UUID]
    url: Mapped[str | None]
    final_url: Mapped[str | None]
    http_status: Mapped[int | None]
    title: Mapped[str | None]
    text: Mapped[str]
    text_runs: Mapped[list[Any]]
    frames: Mapped[list[Any]]
    dom_blob: Mapped[str]
    dom_bytes: Mapped[int] = mapped_column(BigInteger)
    image_blob: Mapped[str]
    media_type: Mapped[str]
    image_bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]
    height: Mapped[int]
    device_scale: Mapped[float]
    clip: Mapped[dict[str, Any] | None]
    settled: Mapped[bool]
    pages: Mapped[list[Any]]
    options: Mapped[dict[str, Any]]
    timings: Mapped[dict[str, Any]]
    blocked: Mapped[list[Any]]
    browser: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        Index("dom_harvests_dom", "dom_id", desc("created_at")),
        Index("dom_harvests_url", "url", desc("created_at")),
        Index("dom_harvests_newest", desc("created_at"), desc("id")),
        Index("dom_harvests_job", "job_id"),
        Index("dom_harvests_dom_blob", "dom_blob"),
        Index("dom_harvests_image_blob", "image_blob"),
        Index(
            "dom_harvests_words",
            sql("to_tsvector('simple', coalesce(title, '') || ' ' || left(text, 100000))"),
            postgresql_using="gin",
        ),
    )


class VisualCompression(Base):
    __tablename__ = "dom_visual_compressions"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    dom_id: Mapped[str]
    harvest_id: Mapped[UUID | None] = mapped_column(ForeignKey("dom_harvests.id", ondelete="CASCADE"))
    job_id: Mapped[UUID]
    page_no: Mapped[int]
    visual_tokens: Mapped[bytes]
    format: Mapped[str]
    mode: Mapped[str]
    model: Mapped[str]
    revision: Mapped[str]
    vision_tokens: Mapped[int]
    text_tokens: Mapped[int | None]
    compression_ratio: Mapped[float | None] = mapped_column(DOUBLE_PRECISION)
    original_size: Mapped[int] = mapped_column(BigInteger)
    compressed_size: Mapped[int] = mapped_column(BigInteger)
    byte_ratio: Mapped[float] = mapped_column(DOUBLE_PRECISION)
    quality: Mapped[float | None]
    width: Mapped[int]
    height: Mapped[int]
    offset_y: Mapped[int | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        CheckConstraint("page_no >= 1", name="dom_visual_compressions_page_no_check"),
        UniqueConstraint("job_id", "page_no", name="dom_visual_compressions_job_id_page_no_key"),
        Index("dom_visual_compressions_dom", "dom_id", desc("created_at")),
        Index("dom_visual_compressions_harvest", "harvest_id"),
        Index("dom_visual_compressions_day", sql("cast(created_at AT TIME ZONE 'UTC' AS date)")),
    )


class Crawl(Base):
    __tablename__ = "crawled_pages_visual"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=NEW_ID)
    url: Mapped[str]
    crawl_session_id: Mapped[str | None]
    job_id: Mapped[UUID]
    harvest_id: Mapped[UUID] = mapped_column(ForeignKey("dom_harvests.id", ondelete="CASCADE"))
    language: Mapped[str | None]
    layout_type: Mapped[str]
    extracted_content: Mapped[dict[str, Any]]
    crawled_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (
        UniqueConstraint("job_id", name="crawled_pages_visual_job_id_key"),
        Index("crawled_pages_visual_newest", desc("crawled_at"), desc("id")),
        Index("crawled_pages_visual_session", "crawl_session_id", desc("crawled_at"), desc("id")),
        Index("crawled_pages_visual_url", "url", desc("crawled_at"), desc("id")),
        Index("crawled_pages_visual_harvest", "harvest_id"),
    )


class ProcessingStats(Base):
    __tablename__ = "ocr_processing_stats"

    date: Mapped[day] = mapped_column(primary_key=True)
    process_type: Mapped[str] = mapped_column(primary_key=True)
    documents_processed: Mapped[int]
    total_pages: Mapped[int] = mapped_column(BigInteger)
    avg_compression_ratio: Mapped[float | None] = mapped_column(DOUBLE_PRECISION)
    total_processing_time: Mapped[int] = mapped_column(BigInteger)
    gpu_utilized: Mapped[bool]
    success_rate: Mapped[float] = mapped_column(DOUBLE_PRECISION)

    __table_args__ = (
        CheckConstraint("process_type IN ('dom', 'crawler', 'manual')", name="ocr_processing_stats_process_type_check"),
    )


event.listen(
    Base.metadata,
    "after_create",
    DDL(
        """
        CREATE VIEW compression_analytics AS
        SELECT cast(created_at AT TIME ZONE 'UTC' AS date) AS date, count(*) AS total_compressions,
               avg(compression_ratio) AS avg_ratio, max(compression_ratio) AS max_ratio,
               sum(original_size - compressed_size) AS total_savings, avg(1 - byte_ratio) AS avg_efficiency
          FROM dom_visual_compressions GROUP BY 1
        """
    ),
)
