"""Pages that are encoded, and decoded, against pages that are read: the same pages through the same engine.

With a small random model: on a CPU the shares say something, absolute times nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import torch
from PIL import Image

from ocr_tasks.contract import OcrOptions, Operation
from tests.benchmarks.report import Finding, interleaved
from tests.pages import grain
from tests.tiny_checkpoints import write_checkpoint
from workers.engine import PageDone, PageWork, WorkId
from workers.engine.deepseek.checkpoint import load_checkpoint
from workers.engine.deepseek.engine import DeepSeekEngine
from workers.engine.deepseek.limits import limits_for
from workers.visual import VisionTokens

PAGES, ROUNDS = 32, 3
READ, ENCODE, DECODE = Operation.READ, Operation.ENCODE, Operation.DECODE
OPTIONS = OcrOptions(mode="tiny", prompt="free")


def findings() -> list[Finding]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="lightdom-ocr-bench-") as folder:
        checkpoint = load_checkpoint(write_checkpoint(Path(folder), "deepseek-ocr"))
        engine = DeepSeekEngine(checkpoint, limits_for(checkpoint.model, most_slots=16))
        images = [grain((200 + n, 260)) for n in range(PAGES)]
        tokens = [done.tokens for done in sorted(through(engine, images, ENCODE), key=lambda done: done.id)]
        known = [one for one in tokens if one is not None]
        rates = interleaved(
            ROUNDS,
            read=lambda: rate(lambda: through(engine, images, READ)),
            encode=lambda: rate(lambda: through(engine, images, ENCODE)),
            decode=lambda: rate(lambda: through(engine, known, DECODE)),
        )
        engine.close()
    return [
        Finding("pages a second that are encoded, of those that are read", rates["encode"] / rates["read"], "ratio"),
        Finding("pages a second that are decoded, of those that are read", rates["decode"] / rates["read"], "ratio"),
    ]


def through(engine: DeepSeekEngine, pages: list[Image.Image] | list[VisionTokens], what: Operation) -> list[PageDone]:
    """All pages through an engine, as many at a time as it holds."""
    works = [
        PageWork(WorkId(UUID(int=0), number, 1), lambda page=page: page, OPTIONS, frozenset({what}))  # type: ignore[misc]
        for number, page in enumerate(pages, 1)
    ]
    done: list[PageDone] = []
    waiting, inside = works, 0
    while waiting or inside:
        room = engine.capacity - inside
        engine.admit(waiting[:room])
        inside, waiting = inside + len(waiting[:room]), waiting[room:]
        ended = engine.step()
        inside -= len(ended)
        done += ended
    return done


def rate(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return PAGES / (time.perf_counter() - started)
