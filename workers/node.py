"""An engine node: one engine on one device, its batcher, its measurements, and the leases of the pages it holds."""

from __future__ import annotations

import os
from collections.abc import Callable

import structlog

from ocr_tasks.jobs.reading import mark_alone
from workers.announcer import Announcer
from workers.batcher import Batcher
from workers.devices import DeviceReader
from workers.engine import Engine
from workers.leases import PageLeases
from workers.metrics import NodeMetrics
from workers.runtime import Runtime
from workers.stopping import EXIT_HUNG

log = structlog.get_logger(__name__)


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
        self.engine = engine
        self.announcer = announcer
        self.name = announcer.name
        self.metrics = NodeMetrics(device)
        self.batcher = Batcher(
            engine,
            page_timeout_s=settings.page_timeout_s,
            step_timeout_s=settings.step_timeout_s,
            on_alone=lambda page, inside: mark_alone(runtime.db, *page, inside=inside),
            on_hang=on_hang,
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

    def close(self) -> None:
        """After the last task: let go of the engine."""
        self.stop()
        self.batcher.join(self.runtime.settings.stop_grace_s + 2)
        self.leases.stop()
