"""An engine node: one engine on one device, its batcher, and the leases of the pages it holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import structlog

from ocr_tasks.errors import OcrError
from ocr_tasks.jobs.nodes import remove_node, renew_node
from ocr_tasks.jobs.reading import mark_alone
from workers.batcher import Batcher
from workers.engine import Engine
from workers.leases import PageLeases
from workers.runtime import Runtime

log = structlog.get_logger(__name__)

ANNOUNCE_S = 5.0
EXIT_HUNG = 70


def leave(reason: str) -> None:
    """End a process whose device hangs, at once: its pages' leases run out and others go on with them."""
    log.critical("node_gives_up", reason=reason)
    os._exit(EXIT_HUNG)


class Node:
    """What the task threads of one worker share. Starts ready: the engine was loaded and warmed up before."""

    def __init__(self, runtime: Runtime, engine: Engine, name: str, *, on_hang: Callable[[str], None] = leave) -> None:
        settings = runtime.settings
        self.runtime = runtime
        self.engine = engine
        self.name = name
        self.batcher = Batcher(
            engine,
            page_timeout_s=settings.page_timeout_s,
            step_timeout_s=settings.step_timeout_s,
            on_alone=lambda page, inside: mark_alone(runtime.db, *page, inside=inside),
            on_hang=on_hang,
        )
        self.leases = PageLeases(runtime.db, settings.lease_s, self.batcher.withdraw)
        self._over = threading.Event()
        self._announcer = threading.Thread(target=self._announce, name="node-announcer", daemon=True)

    def start(self) -> None:
        self.batcher.start()
        self.leases.start()
        self._announcer.start()

    def stop(self) -> None:
        """Take no more pages; those in the engine may end within the grace, the others go back. Returns at once."""
        self.batcher.stop(self.runtime.settings.stop_grace_s)
        self._over.set()

    def close(self) -> None:
        """After the last task: let go of the engine."""
        self.stop()
        self.batcher.join(self.runtime.settings.stop_grace_s + 2)
        self.leases.stop()
        self._announcer.join(2)

    def _announce(self) -> None:
        """Say every few seconds that this node lives and what it can hold; the last word takes the row away."""
        while True:
            stopping = self._over.is_set()
            try:
                if stopping:
                    remove_node(self.runtime.db, self.name)
                else:
                    self._renew()
            except OcrError as error:
                log.warning("node_not_announced", error=error.detail)
            except Exception:
                log.exception("node_not_announced")
            if stopping:
                return
            self._over.wait(ANNOUNCE_S)

    def _renew(self) -> None:
        renew_node(
            self.runtime.db,
            name=self.name,
            engine=self.engine.name,
            revision=self.engine.revision,
            capacity=self.engine.capacity,
            state="ready",
        )
