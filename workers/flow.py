"""What follows a step: the next ranges inside the job's window, or its finish."""

from __future__ import annotations

import threading
import time
from uuid import UUID

import structlog

from ocr_tasks.contract import Priority, Status
from ocr_tasks.dispatch import Dispatcher
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.nodes import Live, live_nodes
from ocr_tasks.jobs.progress import Progress
from ocr_tasks.jobs.ranges import release_ranges
from ocr_tasks.settings import Settings
from workers.publish import Publisher

log = structlog.get_logger(__name__)

# While no node is live, a job still prepares this many pages, so that a node that starts finds work.
SMALL_WINDOW = 8
# Where many jobs share the nodes, each still moves on.
SMALLEST_WINDOW = 2
LIVE_KEPT_S = 2.0


def default_threads(capacity: int) -> int:
    """Task threads of a node with an engine of this capacity, in pages.

    A thread holds a page while it waits for the engine, ids and no image: so many jobs' pages stand in the batcher's
    fair order instead of one behind the other in Redis.
    """
    return max(64, 3 * capacity)


def window_of(live: Live, *, factor: int, threads: int | None) -> int:
    """Pages that one job may have in flight: a multiple of the capacity, and together no more than threads take in."""
    taken_in = sum(threads or default_threads(capacity) for capacity in live.capacities) or default_threads(0)
    share = taken_in // max(1, live.running_jobs)
    return max(SMALLEST_WINDOW, min(max(SMALL_WINDOW, factor * sum(live.capacities)), share))


class Flow:
    """Moves jobs on. Every message is sent after its commit; one that is lost is sent by the reconciler."""

    def __init__(self, settings: Settings, db: Database, dispatch: Dispatcher, publisher: Publisher) -> None:
        self.settings = settings
        self.db = db
        self.dispatch = dispatch
        self.publisher = publisher
        self._windows: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def window(self, engine: str) -> int:
        """Pages that one job may have in flight now."""
        with self._lock:
            read_at, pages = self._windows.get(engine, (0.0, 0))
            if time.monotonic() - read_at > LIVE_KEPT_S:
                settings = self.settings
                live = live_nodes(self.db, engine)
                pages = window_of(live, factor=settings.window_factor, threads=settings.engine_threads)
                self._windows[engine] = time.monotonic(), pages
            return pages

    def after(self, progress: Progress | None) -> None:
        """A step ended: go on with the next ranges, or finish the job. None: somebody else moved it."""
        if progress is None:
            return
        self.publisher.progress(progress)
        if progress.status == Status.FINISHING:
            self.dispatch.finish(progress.job_id, progress.priority)
        elif progress.total is not None and progress.released < progress.total:
            window = self.window(progress.engine)
            if progress.in_flight <= window - max(1, window // 4) or progress.in_flight == 0:
                self.release(progress.job_id, progress.engine, progress.priority)

    def release(self, job_id: UUID, engine: str, priority: Priority) -> int:
        """Open the ranges that the window has room for, and send them; returns how many."""
        opened = release_ranges(self.db, job_id, window=self.window(engine), range_pages=self.settings.range_pages)
        self.dispatch.ranges(job_id, opened, priority)
        return len(opened)
