"""The source becomes pages: inspected once, then rasterised range by range inside the job's window.

Runs in prefork children, the only place that parses untrusted input; what kills a child is handled in `tasks`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawValue
from uuid import UUID

import structlog
from pydantic import SecretStr

from ocr_tasks.contract import select_pages
from ocr_tasks.errors import OcrError, SourceError
from ocr_tasks.jobs.finishing import renew_job, renew_range
from ocr_tasks.jobs.inspecting import InspectClaim, claim_inspect, fail_inspect, give_back_inspect, set_pages
from ocr_tasks.jobs.ranges import NewPage, RangeClaim, add_pages, claim_range, end_range, give_back_range
from workers.leases import Lease, renewed
from workers.runtime import Runtime
from workers.sources.documents import PageFailure, PageImage, inspect, rasterise, unlock
from workers.sources.limits import limits_of

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


def inspect_job(runtime: Runtime, job_id: UUID, password: SecretStr | None = None) -> str:
    """Find out how many pages a job has, and open its first ranges; returns what became of it, for the log."""
    settings = runtime.settings
    claim = claim_inspect(runtime.db, job_id, settings.lease_s)
    if claim is None:
        return "nothing to do"
    with renewed(lambda: renew_job(runtime.db, job_id, claim.attempt, settings.lease_s), settings.lease_s):
        try:
            found = _inspected(runtime, claim, password)
        except OcrError as error:
            if error.retryable:
                return _given_back(runtime, claim, password, error)
            log.info("source_refused", code=error.code, detail=error.detail)
            fail_inspect(runtime.db, claim, error)
            return f"failed: {error.code}"
    progress = set_pages(
        runtime.db, claim, source_pages=found.source_pages, pages_total=found.pages_total, prepared=found.prepared
    )
    if progress is None:
        return "refused: the claim was lost"
    runtime.flow.after(progress)
    return f"{found.pages_total} page(s)"


@dataclass(frozen=True)
class Inspected:
    """What a source holds: its pages, those that the job reads, and the blob of its decrypted copy if it needs one."""

    source_pages: int
    pages_total: int
    prepared: str | None


def _inspected(runtime: Runtime, claim: InspectClaim, password: SecretStr | None) -> Inspected:
    """Look into the source; raises TooManyPages, SourceError, InvalidPageRange."""
    source, limits = claim.source, limits_of(runtime.settings)
    word = password.get_secret_value() if password else None
    with runtime.blobs.as_path(source.blob) as path:
        source_pages = inspect(path, source.media_type, limits=limits, password=word)
        total = len(select_pages(claim.options.pages, source_pages, limit=runtime.settings.max_pages))
        if word is None:
            return Inspected(source_pages, total, None)
        # A file without a name: nothing decrypted is left behind, however this process ends.
        with tempfile.TemporaryFile() as copy:
            locked = unlock(path, source.media_type, copy, limits=limits, password=word)
            copy.seek(0)
            return Inspected(source_pages, total, runtime.blobs.put_stream(copy)[0] if locked else None)


def _given_back(runtime: Runtime, claim: InspectClaim, password: SecretStr | None, error: OcrError) -> str:
    """Queue a job again that no fault of its own kept from being inspected.

    The reconciler sends it, later; but it does not know the password, so that one goes out from here, after a pause.
    """
    if password is not None:
        stopping.wait(runtime.settings.resend_s)
    if give_back_inspect(runtime.db, claim) and password is not None:
        runtime.dispatch.entry(claim.job_id, claim.options.priority, password)
    return f"given back: {error.code}"


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
        """The range's pages, stored. A file that cannot be opened fails all that are left, with its reason."""
        source, limits = self.claim.source, limits_of(self.runtime.settings)
        left = list(self.claim.page_nos)
        with self.runtime.blobs.as_path(source.pages_blob) as path:
            try:
                for page in rasterise(path, source.media_type, self.claim.page_nos, limits=limits):
                    left.remove(page.page_no)
                    yield self._stored(page)
            except SourceError as error:
                yield from (NewPage(page_no, error=error.problem()) for page_no in left)

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
