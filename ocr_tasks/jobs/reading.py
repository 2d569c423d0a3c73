"""A page on an engine: claimed, renewed, and ended exactly once.

`attempt` is the fence: a page that was claimed anew refuses whoever held it before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from ocr_tasks.contract import PageResult, Priority, Wire
from ocr_tasks.errors import OcrError
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.progress import PROGRESS, Progress, progress_of
from ocr_tasks.kinds.options import JobOptions, options_of


class StoredTokens(Wire):
    """Vision tokens of a page in the blob store: which, of which model, and in how many bytes."""

    dtype: str
    model: str
    revision: str
    size_bytes: int


@dataclass(frozen=True)
class PageClaim:
    """The right to work on a page: it has an image, or vision tokens under `compression_id`.

    waited_ms: since it was stored; alone: it may share the engine with none; source_text: what is known to stand on it.
    """

    job_id: UUID
    page_no: int
    attempt: int
    failures: int
    image_blob: str | None
    compression_id: UUID | None
    source_text: str | None
    waited_ms: int
    alone: bool
    options: JobOptions
    priority: Priority


def claim_page(db: Database, job_id: UUID, page_no: int, *, node: str, lease_s: float) -> PageClaim | None:
    """Take a queued page of a running job; None when there is nothing to do."""
    row = db.one(
        """
        UPDATE pages SET status = 'running', attempt = pages.attempt + 1, node = :node,
               lease_until = now() + make_interval(secs => :lease)
          FROM jobs
         WHERE pages.job_id = :job AND pages.page_no = :page AND pages.status = 'queued'
           AND jobs.id = pages.job_id AND jobs.status = 'running'
        RETURNING pages.job_id, pages.page_no, pages.attempt, pages.failures, pages.image_blob, pages.compression_id,
                  pages.source_text, pages.isolation <> 'none' AS alone, jobs.kind, jobs.options, jobs.priority,
                  cast(extract(epoch FROM now() - pages.created_at) * 1000 AS integer) AS waited_ms
        """,
        job=job_id,
        page=page_no,
        node=node,
        lease=lease_s,
    )
    if row is None:
        return None
    return PageClaim(
        job_id=row["job_id"],
        page_no=row["page_no"],
        attempt=row["attempt"],
        failures=row["failures"],
        image_blob=row["image_blob"],
        compression_id=row["compression_id"],
        source_text=row["source_text"],
        waited_ms=row["waited_ms"],
        alone=row["alone"],
        options=options_of(row["kind"], row["options"]),
        priority=Priority(row["priority"]),
    )


def mark_alone(db: Database, job_id: UUID, page_no: int, attempt: int, *, inside: bool) -> bool:
    """Note that a suspect page enters its engine, alone, or has left it: whoever is inside when a node dies did it."""
    return db.changes_one(
        """
        UPDATE pages SET isolation = :isolation
         WHERE job_id = :job AND page_no = :page AND attempt = :attempt AND status = 'running'
        """,
        job=job_id,
        page=page_no,
        attempt=attempt,
        isolation="alone" if inside else "suspect",
    )


FINISH = """
WITH job AS (SELECT id FROM jobs WHERE id = :job AND status = 'running' FOR UPDATE),
ended AS (
    UPDATE pages SET {changes}, lease_until = NULL, finished_at = now()
      FROM job WHERE pages.job_id = job.id AND page_no = :page AND attempt = :attempt AND pages.status = 'running'
    RETURNING pages.job_id)
UPDATE jobs SET {counter} = {counter} + 1,
       status = CASE WHEN pages_succeeded + pages_failed + 1 = pages_total THEN 'finishing' ELSE status END,
       sent_at = CASE WHEN pages_succeeded + pages_failed + 1 = pages_total THEN now() ELSE sent_at END,
       sends = 0
  FROM ended WHERE jobs.id = ended.job_id RETURNING {progress}
"""

SUCCEED = FINISH.format(
    changes="""status = 'succeeded', isolation = 'none', error = NULL, text = :text, markdown = :markdown,
           blocks = :blocks, figure_blobs = :figure_blobs, flags = :flags,
           vision_tokens = :vision_tokens, text_tokens = :text_tokens, tokens_blob = :tokens_blob, tokens = :tokens,
           quality = :quality,
           engine = :engine, revision = :revision, mode = :mode, retried_from = :retried_from,
           queue_ms = :queue_ms, inference_ms = :inference_ms""",
    counter="pages_succeeded",
    progress=PROGRESS,
)

FAIL = FINISH.format(
    changes="status = 'failed', failures = failures + :charge, error = :error, engine = :engine, revision = :revision",
    counter="pages_failed",
    progress=PROGRESS,
)


def succeed_page(
    db: Database,
    claim: PageClaim,
    result: PageResult,
    *,
    engine: str,
    revision: str,
    queue_ms: int,
    figure_blobs: Sequence[str] = (),
    tokens_blob: str | None = None,
    tokens: StoredTokens | None = None,
    quality: float | None = None,
) -> Progress | None:
    """Store a page's result and count it, in one statement; None when the claim was lost or the job is over."""
    row = db.one(
        SUCCEED,
        job=claim.job_id,
        page=claim.page_no,
        attempt=claim.attempt,
        text=_storable(result.text),
        markdown=_storable(result.markdown),
        blocks=json.dumps([_storable_block(block.wire()) for block in result.blocks]),
        figure_blobs=list(figure_blobs),
        flags=list(result.flags),
        vision_tokens=result.vision_tokens,
        text_tokens=result.text_tokens,
        tokens_blob=tokens_blob,
        tokens=tokens and tokens.model_dump_json(by_alias=True),
        quality=quality,
        mode=result.mode,
        retried_from=result.retried_from,
        inference_ms=result.inference_ms,
        engine=engine,
        revision=revision,
        queue_ms=queue_ms,
    )
    return progress_of(row) if row else None


def fail_page(
    db: Database, claim: PageClaim, error: OcrError, *, engine: str, revision: str, charge: bool = True
) -> Progress | None:
    """Give a page up, with its reason; None when the claim was lost or the job is over."""
    row = db.one(
        FAIL,
        job=claim.job_id,
        page=claim.page_no,
        attempt=claim.attempt,
        error=json.dumps(error.problem()),
        charge=int(charge),
        engine=engine,
        revision=revision,
    )
    return progress_of(row) if row else None


def give_back_page(db: Database, claim: PageClaim, *, error: OcrError | None = None) -> bool:
    """Put a page back in its queue. With `error`, the failure is the page's own: charged, and it runs alone next."""
    return db.changes_one(
        """
        UPDATE pages SET status = 'queued', lease_until = NULL, sent_at = now(), failures = failures + :charge,
               isolation = CASE WHEN :charge = 1 OR isolation <> 'none' THEN 'suspect' ELSE 'none' END,
               error = coalesce(cast(:error AS jsonb), error)
         WHERE job_id = :job AND page_no = :page AND attempt = :attempt AND status = 'running'
        """,
        job=claim.job_id,
        page=claim.page_no,
        attempt=claim.attempt,
        charge=int(error is not None),
        error=json.dumps(error.problem()) if error else None,
    )


def give_back_pages(db: Database, held: Sequence[tuple[UUID, int, int]]) -> int:
    """Put pages (job, page, attempt) that never were in an engine back in their queue; returns how many were."""
    return db.execute(
        """
        UPDATE pages SET status = 'queued', lease_until = NULL, sent_at = now()
          FROM unnest(cast(:jobs AS uuid[]), cast(:pages AS integer[]), cast(:attempts AS integer[]))
               AS held (job_id, page_no, attempt)
         WHERE pages.job_id = held.job_id AND pages.page_no = held.page_no AND pages.attempt = held.attempt
           AND pages.status = 'running'
        """,
        **_columns(held),
    )


def renew_pages(db: Database, held: Sequence[tuple[UUID, int, int]], lease_s: float) -> set[tuple[UUID, int, int]]:
    """Extend the leases of (job, page, attempt) in one statement; returns those that are still held.

    One that is missing from the answer was cancelled or claimed anew: let go of it.
    """
    rows = db.all(
        """
        UPDATE pages SET lease_until = now() + make_interval(secs => :lease)
          FROM unnest(cast(:jobs AS uuid[]), cast(:pages AS integer[]), cast(:attempts AS integer[]))
               AS held (job_id, page_no, attempt)
         WHERE pages.job_id = held.job_id AND pages.page_no = held.page_no AND pages.attempt = held.attempt
           AND pages.status = 'running'
        RETURNING pages.job_id, pages.page_no, pages.attempt
        """,
        **_columns(held),
        lease=lease_s,
    )
    return {(row["job_id"], row["page_no"], row["attempt"]) for row in rows}


def end_leases_of(db: Database, node: str) -> None:
    """A node starts: what it held before it died is not waited for any longer."""
    db.execute(
        "UPDATE pages SET lease_until = now() WHERE node = :node AND status = 'running' AND lease_until > now()",
        node=node,
    )


def lost_pages(db: Database, held: Sequence[tuple[UUID, int, int]]) -> set[tuple[UUID, int, int]]:
    """Those of (job, page, attempt) that are no longer held, without writing anything: asked once a second."""
    rows = db.all(
        """
        SELECT held.job_id, held.page_no, held.attempt
          FROM unnest(cast(:jobs AS uuid[]), cast(:pages AS integer[]), cast(:attempts AS integer[]))
               AS held (job_id, page_no, attempt)
         WHERE NOT EXISTS (SELECT FROM pages WHERE pages.job_id = held.job_id AND pages.page_no = held.page_no
                              AND pages.attempt = held.attempt AND pages.status = 'running')
        """,
        **_columns(held),
    )
    return {(row["job_id"], row["page_no"], row["attempt"]) for row in rows}


def _columns(held: Sequence[tuple[UUID, int, int]]) -> dict[str, list[str] | list[int]]:
    return {
        "jobs": [str(job_id) for job_id, _, _ in held],
        "pages": [page_no for _, page_no, _ in held],
        "attempts": [attempt for _, _, attempt in held],
    }


def _storable(text: str) -> str:
    """Postgres takes no NUL in text, and no lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _storable_block(block: dict[str, object]) -> dict[str, object]:
    return block | {"text": _storable(str(block["text"]))}
