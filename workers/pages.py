"""A page on a node: claim it, load its image, hand it to the batcher, store what came of it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from uuid import UUID

import structlog
from PIL import Image

from ocr_tasks.contract import PageResult
from ocr_tasks.errors import BlobMissing, OcrError, ServiceUnavailable, StorageFull
from ocr_tasks.jobs.compressions import stored_tokens
from ocr_tasks.jobs.reading import PageClaim, claim_page, fail_page, give_back_page, succeed_page
from ocr_tasks.kinds.options import TokenOptions
from workers.batcher import Withdrawn
from workers.encoding import Worked, worked_on
from workers.engine import PageWork, WorkId
from workers.figures import completed_links, cut_out
from workers.node import Node
from workers.visual import VisionTokens, unpack

log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    """What became of a page on this node, for the log and Flower; in small letters, a label of the metrics."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRIED = "failed, to be tried again"
    GIVEN_BACK = "given back"
    CANCELLED = "cancelled"
    REFUSED = "refused: the claim was lost"
    NOTHING = "nothing to do"


def read_page(node: Node, job_id: UUID, page_no: int) -> Outcome:
    """Read one page if it is still to be read; returns what became of it."""
    claim = claim_page(node.runtime.db, job_id, page_no, node=node.name, lease_s=node.runtime.settings.lease_s)
    if claim is None:
        return Outcome.NOTHING
    outcome = _read(node, claim)
    node.metrics.page_left(outcome.name.lower())
    return outcome


def _read(node: Node, claim: PageClaim) -> Outcome:
    work_id = WorkId(claim.job_id, claim.page_no, claim.attempt)
    with node.leases.holding(work_id):
        try:
            worked = worked_on(
                _work(node, claim, work_id), claim.options, lambda work: node.batcher.submit(work).result()
            )
            left = _left_behind(node, claim, worked)
        except Withdrawn:
            return _give_back(node, claim)
        except (ServiceUnavailable, StorageFull) as error:
            # Not the page's fault. Its message is not sent at once: the reconciler does, after a pause.
            log.warning("page_given_back", error=error.detail)
            give_back_page(node.runtime.db, claim)
            return Outcome.GIVEN_BACK
        except OcrError as error:  # what it is to be worked on from is not there, or is not what it should be
            return _fail(node, claim, error, charge=False)
        return _store(node, claim, worked, left)


def _work(node: Node, claim: PageClaim, work_id: WorkId) -> PageWork:
    options = claim.options
    return PageWork(
        id=work_id,
        load=partial(_load_image, node, claim) if claim.compression_id is None else partial(_load_tokens, node, claim),
        options=options.reading(),
        operations=options.operations(),
        priority=claim.priority,
        alone=claim.alone,
        source_text=claim.source_text,
        stored_as=options.dtype if isinstance(options, TokenOptions) else "int8",
    )


def _load_image(node: Node, claim: PageClaim) -> Image.Image:
    """A page's image, decoded; raises BlobMissing or ServiceUnavailable."""
    assert claim.image_blob is not None
    content = node.runtime.blobs.get(claim.image_blob)
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, ValueError) as error:
        raise BlobMissing("The stored image of this page is damaged.") from error
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _load_tokens(node: Node, claim: PageClaim) -> VisionTokens:
    """A page's vision tokens; raises NotFound, InvalidVisionTokens or ServiceUnavailable."""
    assert claim.compression_id is not None
    return unpack(stored_tokens(node.runtime.db, claim.compression_id))


@dataclass(frozen=True)
class LeftBehind:
    """Keys of what a page has in the blob store."""

    figures: list[str]
    tokens: str | None


def _left_behind(node: Node, claim: PageClaim, worked: Worked) -> LeftBehind:
    """Store a page's figures and vision tokens before its result: if that is refused, the collector takes them.

    Raises what an engine ended a page with when that was not the page's fault.
    """
    outcome, blobs = worked.answer.outcome, node.runtime.blobs
    if isinstance(outcome, ServiceUnavailable):
        raise outcome
    if not isinstance(outcome, PageResult):
        return LeftBehind([], None)
    figures = []
    if outcome.figures and claim.image_blob is not None:
        figures = [blobs.put(content) for content in cut_out(_load_image(node, claim), outcome.figures)]
    return LeftBehind(figures, blobs.put(worked.container) if worked.container else None)


def _store(node: Node, claim: PageClaim, worked: Worked, left: LeftBehind) -> Outcome:
    answer = worked.answer
    if isinstance(answer.outcome, PageResult):
        queue_ms = claim.waited_ms + answer.waited_ms
        links = completed_links(answer.outcome.markdown, claim.job_id, claim.page_no, len(left.figures))
        known = answer.source_text_tokens
        text_tokens = answer.outcome.text_tokens if known is None else known
        progress = succeed_page(
            node.runtime.db,
            claim,
            answer.outcome.model_copy(update={"markdown": links, "text_tokens": text_tokens}),
            figure_blobs=left.figures,
            tokens_blob=left.tokens,
            tokens=worked.stored,
            quality=worked.quality,
            engine=node.engine.name,
            revision=node.engine.revision,
            queue_ms=queue_ms,
        )
        log.info(
            "page_read" if progress else "page_refused",
            attempt=claim.attempt,
            queue_ms=queue_ms,
            inference_ms=answer.outcome.inference_ms,
            flags=list(answer.outcome.flags),
        )
        if progress is None:
            return Outcome.REFUSED
        node.metrics.page_read(answer.outcome, queue_ms)
        node.runtime.flow.after(progress)
        return Outcome.SUCCEEDED
    return _charge(node, claim, answer.outcome)


def _charge(node: Node, claim: PageClaim, error: OcrError) -> Outcome:
    """The page itself failed: it pays, and is tried again alone until it is out of failures."""
    limit = node.runtime.settings.page_failures
    log.warning("page_failed", error=error.detail, failures=claim.failures + 1, limit=limit)
    if claim.failures + 1 >= limit:
        return _fail(node, claim, error)
    if give_back_page(node.runtime.db, claim, error=error):
        node.runtime.dispatch.pages(claim.job_id, [claim.page_no], node.engine.name, claim.priority)
    return Outcome.RETRIED


def _fail(node: Node, claim: PageClaim, error: OcrError, *, charge: bool = True) -> Outcome:
    progress = fail_page(
        node.runtime.db, claim, error, engine=node.engine.name, revision=node.engine.revision, charge=charge
    )
    node.runtime.flow.after(progress)
    return Outcome.FAILED


def _give_back(node: Node, claim: PageClaim) -> Outcome:
    """Withdrawn: cancelled or claimed anew (then the row refuses), or this node stops and another goes on with it."""
    if not give_back_page(node.runtime.db, claim):
        return Outcome.CANCELLED
    node.runtime.dispatch.pages(claim.job_id, [claim.page_no], node.engine.name, claim.priority)
    return Outcome.GIVEN_BACK
