"""A page on a node: claim it, load its image, hand it to the batcher, store what came of it."""

from __future__ import annotations

import io
from enum import StrEnum
from functools import partial
from uuid import UUID

import structlog
from PIL import Image

from ocr_tasks.contract import PageResult
from ocr_tasks.errors import BlobMissing, InvalidVisionTokens, OcrError, ServiceUnavailable, StorageFull
from ocr_tasks.jobs.reading import PageClaim, claim_page, fail_page, give_back_page, succeed_page
from workers.batcher import Answer, Withdrawn
from workers.engine import PageWork, WorkId
from workers.figures import completed_links, cut_out
from workers.node import Node

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
            answer = node.batcher.submit(_work(node, claim, work_id)).result()
            figure_blobs = _store_figures(node, claim, answer.outcome)
        except Withdrawn:
            return _give_back(node, claim)
        except (ServiceUnavailable, StorageFull) as error:
            # Not the page's fault. Its message is not sent at once: the reconciler does, after a pause.
            log.warning("page_given_back", error=error.detail)
            give_back_page(node.runtime.db, claim)
            return Outcome.GIVEN_BACK
        except BlobMissing as error:
            return _fail(node, claim, error, charge=False)
        except InvalidVisionTokens as error:
            return _fail(node, claim, error)
        return _store(node, claim, answer, figure_blobs)


def _work(node: Node, claim: PageClaim, work_id: WorkId) -> PageWork:
    return PageWork(
        id=work_id,
        load=partial(_load, node, claim.image_blob),
        options=claim.options,
        operations=claim.options.operations(),
        priority=claim.priority,
        alone=claim.alone,
    )


def _load(node: Node, image_blob: str) -> Image.Image:
    """A page's image, decoded; raises BlobMissing or ServiceUnavailable."""
    content = node.runtime.blobs.get(image_blob)
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, ValueError) as error:
        raise BlobMissing("The stored image of this page is damaged.") from error
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _store_figures(node: Node, claim: PageClaim, outcome: PageResult | OcrError) -> list[str]:
    """Keys of a result's figures, cut out and stored before it is: if it is refused, the collector takes them.

    Raises what an engine ended a page with when that was not the page's fault.
    """
    if isinstance(outcome, ServiceUnavailable):
        raise outcome
    if not isinstance(outcome, PageResult) or not outcome.figures:
        return []
    page = _load(node, claim.image_blob)
    return [node.runtime.blobs.put(content) for content in cut_out(page, outcome.figures)]


def _store(node: Node, claim: PageClaim, answer: Answer, figure_blobs: list[str]) -> Outcome:
    if isinstance(answer.outcome, PageResult):
        queue_ms = claim.waited_ms + answer.waited_ms
        links = completed_links(answer.outcome.markdown, claim.job_id, claim.page_no, len(figure_blobs))
        progress = succeed_page(
            node.runtime.db,
            claim,
            answer.outcome.model_copy(update={"markdown": links}),
            figure_blobs=figure_blobs,
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
