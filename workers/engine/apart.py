"""An engine in a process of its own, behind the same protocol.

Threads of a node that claim, load and store pages hold the interpreter's lock a millisecond here and there, and a loop
that drives a device needs it back after every call; between its steps, the batcher's own work keeps it waiting too.
With 128 task threads and 18 pages a second, a loop in the node's own process lost about a tenth of its steps. Here it
has an interpreter to itself and never waits for the node: it steps as long as it holds pages and reports what ended.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from ocr_tasks.contract import Operation
from ocr_tasks.settings import Settings
from workers.engine import DeviceLost, PageDone, PageWork, WorkId
from workers.engine.apart_pages import PageFiles, SentDone, SentWork

ALIVE_S = 0.2  # a busy engine reports at least so often; a step that takes longer, when it ends
CLOSE_S = 10.0


class EngineRaised(Exception):
    """A step of the engine raised; it holds nothing any more."""


class Ready(NamedTuple):
    """The engine was loaded."""

    name: str
    revision: str
    operations: frozenset[Operation]
    capacity: int


class Admit(NamedTuple):
    works: list[SentWork]


class Evict(NamedTuple):
    ids: list[WorkId]


class Ask(NamedTuple):
    """Say that you live."""


@dataclass(frozen=True)
class Report:
    """What some steps brought. `raised`: what the last of them raised, if it did."""

    done: list[SentDone]
    capacity: int
    raised: Exception | None = None


class ApartEngine:
    """Loads an engine in a child process and speaks for it; loader: `module:function`, called with the settings.

    A step waits for the next report. One that never comes is for the batcher's watchdog, whose end of this process is
    the end of the child too; the child's own end is a lost device. Raises what the loader raises.
    """

    def __init__(self, settings: Settings, loader: str) -> None:
        ours, theirs = socket.socketpair()
        # Where this process does not look for modules in its folder, neither does the child.
        python = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m"]
        with theirs:
            self._process = subprocess.Popen(
                [*python, "workers.engine.apart_child", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C and the like are for the node, which lets pages end first
            )
        self._socket = ours
        self._link = Connection(os.dup(ours.fileno()))
        self._raised: Exception | None = None
        self._files = PageFiles()
        self.name, self.revision, self.operations, self.capacity = self._loaded(settings, loader)

    def _loaded(self, settings: Settings, loader: str) -> Ready:
        try:
            self._send((settings, loader))
            ready = self._receive()
            if isinstance(ready, Exception):
                raise ready
            assert isinstance(ready, Ready)
        except BaseException:
            self._process.kill()  # it may be loading still, and would not look up
            self.close()
            raise
        return ready

    def admit(self, works: Sequence[PageWork]) -> None:
        self._send(Admit([self._files.sent(work) for work in works]))

    def step(self) -> Sequence[PageDone]:
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised
        if not self._link.poll(5 * ALIVE_S):
            self._send(Ask())
        reports = [self._receive()]
        while self._link.poll():
            reports.append(self._receive())
        self.capacity = reports[-1].capacity
        received = [self._files.received(page) for report in reports for page in report.done]
        done = [page for page in received if page is not None]
        self._raised = next((report.raised for report in reports if report.raised), None)
        # What ended before the engine raised counts.
        return done if done or self._raised is None else self.step()

    def evict(self, ids: Collection[WorkId]) -> None:
        self._send(Evict(list(ids)))
        for work_id in ids:
            self._files.forget(work_id)

    def close(self) -> None:
        # The child ends when its link does; so does a thread that waits for it.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._link.close()
        self._files.close()
        try:
            self._process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: Any) -> None:
        try:
            self._link.send(message)
        except OSError as error:
            raise self._gone() from error

    def _receive(self) -> Any:
        try:
            return self._link.recv()
        except (EOFError, OSError) as error:
            raise self._gone() from error

    def _gone(self) -> DeviceLost:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(CLOSE_S)
        return DeviceLost(f"the engine's process ended with status {self._process.returncode}")
