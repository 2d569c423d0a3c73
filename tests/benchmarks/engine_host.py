"""What a node around the engine's loop costs it: 128 task threads claim, load and store pages beside it.

The same loop three times, taking short turns: alone, in a node's process, and beside a node in a process of its own, as
a node has it. A node whose loop rests soon rests too: all its threads wait for their pages.

So that only the node makes a difference: every step decodes all slots over as many places (as on CUDA, where a round's
shape is that of its graph; else a step costs the more the longer its longest text is, and a bare loop whose texts
began together has short ones half of the time); the turns are short, because a processor's speed drifts by a tenth and
more within seconds; and the time in which a loop's thread could run and had no core is taken out.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import structlog
import torch
from PIL import Image

from ocr_tasks.contract import OcrOptions, Source
from ocr_tasks.jobs.submitting import create_job
from ocr_tasks.settings import Settings, get_settings
from tests.benchmarks.engine_cpu import SLOTS, loop, mixed_requests, small_model
from tests.benchmarks.engine_turns import EVERYBODY, LONGEST, Board, LoopEngine, Share, share
from tests.benchmarks.pipeline import benchmark_environment
from tests.benchmarks.report import Finding
from tests.conftest import settings_of
from tests.documents import encoded
from workers.announcer import Announcer
from workers.engine import Engine, PageWork, WorkId
from workers.engine.apart import ApartEngine
from workers.node import Node
from workers.pages import read_page
from workers.runtime import Runtime, make_runtime

THREADS = 128
ROUNDS = 20
TURN_S, SETTLE_S = 2.0, 0.5  # of each turn, what is not counted: the node before ends its last pages
PAGES = 5000  # more than are read in that time
BARE, INSIDE, APART = "bare", "inside", "apart"
FOLDER, LOOP = "BENCHMARK_FOLDER", "BENCHMARK_LOOP"
LOADER = "tests.benchmarks.engine_host:load_loop"


def findings() -> list[Finding]:
    structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=Path(os.devnull).open("w")))  # noqa: SIM115
    with tempfile.TemporaryDirectory(prefix="lightdom-ocr-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        os.environ[FOLDER] = name
        with benchmark_environment(folder) as environment:
            settings = settings_of(environment)
            runtime = make_runtime(settings, pool_size=20)
            shares, pages = turns(Board(folder), settings, runtime)
            runtime.db.close()
    return report(shares, pages)


def report(shares: dict[str, list[Share]], pages_per_s: float) -> list[Finding]:
    def beside(name: str, of: str) -> float:
        """Of neighbouring turns, the median of the ratios."""
        pairs = zip(shares[name], shares[BARE], strict=True)
        return median(getattr(ours, of) / getattr(bare, of) for ours, bare in pairs)

    loaded = f"with {THREADS} task threads at work"
    apart, inside = f"{loaded}, loop in a process of its own", f"{loaded}, loop in the node's process"
    of_bare = "share of the bare loop's"
    return [
        Finding(f"{apart}: {of_bare} step rate", beside(APART, "steps"), "ratio", 0.95),
        Finding(f"{apart}: {of_bare} text tokens/s", beside(APART, "decoded"), "ratio", 0.95),
        Finding(f"{apart}: time blocked", median(one.blocked for one in shares[APART]), "ratio"),
        Finding(f"{inside}: {of_bare} step rate", beside(INSIDE, "steps"), "ratio"),
        Finding(f"{inside}: {of_bare} text tokens/s", beside(INSIDE, "decoded"), "ratio"),
        Finding(f"{inside}: time blocked", median(one.blocked for one in shares[INSIDE]), "ratio"),
        Finding("pages that those threads claimed, loaded and stored beside it", pages_per_s, "pages/s"),
    ]


def turns(board: Board, settings: Settings, runtime: Runtime) -> tuple[dict[str, list[Share]], float]:
    """Each loop's shares, one a turn; and the pages a second that the node beside a loop apart stored."""
    shares: dict[str, list[Share]] = {INSIDE: [], BARE: [], APART: []}  # both are next to the bare loop
    stored, read_in_s = itertools.count(), []
    board.give_turn("nobody")
    os.environ[LOOP] = BARE
    alone = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.engine_host"])
    os.environ[LOOP] = INSIDE
    inside = load_loop(settings)
    os.environ[LOOP] = APART
    apart = ApartEngine(settings, LOADER)
    with loaded(inside, runtime, itertools.count()), loaded(apart, runtime, stored):
        for number in range(ROUNDS + 1):
            for name, of_loop in shares.items():
                before = next(stored)
                of_loop.append(turn(board, name))
                if name == APART:
                    read_in_s.append((next(stored) - before - 1) / TURN_S)
        board.give_turn(EVERYBODY)
    alone.kill()
    alone.wait()
    # The first round was for warming up.
    return {name: of_loop[1:] for name, of_loop in shares.items()}, median(read_in_s[1:])


def turn(board: Board, name: str) -> Share:
    board.give_turn(name)
    time.sleep(SETTLE_S)
    before = board.read(name)
    time.sleep(TURN_S - SETTLE_S)
    return share(before, board.read(name))


def load_loop(settings: Settings) -> LoopEngine:
    """The engine that is measured; also loaded by name, in a process of its own."""
    torch.set_num_threads(1)
    request = mixed_requests(1)[0]
    slot_tokens = len(request.prompt) + LONGEST
    batch = loop(small_model(), slot_tokens, slot_sizes=(SLOTS,), time_sizes=(slot_tokens,))
    return LoopEngine(batch, request, Board(Path(os.environ[FOLDER])), os.environ[LOOP])


def bare() -> None:
    """The loop alone, its slots always full, for ever."""
    engine = load_loop(get_settings())
    while True:
        engine.admit([some_page() for _ in range(2 * SLOTS - len(engine.batch))])
        engine.step()


@contextmanager
def loaded(engine: Engine, runtime: Runtime, stored: Iterator[int]) -> Iterator[None]:
    """A node around an engine whose task threads read the pages of a job; `stored`: one further with each page."""
    image = runtime.blobs.put(encoded(Image.new("L", (1240, 1754), 255), "PNG"))
    job_id = running_job(runtime, image)
    announcer = Announcer(runtime.db, f"bench-{job_id}@here", engine.name)
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
    yield
    over.set()
    node.batcher.stop(0)
    for thread in threads:
        thread.join()
    node.close()
    announcer.close()


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


if __name__ == "__main__":
    bare()
