"""What a node around the engine's loop costs it: 128 task threads claim, load and store pages beside it.

The same loop, taking short turns: alone; in a node's process; beside a node in a process of its own, as a node has it;
and beside a node that it does not serve, whose own engine only sleeps: that costs what the machine is used for
otherwise, and no lock. A node whose engine waits for its turn soon rests, for all its threads wait for their pages.

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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from uuid import UUID, uuid4

import structlog
import torch
from PIL import Image

from ocr_tasks.contract import OcrOptions, Source
from ocr_tasks.jobs.submitting import create_job
from ocr_tasks.settings import Settings, get_settings
from tests.benchmarks.engine_cpu import SLOTS, checkpoint_of, mixed_requests, small_model
from tests.benchmarks.engine_turns import EVERYBODY, LONGEST, Board, LoopEngine, RestingBatch, Share, share
from tests.benchmarks.pipeline import benchmark_environment
from tests.benchmarks.report import Finding
from tests.conftest import settings_of
from tests.documents import encoded
from workers.announcer import Announcer
from workers.engine import Engine, PageWork, WorkId
from workers.engine.apart import ApartEngine
from workers.engine.deepseek.batching import ContinuousBatch
from workers.engine.deepseek.scheduler import Limits
from workers.node import Node
from workers.pages import read_page
from workers.runtime import Runtime, make_runtime

THREADS = 128
ROUNDS = 20
TURN_S, SETTLE_S = 1.8, 0.4  # of each turn, what is not counted: the node before ends its last pages
PAGES = 5000  # more than are read in that time
BARE, BESIDE, INSIDE, APART = "bare", "beside", "inside", "apart"
TURNS = {BARE: (BARE, BESIDE)}  # of a loop, where they are not those of its name
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
    def ratio(name: str, to: str, of: str = "steps") -> float:
        """The median over rounds."""
        pairs = zip(shares[name], shares[to], strict=True)
        return float(median(getattr(one, of) / getattr(other, of) for one, other in pairs))

    loaded = f"with {THREADS} task threads at work"
    apart, inside = f"{loaded}, loop in a process of its own", f"{loaded}, loop in the node's process"
    blocked = "time that it waited for the lock or for pages"
    return [
        Finding(f"{apart}: share of the bare loop's step rate", ratio(APART, BARE), "ratio", 0.95),
        Finding(f"{apart}: share of its text tokens/s", ratio(APART, BARE, "decoded"), "ratio", 0.95),
        Finding(
            f"{apart}: share of a loop's step rate that such a node only runs beside", ratio(APART, BESIDE), "ratio"
        ),
        Finding(f"{apart}: {blocked}", median(one.blocked for one in shares[APART]), "ratio"),
        Finding(f"{inside}: share of the bare loop's step rate", ratio(INSIDE, BARE), "ratio"),
        Finding(f"{inside}: {blocked}", median(one.blocked for one in shares[INSIDE]), "ratio"),
        Finding("pages that those threads claimed, loaded and stored", pages_per_s, "pages/s"),
    ]


def turns(board: Board, settings: Settings, runtime: Runtime) -> tuple[dict[str, list[Share]], float]:
    """Each loop's shares, one a turn; and the pages a second that the node beside a loop apart stored."""
    shares: dict[str, list[Share]] = {INSIDE: [], BARE: [], APART: [], BESIDE: []}
    stored, read_in_s = itertools.count(), []
    board.give_turn("nobody")
    os.environ[LOOP] = BARE
    alone = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.engine_host"])
    with ExitStack() as nodes:
        nodes.callback(alone.kill)
        for name, count in ((INSIDE, itertools.count()), (APART, stored), (BESIDE, itertools.count())):
            os.environ[LOOP] = name
            engine = load_loop(settings) if name == INSIDE else ApartEngine(settings, LOADER)
            nodes.enter_context(loaded(engine, runtime, count))
        for number, name in itertools.product(range(ROUNDS + 1), shares):
            before, found = next(stored), turn(board, name)
            pages = (next(stored) - before - 1) / TURN_S
            if number:  # the first round is for warming up
                shares[name].append(found)
                read_in_s.extend([pages] if name == APART else [])
        board.give_turn(EVERYBODY)
    alone.wait()
    return shares, median(read_in_s)


def turn(board: Board, name: str) -> Share:
    board.give_turn(name)
    time.sleep(SETTLE_S)
    loop = BARE if name == BESIDE else name
    before = board.read(loop)
    time.sleep(TURN_S - SETTLE_S)
    return share(before, board.read(loop))


def load_loop(settings: Settings) -> LoopEngine:
    """The engine that is measured; also loaded by name, in a process of its own."""
    torch.set_num_threads(1)
    request = mixed_requests(1)[0]
    slot_tokens = len(request.prompt) + LONGEST
    limits = Limits(
        SLOTS, slot_tokens, slot_tokens, prefill_tokens=512, steps=4, slot_sizes=(SLOTS,), time_sizes=(slot_tokens,)
    )
    name = os.environ[LOOP]
    batch = RestingBatch(limits) if name == BESIDE else ContinuousBatch(checkpoint_of(small_model()), limits)
    return LoopEngine(batch, request, Board(Path(os.environ[FOLDER])), name, TURNS.get(name, (name,)))


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
