"""Waiting pages -> engine -> futures: one thread owns the engine, best priority first, free slots filled at once.

Knows no torch and no Celery. Within a lane, jobs take turns (start-time fair queueing over pages), so a small job
does not stand behind all the pages of a large one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future

import structlog

from ocr_tasks.errors import EngineFailed, OcrError, PageTimeout
from workers.engine import DeviceLost, Engine, OutOfMemory, PageDone, PageWork, WorkId
from workers.observing import Observer, Unobserved
from workers.waiting import Answer, Entry, WaitingList, Withdrawn
from workers.watchdog import Watchdog

__all__ = ["Answer", "Batcher", "Withdrawn"]

log = structlog.get_logger(__name__)

IDLE_WAIT_S = 0.5


class Batcher:
    """Drives an engine. page_timeout_s: in the engine; step_timeout_s: for one step, then `on_hang` is called once.

    on_alone: told before a page enters the engine alone, and (inside=False) when it has left it again, so that a death
    of the process in between can be laid at its door; False when the page is not ours any more.
    on_hang: called from the watchdog's thread; the engine's thread cannot be helped, so it should end the process.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        page_timeout_s: float,
        step_timeout_s: float,
        on_hang: Callable[[str], None],
        on_alone: Callable[[WorkId, bool], bool] = lambda page, inside: True,
        observer: Observer | None = None,
    ) -> None:
        self.engine = engine
        self.page_timeout_s = page_timeout_s
        self.on_alone = on_alone
        self.on_hang = on_hang
        self.observer = observer or Unobserved()
        self.inside: dict[WorkId, Entry] = {}
        self.waiting = WaitingList()
        self._wake = threading.Condition()
        self._unwanted: set[WorkId] = set()
        self._stop_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        late = f"an engine step took longer than {step_timeout_s:g} s"
        self._watchdog = Watchdog(self._thread, step_timeout_s, lambda: on_hang(late))

    # -- called from task threads ------------------------

    def start(self) -> None:
        self._thread.start()
        self._watchdog.start()

    def submit(self, work: PageWork) -> Future[Answer]:
        """Let a page wait for the engine; the future ends with an Answer, or with Withdrawn."""
        with self._wake:
            entry = self.waiting.entry_of(work)
            if self._stop_at is None:
                self.waiting.add(entry)
                self._wake.notify()
            else:
                entry.future.set_exception(Withdrawn())
        return entry.future

    def withdraw(self, ids: Collection[WorkId]) -> None:
        """Nobody waits for these pages any more: they leave before the engine's next step."""
        with self._wake:
            self._unwanted.update(ids)
            self._wake.notify()

    def outside(self) -> list[WorkId]:
        """The pages that wait, and never were in the engine on this attempt."""
        with self._wake:
            return self.waiting.never_admitted()

    def stop(self, grace_s: float) -> None:
        """Take nothing more in; pages in the engine may end within the grace, the others are withdrawn.

        Returns at once; `join` waits.
        """
        with self._wake:
            self._stop_at = min(time.monotonic() + grace_s, self._stop_at or float("inf"))
            self._wake.notify()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until the engine is let go of; False when that took longer than the timeout."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # -- the engine's thread -----------------------------

    def _run(self) -> None:
        try:
            while not self._over():
                self._evict()
                self._admit()
                if self.inside:
                    self._step()
                else:
                    self._rest()
            self._let_go()
        except DeviceLost as error:
            log.critical("device_lost", engine=self.engine.name, pages=len(self.inside), exc_info=True)
            self.on_hang(f"the device is lost: {error}")
        except BaseException as error:
            log.exception("batcher_died")
            self.on_hang(f"the batcher's thread died: {error!r}")
            raise

    def _over(self) -> bool:
        if self._stop_at is None:
            return False
        return not self.inside or time.monotonic() >= self._stop_at

    def _evict(self) -> None:
        """Let go of pages that nobody waits for, and of those that have been in the engine for too long."""
        with self._wake:
            unwanted, self._unwanted = self._unwanted, set()
            left = self.waiting.drop(unwanted if self._stop_at is None else None)
        late_since = time.monotonic() - self.page_timeout_s
        late = {page for page, entry in self.inside.items() if entry.admitted_at < late_since} - unwanted
        gone = [page for page in self.inside if page in unwanted or page in late]
        if gone:
            self.engine.evict(gone)
        for entry in left + [self._take_out(page) for page in gone]:
            if entry.work.id in late:
                limit = self.page_timeout_s
                entry.fail(PageTimeout(f"The page was in the engine for more than {limit:g} s.", limit=limit))
            else:
                entry.future.set_exception(Withdrawn())

    def _admit(self) -> None:
        """Fill the free slots, best first. A page that must be alone waits until the engine is empty."""
        with self._wake:
            admitted = self.waiting.take(self._has_room)
            soon = self.waiting.best(self.engine.capacity)
        self.waiting.decode([*admitted, *soon])
        for entry in admitted:
            if not entry.is_loaded():
                continue
            entry.admitted_at = time.monotonic()
            if entry.work.alone and not self._marked_alone(entry.work.id, inside=True):
                entry.future.set_exception(Withdrawn())
                return
            self.inside[entry.work.id] = entry
        works = [entry.work for entry in admitted if entry.work.id in self.inside]
        if works:
            self._guarded(lambda: self.engine.admit(works))

    def _marked_alone(self, page: WorkId, *, inside: bool) -> bool:
        try:
            return self.on_alone(page, inside)
        except OcrError as error:
            log.warning("page_not_marked", error=error.detail)
            return False

    def _take_out(self, page: WorkId) -> Entry:
        entry = self.inside.pop(page)
        if entry.work.alone:
            self._marked_alone(page, inside=False)
        return entry

    def _has_room(self, entry: Entry, admitted: list[Entry]) -> bool:
        if self._stop_at is not None:
            return False
        inside = [*self.inside.values(), *admitted]
        if entry.work.alone or any(other.work.alone for other in inside):
            return not inside
        return len(inside) < self.engine.capacity

    def _step(self) -> None:
        for done in self._guarded(self._observed_step):
            self._resolve(done)

    def _observed_step(self) -> Sequence[PageDone]:
        pages, began = len(self.inside), time.monotonic()
        ended = self.engine.step()
        self.observer.stepped(pages, time.monotonic() - began)
        return ended

    def _guarded(self, call: Callable[[], Sequence[PageDone] | None]) -> Sequence[PageDone]:
        """Call the engine under the watchdog. When it raises, what was in it is run again one page at a time.

        When it only ran out of memory, it is run again as many pages at a time as there now is room for.
        """
        capacity = self.engine.capacity
        try:
            with self._watchdog.watching():
                return call() or ()
        except DeviceLost:
            raise
        except OutOfMemory as error:
            self.observer.raised(out_of_memory=True)
            self._run_again_in_less(error, capacity)
            return []
        except Exception as error:
            self.observer.raised(out_of_memory=False)
            log.exception("engine_raised", engine=self.engine.name, pages=len(self.inside))
            self._run_again_alone(error)
            return []

    def _run_again_in_less(self, error: OutOfMemory, capacity: int) -> None:
        """The device is full: what was in it waits again at its old place, and nobody is charged.

        capacity: before the error; an engine that did not lower it would run out of memory for ever.
        """
        log.warning("out_of_memory", engine=self.engine.name, pages=len(self.inside), capacity=self.engine.capacity)
        if len(self.inside) == 1 and capacity <= 1:
            self._empty()[0].fail(EngineFailed("The page does not fit into the device's memory, not even alone."))
        elif self.engine.capacity < capacity:
            self._wait_again(self._empty())
        else:
            self._run_again_alone(error)

    def _run_again_alone(self, error: Exception) -> None:
        entries = self._empty()
        if len(entries) == 1:
            entries[0].fail(EngineFailed(f"The engine failed on this page: {type(error).__name__}."))
        else:
            self._wait_again(entries, alone=True)

    def _empty(self) -> list[Entry]:
        """Take everything out of an engine that raised."""
        entries = [self._take_out(page) for page in list(self.inside)]
        self.engine.evict([entry.work.id for entry in entries])
        return entries

    def _wait_again(self, entries: Sequence[Entry], *, alone: bool = False) -> None:
        with self._wake:
            self.waiting.add_again(entries, alone=alone)

    def _resolve(self, done: PageDone) -> None:
        if done.id in self.inside:
            self._take_out(done.id).answer(done)

    def _rest(self) -> None:
        with self._wake:
            if not self.waiting and not self._unwanted and self._stop_at is None:
                self._wake.wait(IDLE_WAIT_S)

    def _let_go(self) -> None:
        self.withdraw(list(self.inside))
        self._evict()
        self.waiting.close()
        self.engine.close()
