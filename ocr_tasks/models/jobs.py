"""Jobs, their ranges and pages, and the nodes that read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Text,
    desc,
)
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ocr_tasks.models.base import NOW, ZERO, Base


class Job(Base):
    __tablename__ = "jobs"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    status: Mapped[str] = mapped_column(server_default="queued")
    priority: Mapped[str]
    engine: Mapped[str]
    source: Mapped[dict[str, Any]]
    options: Mapped[dict[str, Any]]
    source_pages: Mapped[int | None]
    pages_total: Mapped[int | None]
    pages_released: Mapped[int] = mapped_column(server_default=ZERO)
    pages_succeeded: Mapped[int] = mapped_column(server_default=ZERO)
    pages_failed: Mapped[int] = mapped_column(server_default=ZERO)
    attempt: Mapped[int] = mapped_column(server_default=ZERO)
    failures: Mapped[int] = mapped_column(server_default=ZERO)
    losses: Mapped[int] = mapped_column(server_default=ZERO)
    lease_until: Mapped[datetime | None]
    sent_at: Mapped[datetime] = mapped_column(server_default=NOW)
    sends: Mapped[int] = mapped_column(server_default=ZERO)
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expired_at: Mapped[datetime | None]
    direct: Mapped[bool] = mapped_column(server_default=sql("false"))
    published_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("kind IN ('ocr', 'render', 'compress', 'decompress', 'crawl')", name="jobs_kind_check"),
        CheckConstraint(
            "status IN ('queued', 'preparing', 'running', 'finishing', 'succeeded', 'failed', 'cancelled')",
            name="jobs_status_check",
        ),
        CheckConstraint("priority IN ('interactive', 'bulk')", name="jobs_priority_check"),
        CheckConstraint("pages_succeeded + pages_failed <= pages_released", name="jobs_check"),
        CheckConstraint("pages_released <= coalesce(pages_total, 0)", name="jobs_check1"),
        Index("jobs_newest", desc("created_at"), desc("id")),
        Index(
            "jobs_live",
            "status",
            "sent_at",
            postgresql_where=sql("status NOT IN ('succeeded', 'failed', 'cancelled')"),
        ),
        Index("jobs_ended", "finished_at", postgresql_where=sql("expired_at IS NULL")),
        Index("jobs_counted", "finished_at", postgresql_where=sql("status IN ('succeeded', 'failed')")),
        Index("jobs_published", "published_at", postgresql_where=sql("direct AND finished_at IS NOT NULL")),
        Index("jobs_source_blob", sql("(source ->> 'blob')")),
        Index(
            "jobs_prepared_blob",
            sql("(source ->> 'prepared')"),
            postgresql_where=sql("(source ->> 'prepared') IS NOT NULL"),
        ),
        Index("jobs_result_blobs", sql("jsonb_path_query_array(result, '$.*.blob')"), postgresql_using="gin"),
    )


class Range(Base):
    __tablename__ = "ranges"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    page_nos: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    status: Mapped[str] = mapped_column(server_default="queued")
    attempt: Mapped[int] = mapped_column(server_default=ZERO)
    failures: Mapped[int] = mapped_column(server_default=ZERO)
    losses: Mapped[int] = mapped_column(server_default=ZERO)
    lease_until: Mapped[datetime | None]
    sent_at: Mapped[datetime] = mapped_column(server_default=NOW)
    sends: Mapped[int] = mapped_column(server_default=ZERO)

    __table_args__ = (
        CheckConstraint("status IN ('queued', 'running')", name="ranges_status_check"),
        Index("ranges_job", "job_id"),
    )


class Page(Base):
    __tablename__ = "pages"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    page_no: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(server_default="queued")
    attempt: Mapped[int] = mapped_column(server_default=ZERO)
    failures: Mapped[int] = mapped_column(server_default=ZERO)
    losses: Mapped[int] = mapped_column(server_default=ZERO)
    isolation: Mapped[str] = mapped_column(server_default="none")
    node: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    sent_at: Mapped[datetime] = mapped_column(server_default=NOW)
    sends: Mapped[int] = mapped_column(server_default=ZERO)
    image_blob: Mapped[str | None]
    media_type: Mapped[str | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    dpi: Mapped[float | None]
    offset_y: Mapped[int | None]
    source_text: Mapped[str | None]
    compression_id: Mapped[UUID | None]
    text: Mapped[str | None]
    markdown: Mapped[str | None]
    blocks: Mapped[list[Any] | None]
    figure_blobs: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    flags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    vision_tokens: Mapped[int | None]
    text_tokens: Mapped[int | None]
    tokens_blob: Mapped[str | None]
    tokens: Mapped[dict[str, Any] | None]
    quality: Mapped[float | None]
    engine: Mapped[str | None]
    revision: Mapped[str | None]
    mode: Mapped[str | None]
    retried_from: Mapped[str | None]
    queue_ms: Mapped[int | None]
    inference_ms: Mapped[int | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=NOW)
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint("page_no >= 1", name="pages_page_no_check"),
        CheckConstraint(
            "status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name="pages_status_check"
        ),
        CheckConstraint("isolation IN ('none', 'suspect', 'alone')", name="pages_isolation_check"),
        Index("pages_live", "status", "sent_at", postgresql_where=sql("status IN ('queued', 'running')")),
        Index("pages_image_blob", "image_blob"),
        Index("pages_figure_blobs", "figure_blobs", postgresql_using="gin"),
        Index("pages_tokens_blob", "tokens_blob", postgresql_where=sql("tokens_blob IS NOT NULL")),
    )


class Node(Base):
    __tablename__ = "nodes"

    name: Mapped[str] = mapped_column(primary_key=True)
    engine: Mapped[str]
    revision: Mapped[str]
    capacity: Mapped[int]
    state: Mapped[str]
    metrics: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime] = mapped_column(server_default=NOW)
    seen_at: Mapped[datetime] = mapped_column(server_default=NOW)

    __table_args__ = (CheckConstraint("state IN ('loading', 'ready', 'stopping')", name="nodes_state_check"),)
