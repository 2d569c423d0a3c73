"""The source becomes pages, range by range inside the job's window.

Runs in prefork children, the only place that parses untrusted input; what kills a child is handled in `tasks`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.sharedctypes import RawValue
from uuid import UUID

import structlog

from ocr_tasks.contract import Kind
from ocr_tasks.errors import NotFound, OcrError, SourceError
from ocr_tasks.jobs.compressions import compressions_of_job
from ocr_tasks.jobs.finishing import renew_range
from ocr_tasks.jobs.harvests import PageSpan, TextRun, get_harvest
from ocr_tasks.jobs.ranges import NewPage, RangeClaim, add_pages, claim_range, end_range, give_back_range
from workers.leases import Lease, renewed
from workers.runtime import Runtime
from workers.sources.documents import PageFailure, PageImage, rasterise
from workers.sources.limits import limits_of
from workers.sources.screenshots import cut_out, text_on

log = structlog.get_logger(__name__)


class StopFlag:
    """Shared by a parent and the children that it forks later.

    No multiprocessing.Event: a child that is killed while it looks would keep that one's lock for ever.
    """

    def __init__(self) -> None:
        self._raised = RawValue("b", 0)

    def set(self) -> None:
        self._raised.value = 1

    def is_set(self) -> bool:
        return bool(self._raised.value)

    def wait(self, seconds: float) -> None:
        """Until it is set, or so long."""
        until = time.monotonic() + seconds
        while not self.is_set() and time.monotonic() < until:
            time.sleep(0.05)


# Set by the parent when it stops: children give the rest of their range back.
stopping = StopFlag()

# Pages are stored and sent as soon as they are there, but not more often than this.
FLUSH_S = 0.05


def prepare_range(runtime: Runtime, range_id: int) -> str:
    """Rasterise the pages of a range that are still missing; each is sent as soon as it is stored."""
    settings = runtime.settings
    claim = claim_range(runtime.db, range_id, settings.lease_s)
    if claim is None:
        return "nothing to do"
    structlog.contextvars.bind_contextvars(job_id=str(claim.job_id))
    with renewed(lambda: renew_range(runtime.db, range_id, claim.attempt, settings.lease_s), settings.lease_s) as lease:
        try:
            finished = RangeInWork(runtime, claim, lease).run()
        except OcrError as error:
            if not error.retryable:
                raise
            log.warning("range_given_back", error=error.detail)
            give_back_range(runtime.db, claim)
            return f"given back: {error.code}"
    if finished:
        end_range(runtime.db, claim)
        return f"{len(claim.page_nos)} page(s)"
    if give_back_range(runtime.db, claim):
        runtime.dispatch.ranges(claim.job_id, [range_id], claim.priority)
    return "stopped"


@dataclass
class RangeInWork:
    """One range on its way; `run` tells whether it came to its end."""

    runtime: Runtime
    claim: RangeClaim
    lease: Lease
    ready: list[NewPage] = field(default_factory=list)
    flushed_at: float = field(default_factory=time.monotonic)

    def run(self) -> bool:
        for page in self._pages():
            self.ready.append(page)
            if time.monotonic() - self.flushed_at >= FLUSH_S and not self._flush():
                return False
            if stopping.is_set() or self.lease.lost.is_set():
                self._flush()
                return False
        return self._flush()

    def _pages(self) -> Iterator[NewPage]:
        if self.claim.kind == Kind.DECOMPRESS:
            return self._of_stored_tokens()
        return self._of_file() if self.claim.source.harvest_id is None else self._of_harvest()

    def _of_file(self) -> Iterator[NewPage]:
        """The range's pages, stored. A file that cannot be opened fails all that are left, with its reason."""
        source, limits = self.claim.source, limits_of(self.runtime.settings)
        assert source.media_type is not None
        left = list(self.claim.page_nos)
        with self.runtime.blobs.as_path(source.pages_blob) as path:
            try:
                for page in rasterise(path, source.media_type, self.claim.page_nos, limits=limits):
                    left.remove(page.page_no)
                    yield self._stored(page)
            except SourceError as error:
                yield from (NewPage(page_no, error=error.problem()) for page_no in left)

    def _of_harvest(self) -> Iterator[NewPage]:
        """Pages cut out of a screenshot, with what stands on each of them; all fail if somebody has deleted it."""
        assert self.claim.source.harvest_id is not None
        try:
            row = get_harvest(self.runtime.db, self.claim.source.harvest_id)
        except NotFound as error:
            yield from (NewPage(page_no, error=error.problem()) for page_no in self.claim.page_nos)
            return
        spans = {span.page_no: span for span in map(PageSpan.model_validate, row["pages"])}
        wanted = [spans[page_no] for page_no in self.claim.page_nos]
        runs = [TextRun.model_validate(run) for run in row["text_runs"]]
        with self.runtime.blobs.as_path(row["image_blob"]) as path:
            for span, page in zip(wanted, cut_out(path, wanted, self.runtime.settings.max_page_pixels), strict=True):
                yield replace(self._stored(page), offset_y=span.top, source_text=text_on(span, runs))

    def _of_stored_tokens(self) -> Iterator[NewPage]:
        """Pages whose image nobody needs: an engine is given their vision tokens. Those that were deleted fail."""
        assert self.claim.source.compressed_by is not None
        stored = compressions_of_job(self.runtime.db, UUID(self.claim.source.compressed_by))
        rows = {row["page_no"]: row for row in stored}
        for page_no in self.claim.page_nos:
            if page_no not in rows:
                yield NewPage(page_no, error=NotFound("The vision tokens of this page were deleted.").problem())
                continue
            row = rows[page_no]
            yield NewPage(
                page_no, width=row["width"], height=row["height"], offset_y=row["offset_y"], compression_id=row["id"]
            )

    def _stored(self, page: PageImage | PageFailure) -> NewPage:
        if isinstance(page, PageFailure):
            return NewPage(page.page_no, error=page.error.problem())
        return NewPage(
            page.page_no,
            image_blob=self.runtime.blobs.put(page.content),
            media_type=page.media_type,
            width=page.width,
            height=page.height,
            dpi=page.dpi,
        )

    def _flush(self) -> bool:
        """Add what is ready and send it; False when the range is not ours any more."""
        if not self.ready:
            return True
        added = add_pages(self.runtime.db, self.claim, self.ready)
        self.ready, self.flushed_at = [], time.monotonic()
        if added is None:
            return False
        progress = added.progress
        self.runtime.dispatch.pages(progress.job_id, added.queued, progress.engine, progress.priority)
        self.runtime.flow.after(progress)
        return True
