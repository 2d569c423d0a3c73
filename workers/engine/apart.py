"""An engine in a process of its own, behind the same protocol.

Threads of a node that claim, load and store pages hold the interpreter's lock a millisecond here and there, and a loop
that drives a device needs it back after every call: with some twenty pages a second and 128 task threads, a loop in the
node's own process ran at half of its rate. Here it has an interpreter to itself and never waits for the node: it steps
as long as it holds pages and reports what ended.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import structlog
from PIL import Image

from ocr_tasks.contract import OcrOptions, Operation, Priority
from ocr_tasks.logs import configure_logs
from ocr_tasks.settings import Settings
from workers.engine import DeviceLost, Engine, OutOfMemory, PageDone, PageWork, WorkId

log = structlog.get_logger(__name__)

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


class SentWork(NamedTuple):
    """A PageWork with its pixels."""

    id: WorkId
    image: tuple[str, tuple[int, int], bytes]  # mode, size, pixels
    options: OcrOptions
    operations: frozenset[Operation]
    priority: Priority
    alone: bool


class Admit(NamedTuple):
    works: list[SentWork]


class Evict(NamedTuple):
    ids: list[WorkId]


class Ask(NamedTuple):
    """Say that you live."""


@dataclass(frozen=True)
class Report:
    """What some steps brought. `raised`: what the last of them raised, if it did."""

    done: list[PageDone]
    capacity: int
    raised: Exception | None = None


class ApartEngine:
    """Loads an engine in a child process and speaks for it; loader: `module:function`, called with the settings.

    A step waits for the next report. One that never comes is for the batcher's watchdog, whose end of this process is
    the end of the child too; the child's own end is a lost device. Raises what the loader raises.
    """

    def __init__(self, settings: Settings, loader: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "workers.engine.apart", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C and the like are for the node, which lets pages end first
            )
        self._socket = ours
        self._link = Connection(os.dup(ours.fileno()))
        self._raised: Exception | None = None
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
        self._send(Admit([sent(work) for work in works]))

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
        done = [page for report in reports for page in report.done]
        self._raised = next((report.raised for report in reports if report.raised), None)
        # What ended before the engine raised counts.
        return done if done or self._raised is None else self.step()

    def evict(self, ids: Collection[WorkId]) -> None:
        self._send(Evict(list(ids)))

    def close(self) -> None:
        # The child ends when its link does; so does a thread that waits for it.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._link.close()
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


def sent(work: PageWork) -> SentWork:
    """A page as it goes to another process."""
    image = work.image
    pixels = (image.mode, image.size, image.tobytes())
    return SentWork(work.id, pixels, work.options, work.operations, work.priority, work.alone)


def received(work: SentWork) -> PageWork:
    """The page again."""
    mode, size, pixels = work.image

    def load() -> Image.Image:
        return Image.frombytes(mode, size, pixels)

    return PageWork(work.id, load, work.options, work.operations, work.priority, work.alone)


# -- in the child ---------------------------------------------


class Loop:
    """Steps an engine for as long as it holds pages; takes what the node sends in between."""

    def __init__(self, link: Connection, engine: Engine) -> None:
        self.link = link
        self.engine = engine
        self.held: set[WorkId] = set()
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
                self.held.update(work.id for work in message.works)
                self.engine.admit([received(work) for work in message.works])
            elif isinstance(message, Evict):
                self.held.difference_update(message.ids)
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
            self.held.clear()
            self._report([], raised)
            return
        self.held.difference_update(page.id for page in done)
        if done or time.monotonic() - self.reported_at > ALIVE_S:
            self._report(done)

    def _report(self, done: list[PageDone], raised: Exception | None = None) -> None:
        self.reported_at = time.monotonic()
        self.link.send(Report(done, self.engine.capacity, raised))


def main(descriptor: int) -> None:
    """Load what the node asks for, say so, and serve it."""
    link = Connection(descriptor)
    settings, loader = link.recv()
    configure_logs(settings)
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
    # Under its own name: what is sent is unpickled as workers.engine.apart's, and must be that here too.
    import_module("workers.engine.apart").main(int(sys.argv[1]))
