"""The child of `apart`: an engine and the loop that steps it."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection

import structlog

from ocr_tasks.logs import configure_logs
from ocr_tasks.settings import Settings
from workers.engine import DeviceLost, Engine, OutOfMemory, PageDone, WorkId
from workers.engine.apart import ALIVE_S, Admit, Ask, EngineRaised, Evict, Ready, Report
from workers.engine.apart_pages import Inbox

log = structlog.get_logger(__name__)


class Loop:
    """Steps an engine for as long as it holds pages; takes what the node sends in between."""

    def __init__(self, link: Connection, engine: Engine) -> None:
        self.link = link
        self.engine = engine
        self.held: set[WorkId] = set()
        self.inbox = Inbox()
        self.sent: queue.SimpleQueue[Admit | Evict | Ask] = queue.SimpleQueue()
        self.reported_at = time.monotonic()
        threading.Thread(target=self._listen, name="engine-listener", daemon=True).start()

    def run(self) -> None:
        """For ever: the listener ends the process with the link."""
        while True:
            self._take()
            if self.held:
                self._step()

    def _listen(self) -> None:
        """Hand on what comes; when nothing can any more, the node is gone, and a hanging device no excuse to stay."""
        with suppress(EOFError, OSError):
            while True:
                self.sent.put(self.link.recv())
        os._exit(0)

    def _take(self) -> None:
        """Do what was sent meanwhile; wait for something while the engine is empty."""
        while not self.sent.empty() or not self.held:
            message = self.sent.get()
            if isinstance(message, Admit):
                works = [self.inbox.received(work) for work in message.works]
                self.held.update(work.id for work in works)
                self.engine.admit(works)
            elif isinstance(message, Evict):
                self._let_go(message.ids)
                self.engine.evict(message.ids)
            else:
                self._report([])

    def _step(self) -> None:
        try:
            done = list(self.engine.step())
        except Exception as error:
            # Its own type may be unknown to the node, or not survive the way.
            raised = (
                error
                if isinstance(error, OutOfMemory | DeviceLost)
                else EngineRaised(f"{type(error).__name__}: {error}")
            )
            log.exception("engine_raised_apart", pages=len(self.held))
            self._let_go(list(self.held))
            self._report([], raised)
            return
        self.held.difference_update(page.id for page in done)
        if done or time.monotonic() - self.reported_at > ALIVE_S:
            self._report(done)

    def _let_go(self, ids: Collection[WorkId]) -> None:
        self.held.difference_update(ids)
        for work_id in ids:
            self.inbox.forget(work_id)

    def _report(self, done: list[PageDone], raised: Exception | None = None) -> None:
        self.reported_at = time.monotonic()
        self.link.send(Report([self.inbox.sent(page) for page in done], self.engine.capacity, raised))


def main(descriptor: int) -> None:
    """Load what the node asks for, say so, and serve it."""
    link = Connection(descriptor)
    settings, loader = link.recv()
    configure_logs(settings, worker="engine")
    module, function = loader.split(":")
    try:
        load: Callable[[Settings], Engine] = getattr(import_module(module), function)
        engine = load(settings)
    except Exception as error:
        log.exception("engine_not_loaded")
        # What the node has no need to know by type, it may have no package for.
        ours = type(error).__module__.split(".")[0] in ("ocr_tasks", "workers", "builtins")
        link.send(error if ours else EngineRaised(f"{type(error).__name__}: {error}"))
        return
    link.send(Ready(engine.name, engine.revision, engine.operations, engine.capacity))
    Loop(link, engine).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
