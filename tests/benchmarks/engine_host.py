"""What a node around the engine's loop costs it: 128 task threads claim, load and store pages beside it.

Once with the loop in the node's process and once with it in a process of its own, as a node has it. The time in which
the loop's thread could run and had no core is taken out: what is left is what it waits for the interpreter's lock.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import tempfile
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple
from uuid import UUID, uuid4

import structlog
import torch
from PIL import Image

from ocr_tasks.contract import OcrOptions, Operation, PageResult, Source
from ocr_tasks.jobs.submitting import create_job
from ocr_tasks.settings import Settings
from tests.benchmarks.engine_cpu import SLOTS, loop, mixed_requests, small_model
from tests.benchmarks.pipeline import benchmark_environment
from tests.benchmarks.report import Finding, interleaved
from tests.conftest import settings_of
from tests.documents import encoded
from workers.announcer import Announcer
from workers.engine import Engine, PageDone, PageWork, WorkId
from workers.engine.apart import ApartEngine
from workers.engine.deepseek.batching import ContinuousBatch, Request
from workers.node import Node
from workers.pages import read_page
from workers.runtime import Runtime, make_runtime

THREADS = 128
SECONDS = 6.0
WARM_UP_S = 2.0
LAYOUT = struct.Struct("qd")
ROUNDS = 3
TOKENS = 500  # of each page: some twenty pages a second, as many as a large GPU is hoped to read
PAGES = 2000  # more than are read in that time
COUNTER = "BENCHMARK_TOKENS_FILE"
LOADER = "tests.benchmarks.engine_host:load_loop"
TEXT = "A line of a page, some sixty characters long, as pages have.\n" * 60


class Progress(NamedTuple):
    """Steps of a loop so far, and seconds that its thread waited for a core."""

    steps: int
    starved_s: float


class Counter:
    """A loop's progress as two processes see it, in a file of two numbers."""

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            file.truncate(LAYOUT.size)
            self._memory = mmap.mmap(file.fileno(), LAYOUT.size)

    def read(self) -> Progress:
        return Progress(*LAYOUT.unpack(self._memory[:]))

    def write(self, steps: int) -> None:
        """Of the thread that calls; Linux counts what it waited for."""
        waited_ns = int(Path("/proc/thread-self/schedstat").read_text().split()[1])
        self._memory[:] = LAYOUT.pack(steps, waited_ns / 1e9)


def rate(before: Progress, after: Progress, elapsed_s: float) -> float:
    """Steps a second of the time in which the loop had a core when it wanted one."""
    return (after.steps - before.steps) / (elapsed_s - (after.starved_s - before.starved_s))


class LoopEngine:
    """The batch behind the engine's protocol; every page is the same request, so that both runs do the same work."""

    name, revision, operations = "deepseek", "benchmark", frozenset({Operation.READ})
    capacity = SLOTS

    def __init__(self, batch: ContinuousBatch, request: Request, counter: Counter) -> None:
        self.batch = batch
        self.request = request
        self.counter = counter
        self.steps = 0

    def admit(self, works: Sequence[PageWork]) -> None:
        for work in works:
            self.batch.add(replace(self.request, id=work.id))

    def step(self) -> Sequence[PageDone]:
        ended = self.batch.step()
        self.steps += 1
        self.counter.write(self.steps)
        return [PageDone(one.id, PageResult(text=TEXT, markdown=TEXT)) for one in ended if isinstance(one.id, WorkId)]

    def evict(self, ids: Collection[WorkId]) -> None:
        self.batch.remove(ids)

    def close(self) -> None:
        pass


def findings() -> list[Finding]:
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=Path(os.devnull).open("w")))  # noqa: SIM115
    with tempfile.TemporaryDirectory(prefix="lightdom-ocr-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        os.environ[COUNTER] = str(folder / "tokens")
        with benchmark_environment(folder) as environment:
            settings = settings_of(environment)
            runtime = make_runtime(settings, pool_size=20)
            image = runtime.blobs.put(encoded(Image.new("L", (1240, 1754), 255), "PNG"))
            pages: list[float] = []
            rates = interleaved(
                ROUNDS,
                bare=lambda: bare(load_loop(settings)),
                inside=lambda: loaded(load_loop(settings), runtime, running_job(runtime, image), pages),
                apart=lambda: loaded(ApartEngine(settings, LOADER), runtime, running_job(runtime, image), pages),
            )
            runtime.db.close()
    beside = f"with {THREADS} task threads at work, share of the bare loop's step rate"
    return [
        Finding(f"{beside}: loop in a process of its own", rates["apart"] / rates["bare"], "ratio", 0.95),
        Finding(f"{beside}: loop in the node's process", rates["inside"] / rates["bare"], "ratio"),
        Finding("pages that those threads claimed, loaded and stored", median(pages), "pages/s"),
    ]


def load_loop(settings: Settings) -> LoopEngine:
    """The engine that is measured; also loaded by name, in a process of its own."""
    torch.set_num_threads(1)
    request = replace(mixed_requests(1)[0], most_new_tokens=TOKENS)
    return LoopEngine(loop(small_model(), slot_tokens=1024), request, Counter(Path(os.environ[COUNTER])))


def bare(engine: LoopEngine) -> float:
    """Steps a second of the loop alone, its slots always full."""
    engine.counter.write(0)
    before, started = engine.counter.read(), time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        engine.admit([some_page() for _ in range(2 * SLOTS - len(engine.batch))])
        engine.step()
    return rate(before, engine.counter.read(), elapsed)


def loaded(engine: Engine, runtime: Runtime, job_id: UUID, pages: list[float]) -> float:
    """Steps a second of the same loop under a node whose task threads read the pages of a job.

    pages: gets the number of those that were stored in a second.
    """
    counter, stored = Counter(Path(os.environ[COUNTER])), itertools.count()
    announcer = Announcer(runtime.db, "bench@here", engine.name)
    announcer.start()
    node = Node(runtime, engine, announcer, on_hang=print)
    numbers, over = itertools.count(1), threading.Event()

    def task() -> None:
        while not over.is_set():
            if read_page(node, job_id, next(numbers)) == "succeeded":
                next(stored)

    threads = [threading.Thread(target=task) for _ in range(THREADS)]
    node.start()
    for thread in threads:
        thread.start()
    time.sleep(WARM_UP_S)
    before, pages_before, started = counter.read(), next(stored), time.perf_counter()
    time.sleep(SECONDS)
    after, pages_after, elapsed = counter.read(), next(stored), time.perf_counter() - started
    over.set()
    node.batcher.stop(0)
    for thread in threads:
        thread.join()
    node.close()
    announcer.close()
    pages.append((pages_after - pages_before - 1) / elapsed)
    return rate(before, after, elapsed)


def some_page() -> PageWork:
    return PageWork(WorkId(uuid4(), 1, 1), lambda: Image.new("L", (8, 8)))


def running_job(runtime: Runtime, image: str) -> UUID:
    """A job whose pages all wait, each with this image."""
    job_id = uuid4()
    source = Source(blob=image, media_type="image/png", size_bytes=1)
    create_job(runtime.db, job_id, engine="deepseek", source=source, options=OcrOptions())
    runtime.db.execute(
        "UPDATE jobs SET status = 'running', pages_total = :n, pages_released = :n WHERE id = :job", n=PAGES, job=job_id
    )
    runtime.db.execute(
        """
        INSERT INTO pages (job_id, page_no, image_blob, media_type, width, height)
        SELECT :job, n, :image, 'image/png', 1240, 1754 FROM generate_series(1, :n) n
        """,
        job=job_id, image=image, n=PAGES,
    )  # fmt: skip
    return job_id
