"""Statistics, lists and the collector find their rows by indexes, however many there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, text

from ocr_tasks.jobs import analytics, crawls, retention, statistics
from ocr_tasks.jobs.crawls import list_crawls
from ocr_tasks.jobs.database import Database

MANY = 50_000
FILLED = [
    """INSERT INTO jobs (id, kind, status, priority, engine, source, options, started_at, finished_at, created_at)
    SELECT cast(md5('j' || n) AS uuid), (ARRAY['ocr', 'crawl', 'compress'])[n % 3 + 1], 'succeeded', 'bulk', 'rapid',
           jsonb_build_object('blob', md5('s' || n)), '{}', at, at, at
      FROM (SELECT n, now() - n * interval '30 minutes' AS at FROM generate_series(1, :many) AS n) AS ended""",
    """INSERT INTO pages (job_id, page_no, status, image_blob, node, vision_tokens, text_tokens)
    SELECT cast(md5('j' || n) AS uuid), 1, 'succeeded', md5('i' || n), 'rapid0@host', 100, 1000
      FROM generate_series(1, :many) AS n""",
    """INSERT INTO dom_harvests (id, dom_id, job_id, url, text, text_runs, frames, dom_blob, dom_bytes, image_blob,
           media_type, image_bytes, width, height, device_scale, settled, pages, options, timings, blocked, browser,
           created_at)
    SELECT cast(md5('h' || n) AS uuid), 'dom' || n, cast(md5('j' || n) AS uuid), 'http://a/' || n % 5000, '', '[]',
           '[]', md5('d' || n), 1, md5('p' || n), 'image/png', 1, 1, 1, 1, true, '[]', '{}', '{}', '[]', 'b',
           now() - n * interval '30 minutes' FROM generate_series(1, :many / 5) AS n""",
    """INSERT INTO dom_visual_compressions (dom_id, job_id, page_no, visual_tokens, format, mode, model,
           revision, vision_tokens, compression_ratio, original_size, compressed_size, byte_ratio, width, height,
           created_at)
    SELECT 'dom' || n, cast(md5('j' || n) AS uuid), 1, 'x', 'int8', 'base', 'm', 'r', 100,
           10, 10, 10, 1, 1, 1, now() - n * interval '30 minutes' FROM generate_series(1, :many) AS n""",
    """INSERT INTO crawled_pages_visual (url, crawl_session_id, job_id, harvest_id, layout_type, extracted_content,
           crawled_at)
    SELECT 'http://a/' || n % 5000, 's' || n % 100, cast(md5('j' || n) AS uuid), cast(md5('h' || n) AS uuid), 'other',
           '{}', now() - n * interval '30 minutes' FROM generate_series(1, :many / 5) AS n""",
    "ANALYZE jobs, pages, dom_harvests, dom_visual_compressions, crawled_pages_visual, ocr_processing_stats",
]


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(table, how it is gone through) of a plan: an index's name, or `all of it`."""
    if "Relation Name" in plan:
        within = [part["Index Name"] for part in plan.get("Plans", ()) if "Index Name" in part]
        yield plan["Relation Name"], plan.get("Index Name") or (within[0] if within else "all of it")
    for part in plan.get("Plans", ()):
        yield from scans(part)


def test_indexes_are_used_where_there_are_many_rows(db: Database) -> None:
    for statement in FILLED:
        db.execute(statement, many=MANY)
    today = db.run(statistics.changing_days).today
    week = {"first": today, "last": today, "before": today - timedelta(days=7)}
    a_crawl = dict.fromkeys(("session", "url", "crawled_at", "id")) | {"limit": 20}
    seen = datetime.now(UTC) - timedelta(days=30)
    expected: list[tuple[str, dict[str, Any], set[str]]] = [
        (statistics.ROLL_UP, week, {"jobs_counted", "dom_visual_compressions_job_id_page_no_key"}),
        (statistics.NEWEST, week, {"jobs_counted", "dom_visual_compressions_job_id_page_no_key"}),
        (statistics.CHANGING, {}, {"jobs_counted"}),
        (analytics.BY_DAY, {"days": 7}, {"dom_visual_compressions_day"}),
        (analytics.PAGES, {"days": 7}, {"dom_visual_compressions_day"}),
        (analytics.HARVESTS, {"days": 7}, {"dom_harvests_newest"}),
        (crawls.LIST, a_crawl, {"crawled_pages_visual_newest"}),
        (crawls.LIST, a_crawl | {"crawled_at": seen, "id": str(uuid4())}, {"crawled_pages_visual_newest"}),
        (crawls.LIST, a_crawl | {"session": "s7"}, {"crawled_pages_visual_session"}),
        (crawls.LIST, a_crawl | {"url": "http://a/7"}, {"crawled_pages_visual_url"}),
        (
            retention.UNREFERENCED,
            {"keys": ["f" * 64]},
            {"pages_tokens_blob", "dom_harvests_dom_blob", "dom_harvests_image_blob", "jobs_source_blob"},
        ),
        (
            "SELECT FROM crawled_pages_visual WHERE harvest_id = :id",
            {"id": str(uuid4())},
            {"crawled_pages_visual_harvest"},
        ),
    ]
    for sql, params, indexes in expected:
        used = list(scans(plan_of(db, sql, params)))
        assert indexes <= {index for _, index in used}, sql
        assert {table for table, index in used if index == "all of it"} <= {"ocr_processing_stats"}, sql
    assert len(list_crawls(db, limit=1000, session_id="s7")) == MANY // 5 // 100


def plan_of(db: Database, sql: str, params: dict[str, Any]) -> dict[str, Any]:
    def explain(connection: Connection) -> Any:
        return connection.execute(text(f"EXPLAIN (FORMAT JSON) {sql}"), params).scalar()

    answer = db.run(explain)
    plan: dict[str, Any] = (json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]
    return plan
