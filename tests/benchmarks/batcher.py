"""The batcher against an engine that costs 50 ms a step and 2 ms a page, 64 pages at most."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from PIL import Image

from tests.benchmarks.report import Finding
from tests.simulated import Costs, SimulatedEngine
from workers.batcher import Batcher
from workers.engine import PageWork, WorkId

COSTS = Costs(capacity=64, step_s=0.05, page_s=0.002)
CEILING = COSTS.capacity / (COSTS.step_s + COSTS.capacity * COSTS.page_s)
THREADS = 3 * COSTS.capacity
IMAGE = Image.new("L", (64, 64))


def findings() -> list[Finding]:
    with running_batcher() as batcher:
        share = under_load(batcher, seconds=8) / CEILING
    with running_batcher() as batcher:
        added_ms = 1000 * (median(latencies(batcher, per_second=10, pages=80)) - COSTS.step_s - COSTS.page_s)
    return [
        Finding("batcher: share of the engine's ceiling under load", share, "ratio", 0.9),
        Finding("batcher: latency added at 10 pages/s, p50", added_ms, "ms", 100, at_most=True),
    ]


@contextmanager
def running_batcher() -> Iterator[Batcher]:
    batcher = Batcher(SimulatedEngine(COSTS), page_timeout_s=60, step_timeout_s=60, on_hang=print)
    batcher.start()
    yield batcher
    batcher.stop(0)
    batcher.join(10)


def work() -> PageWork:
    return PageWork(WorkId(uuid.uuid4(), 1, 1), IMAGE)


def under_load(batcher: Batcher, seconds: float) -> float:
    """Pages a second while as many threads as a node has keep it busy."""
    until, counts = time.monotonic() + seconds, [0] * THREADS

    def caller(number: int) -> None:
        while time.monotonic() < until:
            batcher.submit(work()).result()
            counts[number] += 1

    threads = [threading.Thread(target=caller, args=(n,)) for n in range(THREADS)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - started)


def latencies(batcher: Batcher, per_second: float, pages: int) -> list[float]:
    """Seconds from submission to answer of pages that come one by one."""
    found: list[float] = []

    def one() -> None:
        started = time.monotonic()
        batcher.submit(work()).result()
        found.append(time.monotonic() - started)

    threads = [threading.Thread(target=one) for _ in range(pages)]
    for thread in threads:
        thread.start()
        time.sleep(1 / per_second)
    for thread in threads:
        thread.join()
    return found
