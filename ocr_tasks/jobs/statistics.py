"""What was worked through on each day (of UTC): counted again and again in the rows of the jobs that ended.

The reconciler stores the counts in ocr_processing_stats, for whoever reads the database. Callers of this service get
the days that can still change counted at that moment, so that what has just ended is in.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date as day
from datetime import timedelta
from typing import Literal

from sqlalchemy import Connection, RowMapping, text

from ocr_tasks.contract import Wire
from ocr_tasks.jobs.database import Database

# Any number: a roll-up that read the jobs earlier must not overwrite one that read them later.
ROLL_UP_LOCK = 0x0C13

# What is counted again: from the last day that was rolled up, and for an hour from the one before today, since a
# transaction that ends a job before midnight may commit after it. Days are rolled up in order, so none is left out.
CHANGING = """
SELECT CASE WHEN max(date) IS NOT NULL
            THEN least(max(date), cast((now() - interval '1 hour') AT TIME ZONE 'UTC' AS date))
            ELSE coalesce((SELECT cast(min(finished_at) AT TIME ZONE 'UTC' AS date) FROM jobs
                            WHERE status IN ('succeeded', 'failed')),
                          cast(now() AT TIME ZONE 'UTC' AS date)) END AS first,
       cast(now() AT TIME ZONE 'UTC' AS date) AS today
  FROM ocr_processing_stats
"""

# What only pages tell is kept as it was found once they have gone after their retention time.
COUNTED = """
WITH ended AS MATERIALIZED (
    SELECT id, kind, status = 'succeeded' AS succeeded, pages_succeeded, finished_at - started_at AS took,
           expired_at IS NOT NULL AS expired, cast(finished_at AT TIME ZONE 'UTC' AS date) AS date,
           CASE kind WHEN 'ocr' THEN 'manual' WHEN 'crawl' THEN 'crawler' ELSE 'dom' END AS process_type
      FROM jobs
     WHERE status IN ('succeeded', 'failed')
       AND finished_at >= cast(cast(:first AS date) AS timestamp) AT TIME ZONE 'UTC'
       AND finished_at < cast(cast(:last AS date) + 1 AS timestamp) AT TIME ZONE 'UTC'),
ratios AS (
    SELECT date, process_type, avg(ratio) AS ratio FROM (
        SELECT date, process_type, compression_ratio AS ratio
          FROM ended JOIN dom_visual_compressions ON job_id = ended.id
         UNION ALL
        SELECT date, process_type, cast(text_tokens AS double precision) / vision_tokens
          FROM ended JOIN pages ON job_id = ended.id
         WHERE ended.kind = 'ocr' AND pages.status = 'succeeded' AND vision_tokens > 0) AS each_page
     GROUP BY 1, 2),
days AS (
    SELECT date, process_type, count(*) AS documents, sum(pages_succeeded) AS pages, bool_or(expired) AS expired,
           coalesce(cast(sum(extract(epoch FROM took)) * 1000 AS bigint), 0) AS took_ms,
           cast(count(*) FILTER (WHERE succeeded) AS double precision) / count(*) AS success_rate
      FROM ended GROUP BY 1, 2),
counted AS (
    SELECT date, process_type, documents AS documents_processed, pages AS total_pages,
           CASE WHEN days.expired AND stored.avg_compression_ratio IS NOT NULL
                THEN stored.avg_compression_ratio ELSE ratios.ratio END AS avg_compression_ratio,
           took_ms AS total_processing_time,
           coalesce(stored.gpu_utilized, false) OR EXISTS
               (SELECT FROM ended JOIN pages ON pages.job_id = ended.id
                 WHERE ended.date = days.date AND ended.process_type = days.process_type
                   AND pages.node ~ '^gpu[0-9]+@') AS gpu_utilized,
           days.success_rate
      FROM days LEFT JOIN ratios USING (date, process_type)
           LEFT JOIN ocr_processing_stats AS stored USING (date, process_type))
"""

COLUMNS = """date, process_type, documents_processed, total_pages, avg_compression_ratio, total_processing_time,
    gpu_utilized, success_rate"""

ROLL_UP = f"""
INSERT INTO ocr_processing_stats ({COLUMNS}) {COUNTED} SELECT {COLUMNS} FROM counted
ON CONFLICT (date, process_type) DO UPDATE SET
    documents_processed = excluded.documents_processed, total_pages = excluded.total_pages,
    avg_compression_ratio = excluded.avg_compression_ratio, total_processing_time = excluded.total_processing_time,
    gpu_utilized = excluded.gpu_utilized, success_rate = excluded.success_rate
"""

NEWEST = f"""
{COUNTED}
SELECT {COLUMNS} FROM counted WHERE date > :before
 UNION ALL
SELECT {COLUMNS} FROM ocr_processing_stats WHERE date > :before AND date < :first
 ORDER BY date DESC, process_type
"""


@dataclass(frozen=True)
class Changing:
    """The days whose rows may be behind their jobs."""

    first: day
    today: day


def changing_days(connection: Connection) -> Changing:
    """The days to be counted again, by the database's clock."""
    row = connection.execute(text(CHANGING)).mappings().one()
    return Changing(row["first"], row["today"])


def roll_up(db: Database, since: day | None = None) -> None:
    """Bring the rows of all days that can have changed up to date, and those from `since` on.

    A day is one statement. Several may do this at once: the later one waits, and counts what the earlier did not see.
    """
    changing = db.run(changing_days)
    first = min(since or changing.first, changing.first)
    for n in range((changing.today - first).days + 1):
        roll_up_day(db, first + timedelta(days=n))


def roll_up_day(db: Database, date: day) -> None:
    """Count a day again, and store it."""

    def count(connection: Connection) -> None:
        lock = {"schema": db.schema, "lock": ROLL_UP_LOCK}
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:schema), :lock)"), lock)
        connection.execute(text(ROLL_UP), {"first": date, "last": date})

    db.run(count)


class Rounds:
    """Rolls up `pause_s` after the last time: later where that takes long, to be at it a twentieth of the time."""

    def __init__(self, pause_s: float) -> None:
        self.pause_s = pause_s
        self.due_at = float("-inf")

    def roll_up_if_due(self, db: Database) -> None:
        began = time.monotonic()
        if began < self.due_at:
            return
        roll_up(db)
        ended = time.monotonic()
        self.due_at = ended + max(self.pause_s, 19 * (ended - began))


class DayStats(Wire):
    """What became of the documents of one kind of work that ended on one day; total_processing_time in milliseconds."""

    date: day
    process_type: Literal["dom", "crawler", "manual"]
    documents_processed: int
    total_pages: int
    avg_compression_ratio: float | None
    total_processing_time: int
    gpu_utilized: bool
    success_rate: float


class StatsTotals(Wire):
    """Over all days: no ratio, for an average of averages would be none."""

    documents_processed: int
    total_pages: int
    total_processing_time: int
    gpu_utilized: bool
    success_rate: float | None


class ProcessingStats(Wire):
    """The last days, the newest first, `days` of them, with a row for each kind of work that ended on one."""

    days: int
    stats: tuple[DayStats, ...]
    totals: StatsTotals


def processing_stats(db: Database, days: int) -> ProcessingStats:
    """What was worked through on the last `days` days, today included, and until now."""

    def read(connection: Connection) -> Sequence[RowMapping]:
        changing = changing_days(connection)
        params = {
            "first": changing.first,
            "last": changing.today + timedelta(days=1),
            "before": changing.today - timedelta(days=days),
        }
        return connection.execute(text(NEWEST), params).mappings().all()

    stats = tuple(DayStats(**row) for row in db.run(read, engine=db.snapshots))
    return ProcessingStats(days=days, stats=stats, totals=_totals(stats))


def _totals(stats: Sequence[DayStats]) -> StatsTotals:
    documents = sum(row.documents_processed for row in stats)
    succeeded = sum(round(row.success_rate * row.documents_processed) for row in stats)
    return StatsTotals(
        documents_processed=documents,
        total_pages=sum(row.total_pages for row in stats),
        total_processing_time=sum(row.total_processing_time for row in stats),
        gpu_utilized=any(row.gpu_utilized for row in stats),
        success_rate=succeeded / documents if documents else None,
    )
