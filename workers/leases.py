"""Leases are renewed while their holder works: one thread a node for pages, one a task for everything else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import structlog

from ocr_tasks.errors import OcrError
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.reading import lost_pages, renew_pages
from workers.engine import WorkId

log = structlog.get_logger(__name__)

# How often a node asks which of its pages were cancelled.
LOOK_S = 1.0


class Lease:
    """`lost` is set when the claim is no longer ours: stop working, what is stored will be refused."""

    def __init__(self) -> None:
        self.lost = threading.Event()


@contextmanager
def renewed(renew: Callable[[], bool], lease_s: float) -> Iterator[Lease]:
    """Call `renew` three times a lease until the block ends."""
    lease, over = Lease(), threading.Event()

    def run() -> None:
        while not over.wait(lease_s / 3):
            try:
                if not renew():
                    lease.lost.set()
                    return
            except OcrError as error:
                log.warning("lease_not_renewed", error=error.detail)
            except Exception:
                log.exception("lease_not_renewed")

    thread = threading.Thread(target=run, name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        over.set()
        thread.join(1)


class PageLeases:
    """All pages that a node holds, renewed in one statement; `on_lost` learns of those that are not ours any more."""

    def __init__(self, db: Database, lease_s: float, on_lost: Callable[[Collection[WorkId]], None]) -> None:
        self.db = db
        self.lease_s = lease_s
        self.on_lost = on_lost
        self._held: set[WorkId] = set()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="page-leases", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(5)

    @contextmanager
    def holding(self, page: WorkId) -> Iterator[None]:
        """Renew a page's lease until the block ends."""
        with self._lock:
            self._held.add(page)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(page)

    def _run(self) -> None:
        renewed_at = time.monotonic()
        while not self._over.wait(min(LOOK_S, self.lease_s / 3)):
            with self._lock:
                held = list(self._held)
            if not held:
                continue
            try:
                if time.monotonic() - renewed_at >= self.lease_s / 3:
                    lost = set(held) - {WorkId(*key) for key in renew_pages(self.db, held, self.lease_s)}
                    renewed_at = time.monotonic()
                else:
                    lost = {WorkId(*key) for key in lost_pages(self.db, held)}
            except OcrError as error:
                log.warning("leases_not_renewed", pages=len(held), error=error.detail)
                continue
            except Exception:
                log.exception("leases_not_renewed", pages=len(held))  # without this thread the node holds nothing
                continue
            if lost:
                log.info("pages_lost", pages=len(lost))
                self.on_lost(lost)
