"""Celery workers as this service runs them: threads over one engine, or prefork for what parses."""

from __future__ import annotations

import os
import resource
import socket
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import structlog
from celery import Celery, signals
from celery.platforms import SecurityWarning
from celery.worker.consumer import Consumer

from ocr_tasks.app import app
from ocr_tasks.contract import Priority, browser_queue, engine_queue, prepare_queue
from ocr_tasks.jobs.reading import end_leases_of
from ocr_tasks.logs import configure_logs
from ocr_tasks.rendering import MAX_TIMEOUT_MS
from ocr_tasks.settings import Settings
from workers import entry, prepare, tasks
from workers.announcer import Announcer
from workers.devices import DeviceReader
from workers.engine import Engine
from workers.flow import default_threads
from workers.node import Node
from workers.runtime import make_runtime
from workers.stopping import EXIT_UNLOADABLE, StopRequested, StopSignals

log = structlog.get_logger(__name__)

CHILD_TASKS = 500  # after which a parsing process is replaced, against slow leaks in native parsers


# Celery warns root against pickle, which `accept_content` rules out.
warnings.filterwarnings("ignore", category=SecurityWarning)


@signals.setup_logging.connect
def _keep_our_logs(**_: Any) -> None:
    """Having a receiver keeps Celery from configuring logs itself."""


class ReconnectingConsumer(Consumer):  # type: ignore[misc]
    """Survives the loss of Redis while tasks run.

    Celery 5.7 takes a lost connection's address away before its channels put back what was not acknowledged, and
    before tasks that still run acknowledge on them: both ended the whole worker with an AttributeError. So channels
    keep the address.
    """

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        for channel in list(self.connection.transport.channels):
            channel._connparams = partial(_known_address, channel._connparams())
        super().on_connection_error_after_connected(exc)


def _known_address(parameters: dict[str, Any], asynchronous: bool = False) -> dict[str, Any]:
    return dict(parameters)


def run_engine_worker(
    settings: Settings, load: Callable[[], Engine], *, name: str, device: DeviceReader | None = None
) -> int:
    """Serve an engine's queues with one node until told to stop; returns the exit status.

    load: gives the engine, warmed up; the node is known before that, as `loading`. name: unique on this host.
    """
    full_name = f"{name}@{socket.gethostname()}"
    runtime = make_runtime(settings)
    end_leases_of(runtime.db, full_name)  # what it held before it died is not waited for any longer
    announcer = Announcer(runtime.db, full_name, settings.engine)
    announcer.start()
    try:
        with StopSignals():
            engine = load()
    except StopRequested:
        return 0
    except Exception as error:
        log.exception("engine_not_loaded", engine=settings.engine, error=f"{type(error).__name__}: {error}")
        return EXIT_UNLOADABLE
    else:
        return _serve(Node(runtime, engine, announcer, device=device))
    finally:
        announcer.close()


def _serve(node: Node) -> int:
    engine, settings = node.engine, node.runtime.settings
    threads = settings.engine_threads or default_threads(engine.capacity)
    tasks.serve(node)
    signals.worker_shutting_down.connect(lambda **_: node.stop(), weak=False)
    node.start()
    log.info("node_ready", node=node.name, revision=engine.revision, capacity=engine.capacity, threads=threads)
    queues = [engine_queue(engine.name, lane) for lane in Priority]
    try:
        return _run(app, node.name, queues, pool="threads", size=threads)
    finally:
        node.close()


def run_prepare_worker(settings: Settings, *, children: int | None = None) -> int:
    """Serve the queues of preparing and finishing until told to stop; returns the exit status."""
    app.conf.update(
        task_time_limit=settings.prepare_timeout_s,
        worker_max_tasks_per_child=CHILD_TASKS,
        worker_max_memory_per_child=settings.prepare_memory_mb * 1024,
    )
    memory = settings.prepare_memory_mb * 1024 * 1024
    signals.worker_process_init.connect(lambda **_: _start_child(settings, memory), weak=False)
    signals.worker_shutting_down.connect(lambda **_: prepare.stopping.set(), weak=False)
    size = children or os.cpu_count() or 1
    name = f"prepare@{socket.gethostname()}"
    return _run(app, name, [prepare_queue(lane) for lane in Priority], pool="prefork", size=size)


def run_browser_worker(settings: Settings, *, children: int = 1) -> int:
    """Serve the queues of pages to be rendered until told to stop, a browser in each process; the exit status."""
    app.conf.update(
        # A browser that takes too long is killed by its own process; this is for that process.
        task_time_limit=MAX_TIMEOUT_MS / 1000 + settings.browser_capture_s + settings.prepare_timeout_s,
        worker_max_tasks_per_child=CHILD_TASKS,
    )
    import_module("workers.harvesting")  # now, so that a package that is missing is seen before a job comes
    signals.worker_process_init.connect(lambda **_: configure_logs(settings, worker="browser"), weak=False)
    signals.worker_process_shutdown.connect(lambda **_: _close_browser(), weak=False)
    signals.worker_shutting_down.connect(lambda **_: prepare.stopping.set(), weak=False)
    name = f"browser@{socket.gethostname()}"
    return _run(app, name, [browser_queue(lane) for lane in Priority], pool="prefork", size=children)


def _close_browser() -> None:
    import_module("workers.harvesting").close_browser()


def _start_child(settings: Settings, memory_bytes: int) -> None:
    """A parser that wants too much memory fails its page, instead of making the kernel choose a victim."""
    configure_logs(settings, worker="prepare")
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _run(celery: Celery, name: str, queues: list[str], *, pool: str, size: int) -> int:
    entry.served_queues.update(queues)
    worker = celery.Worker(
        hostname=name,
        queues=queues,
        pool=pool,
        concurrency=size,
        without_gossip=True,
        without_mingle=True,
        task_events=True,
        quiet=True,
        consumer_cls=ReconnectingConsumer,
    )
    worker.start()
    return int(worker.exitcode or 0)
