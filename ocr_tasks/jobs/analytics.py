"""What vision tokens cost and save, by the day and in all."""

from __future__ import annotations

from datetime import date as day
from typing import Any

from sqlalchemy import Connection, text

from ocr_tasks.contract import Wire
from ocr_tasks.jobs.database import Database

SINCE = "cast(now() AT TIME ZONE 'UTC' AS date) - :days"

BY_DAY = f"""
SELECT date, total_compressions, avg_ratio, max_ratio, total_savings, avg_efficiency
  FROM compression_analytics WHERE date > {SINCE} ORDER BY date DESC
"""

# The same expression as in the view, which its index is for.
PAGES = f"""
SELECT count(*) AS compressions, avg(compression_ratio) AS avg_compression_ratio,
       coalesce(sum(original_size), 0) AS original_bytes, coalesce(sum(compressed_size), 0) AS stored_bytes
  FROM dom_visual_compressions WHERE cast(created_at AT TIME ZONE 'UTC' AS date) > {SINCE}
"""

HARVESTS = f"""
SELECT count(*) AS harvests, coalesce(sum(dom_bytes), 0) AS dom_bytes, coalesce(sum(image_bytes), 0) AS image_bytes
  FROM dom_harvests WHERE created_at >= cast({SINCE} + 1 AS timestamp) AT TIME ZONE 'UTC'
"""


class CompressionDay(Wire):
    """A row of the view compression_analytics. Savings in bytes, negative where tokens need more than their source."""

    date: day
    total_compressions: int
    avg_ratio: float | None
    max_ratio: float | None
    total_savings: int
    avg_efficiency: float


class DomTotals(Wire):
    """Over all days.

    avg_compression_ratio: text tokens per vision token, of the pages whose text is known. byte_ratio: stored_bytes /
    original_bytes, above 1 where the vision tokens are larger than their sources. Both null when there is no page.
    dom_bytes, image_bytes: of the harvests.
    """

    compressions: int
    avg_compression_ratio: float | None
    byte_ratio: float | None
    original_bytes: int
    stored_bytes: int
    harvests: int
    dom_bytes: int
    image_bytes: int


class DomStats(Wire):
    """The last days, the newest first, `days` of them, with a row for each on which something was compressed."""

    days: int
    stats: tuple[CompressionDay, ...]
    totals: DomTotals


def dom_stats(db: Database, days: int) -> DomStats:
    """What was harvested and compressed on the last `days` days, today included."""

    def read(connection: Connection) -> DomStats:
        def rows(sql: str) -> list[dict[str, Any]]:
            return [dict(row) for row in connection.execute(text(sql), {"days": days}).mappings()]

        totals = rows(PAGES)[0] | rows(HARVESTS)[0]
        original, stored = totals["original_bytes"], totals["stored_bytes"]
        return DomStats(
            days=days,
            stats=tuple(CompressionDay(**row) for row in rows(BY_DAY)),
            totals=DomTotals(**totals, byte_ratio=float(stored / original) if original else None),
        )

    return db.run(read, engine=db.snapshots)
