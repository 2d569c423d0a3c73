"""A pool: one engine node a device, each in a process of its own that sees nothing but that device."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import structlog

from ocr_tasks.settings import Settings, environment_name
from workers.children import spawn
from workers.devices import VISIBLE, visible_devices
from workers.guardian import Guardian
from workers.stopping import EXIT_UNLOADABLE, StopRequested, StopSignals
from workers.supervisor import Program, Supervisor

log = structlog.get_logger(__name__)

# -P: a file in the current folder must not stand in for a module of ours.
ENGINE_NODE = (sys.executable, "-P", "-m", "ocr_tasks.cli", "worker", "engine")

LOAD_TRIES = 2
LETTING_GO_S = 2  # what a node takes beyond its grace: to give pages back, to free the device


def run_pool(
    settings: Settings,
    *,
    devices: Callable[[], Sequence[str]] = visible_devices,
    command: Sequence[str] = ENGINE_NODE,
) -> int:
    """Keep a node running on each device until told to stop; returns the exit status.

    EXIT_UNLOADABLE when no node could load its engine: starting them for ever would only hide why.
    """
    names = list(devices()) if settings.gpu_enabled else []
    log.info("pool_starts", devices=names or ["cpu"])
    guardian = Guardian()
    supervisor = Supervisor(guardian=guardian)
    with StopSignals() as signals:
        try:
            for program in pool(settings, names, command):
                supervisor.start(program)
            while not _hopeless(supervisor, max(1, len(names))):
                supervisor.watch(3600)
            log.critical("pool_gives_up", reason="no node can load its engine")
            return EXIT_UNLOADABLE
        except StopRequested:
            return 0
        finally:
            signals.now_stopping()
            supervisor.stop(hurry=signals.hurry)
            guardian.close()


def pool(settings: Settings, devices: Sequence[str], command: Sequence[str]) -> Iterable[Program]:
    """A program for each device, named gpu0, gpu1 ... in their order; without devices one on the CPU."""
    if not devices:
        yield _program(f"{settings.engine}0", command, {VISIBLE: ""}, settings)
    for number, device in enumerate(devices):
        # nvidia-smi's order, unless told otherwise: CUDA's own puts the fastest card first.
        own = {"CUDA_DEVICE_ORDER": os.environ.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID"), VISIBLE: device}
        if settings.cpu_threads is None:
            own[environment_name("cpu_threads")] = str(max(1, (os.cpu_count() or 1) // len(devices)))
        yield _program(f"gpu{number}", [*command, "--name", f"gpu{number}"], own, settings)


def _program(name: str, argv: Sequence[str], own: Mapping[str, str], settings: Settings) -> Program:
    # Its output is ours: each line of a node's log says which node it is from.
    start = partial(spawn, argv, log=None, env={**os.environ, **own})
    return Program(name, start, grace_s=settings.stop_grace_s + LETTING_GO_S)


def _hopeless(supervisor: Supervisor, nodes: int) -> bool:
    return len(supervisor.refusing(EXIT_UNLOADABLE, LOAD_TRIES)) == nodes
