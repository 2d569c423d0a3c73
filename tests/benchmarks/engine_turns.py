"""Loops of one machine that take turns, each in a process of its own choosing, and what each has done so far."""

from __future__ import annotations

import mmap
import random
import struct
import time
from collections.abc import Collection, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ocr_tasks.contract import Operation, PageResult
from tests.benchmarks.engine_cpu import SLOTS
from workers.engine import PageDone, PageWork, WorkId
from workers.engine.deepseek.batching import ContinuousBatch, Ended, Request
from workers.engine.deepseek.limits import pages_held
from workers.engine.deepseek.scheduler import Limits, Scheduler, Text

LAYOUT = struct.Struct("qqddd")
EVERYBODY = "everybody"
LOOK_S = 0.002
STEP_S = 0.01  # about as long as a step of the small model takes
SHORTEST, LONGEST = 200, 500  # text tokens of a page
TEXT = "A line of a page, some sixty characters long, as pages have.\n" * 60


class Progress(NamedTuple):
    """Of a loop so far. In seconds: when its last step ended; how long its thread ran, and waited for a core."""

    steps: int
    decoded: int  # texts, summed over the steps
    at_s: float
    ran_s: float
    starved_s: float


class Share(NamedTuple):
    """What a loop did in a turn, a second of the time in which its thread had a core when it wanted one.

    blocked: the share of that time in which it wanted none: it waited for the interpreter's lock, or for pages.
    """

    steps: float
    decoded: float
    blocked: float


class Board:
    """Files that the processes of a benchmark share: whose turn it is, and each loop's progress."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._progress: dict[str, mmap.mmap] = {}
        self._turn = self._memory("turn", 16)

    def give_turn(self, name: str) -> None:
        self._turn[:] = name.encode().ljust(16)

    def await_turn(self, turns: Collection[str]) -> None:
        while self._turn[:].decode().strip() not in (*turns, EVERYBODY):
            time.sleep(LOOK_S)

    def write(self, name: str, progress: Progress) -> None:
        self._of(name)[:] = LAYOUT.pack(*progress)

    def read(self, name: str) -> Progress:
        """What was written last; read until it is the same twice, for it may be changing."""
        memory = self._of(name)
        while (found := memory[:]) != memory[:]:
            pass
        return Progress(*LAYOUT.unpack(found))

    def _of(self, name: str) -> mmap.mmap:
        if name not in self._progress:
            self._progress[name] = self._memory(f"of-{name}", LAYOUT.size)
        return self._progress[name]

    def _memory(self, name: str, size_bytes: int) -> mmap.mmap:
        with (self.folder / name).open("a+b") as file:
            file.truncate(size_bytes)
            return mmap.mmap(file.fileno(), size_bytes)


def share(before: Progress, after: Progress) -> Share:
    steps, decoded, elapsed_s, ran_s, starved_s = (b - a for a, b in zip(before, after, strict=True))
    had_s = elapsed_s - starved_s
    return Share(steps / had_s, decoded / had_s, 1 - ran_s / had_s)


class RestingBatch:
    """A batch that sleeps where another decodes: a node around it has the same work, and the machine no loop."""

    def __init__(self, limits: Limits) -> None:
        self.scheduler = Scheduler(limits, eos=())

    def __len__(self) -> int:
        return len(self.scheduler.waiting) + len(self.scheduler.live)

    def add(self, request: Request) -> None:
        self.scheduler.add(Text(request.id, len(request.prompt), request.most_new_tokens))

    def step(self) -> list[Ended]:
        self.scheduler.start()
        what = self.scheduler.round()
        if what is None:
            return []
        time.sleep(STEP_S)
        ended = self.scheduler.record([[0] * what.slots] * (what.steps + 1))
        return [Ended(text.id, tuple(text.tokens), text.ended) for text in ended]

    def remove(self, ids: Collection[Hashable]) -> None:
        self.scheduler.remove(ids)


class LoopEngine:
    """The batch behind the engine's protocol, stepping in its turns only.

    Texts differ in length, in the same order in every loop: of one length they would go through a bare loop in step.
    """

    name, revision, operations = "deepseek", "benchmark", frozenset({Operation.READ})
    capacity = pages_held(SLOTS)

    def __init__(
        self, batch: ContinuousBatch | RestingBatch, request: Request, board: Board, loop: str, turns: Collection[str]
    ) -> None:
        self.batch = batch
        self.request = request
        self.board = board
        self.loop = loop
        self.turns = turns
        self.steps = self.decoded = 0
        self.lengths = random.Random(5)

    def admit(self, works: Sequence[PageWork]) -> None:
        for work in works:
            most = self.lengths.randrange(SHORTEST, LONGEST)
            self.batch.add(replace(self.request, id=work.id, most_new_tokens=most))

    def step(self) -> Sequence[PageDone]:
        self.board.await_turn(self.turns)
        ended = self.batch.step()
        self.steps += 1
        self.decoded += len(self.batch.scheduler.live) + len(ended)
        # Linux counts what a thread waited for a core.
        starved_s = int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
        progress = Progress(self.steps, self.decoded, time.monotonic(), time.thread_time(), starved_s)
        self.board.write(self.loop, progress)
        return [PageDone(one.id, PageResult(text=TEXT, markdown=TEXT)) for one in ended if isinstance(one.id, WorkId)]

    def evict(self, ids: Collection[WorkId]) -> None:
        self.batch.remove(ids)

    def close(self) -> None:
        pass
