"""An engine node: one engine on one device, its batcher, its measurements, and the leases of the pages it holds."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import structlog

from ocr_tasks.jobs.nodes import remove_node
from ocr_tasks.jobs.reading import give_back_pages, mark_alone
from workers.announcer import Announcer
from workers.batcher import Batcher
from workers.devices import DeviceReader
from workers.engine import Engine
from workers.leases import PageLeases
from workers.metrics import NodeMetrics
from workers.runtime import Runtime
from workers.stopping import EXIT_HUNG

log = structlog.get_logger(__name__)


HAND_OVER_S = 2.0


def leave(reason: str) -> None:
    """End a process whose device hangs or is lost, at once: its pages' leases run out and others go on with them."""
    log.critical("node_gives_up", reason=reason)
    os._exit(EXIT_HUNG)


class Node:
    """What the task threads of one worker share. Starts ready: the engine was loaded and warmed up before."""

    def __init__(
        self,
        runtime: Runtime,
        engine: Engine,
        announcer: Announcer,
        *,
        device: DeviceReader | None = None,
        on_hang: Callable[[str], None] = leave,
    ) -> None:
        settings = runtime.settings
        self.runtime = runtime
        self.on_hang = on_hang
        self.engine = engine
        self.announcer = announcer
        self.name = announcer.name
        self.metrics = NodeMetrics(device)
        self.batcher = Batcher(
            engine,
            page_timeout_s=settings.page_timeout_s,
            step_timeout_s=settings.step_timeout_s,
            on_alone=lambda page, inside: mark_alone(runtime.db, *page, inside=inside),
            on_hang=self._give_up,
            observer=self.metrics,
        )
        self.metrics.follow(self.batcher)
        self.leases = PageLeases(runtime.db, settings.lease_s, self.batcher.withdraw)

    def start(self) -> None:
        self.batcher.start()
        self.leases.start()
        self.announcer.ready(self.engine, self.metrics.snapshot)

    def stop(self) -> None:
        """Take no more pages; those in the engine may end within the grace, the others go back. Returns at once."""
        self.batcher.stop(self.runtime.settings.stop_grace_s)
        self.announcer.stopping(self.engine, self.metrics.snapshot)

    def _give_up(self, reason: str) -> None:
        """The device hangs or is lost: end, but tell the others first.

        In a thread of its own, and for a moment only: the database may hang as well.
        """
        teller = threading.Thread(target=self._hand_over, name="node-hand-over", daemon=True)
        teller.start()
        teller.join(HAND_OVER_S)
        self.on_hang(reason)

    def _hand_over(self) -> None:
        """Give back what only waited for the engine, else it would be suspect and run alone; and take the row away."""
        db = self.runtime.db
        log.info("pages_handed_over", pages=give_back_pages(db, self.batcher.outside()))
        remove_node(db, self.name)

    def close(self) -> None:
        """After the last task: let go of the engine."""
        self.stop()
        self.batcher.join(self.runtime.settings.stop_grace_s + 2)
        self.leases.stop()
