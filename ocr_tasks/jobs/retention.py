"""What is over goes: results and pages past their retention time, and bytes that nobody refers to.

Harvests and stored vision tokens have no such time: they stay until somebody deletes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from ocr_tasks.jobs.database import Database

AT_ONCE = 100


def expire_jobs(db: Database, retention_days: float) -> int:
    """Take the pages and results of old jobs away; their rows stay, so that a caller is told 410, not 404."""

    def expire(connection: Connection) -> int:
        ids: Sequence[UUID] = connection.execute(
            text(
                """
                UPDATE jobs SET expired_at = now(), result = NULL WHERE id IN
                    (SELECT id FROM jobs WHERE expired_at IS NULL
                        AND finished_at < now() - make_interval(secs => :seconds)
                      LIMIT :some FOR UPDATE SKIP LOCKED)
                RETURNING id
                """
            ),
            {"seconds": retention_days * 86400, "some": AT_ONCE},
        ).scalars().all()  # fmt: skip
        connection.execute(text("DELETE FROM pages WHERE job_id = ANY(:ids)"), {"ids": list(ids)})
        return len(ids)

    return db.run(expire)


UNREFERENCED = """
SELECT key FROM unnest(cast(:keys AS text[])) AS key
 WHERE NOT EXISTS (SELECT FROM pages WHERE image_blob = key)
   AND NOT EXISTS (SELECT FROM pages WHERE figure_blobs @> ARRAY[key])
   AND NOT EXISTS (SELECT FROM pages WHERE tokens_blob = key)
   AND NOT EXISTS (SELECT FROM dom_harvests WHERE dom_blob = key)
   AND NOT EXISTS (SELECT FROM dom_harvests WHERE image_blob = key)
   AND NOT EXISTS (SELECT FROM jobs WHERE source ->> 'blob' = key AND expired_at IS NULL)
   AND NOT EXISTS (SELECT FROM jobs WHERE source ->> 'prepared' = key
                      AND status NOT IN ('succeeded', 'failed', 'cancelled'))
   AND NOT EXISTS (SELECT FROM jobs WHERE jsonb_path_query_array(result, '$.*.blob') @> to_jsonb(key))
"""


def unreferenced(db: Database, keys: Sequence[str]) -> list[str]:
    """Those of the blob keys that no job, page or harvest refers to; to a decrypted copy, no job that is over does."""
    rows = db.all(
        UNREFERENCED,
        keys=list(keys),
    )
    return [row["key"] for row in rows]
