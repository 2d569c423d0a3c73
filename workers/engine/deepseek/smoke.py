"""The first thing to run with real weights: one page with known text, read by the engine as it would serve it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from PIL import Image

from ocr_tasks.contract import OcrOptions, PageResult
from ocr_tasks.settings import Settings
from workers.engine import Engine, PageWork, WorkId

SAMPLES = Path(__file__).parents[2] / "samples"
PAGE, SMALL = SAMPLES / "page.png", SAMPLES / "small.png"
"""A whole page, and one for a model that sees little at once; what stands on each lies beside it."""


class Smoke(NamedTuple):
    """What the engine made of the page. `error_rate`: wrong characters per true one."""

    result: PageResult
    error_rate: float
    seconds: float


def read_sample(engine: Engine, settings: Settings, page: Path = PAGE) -> Smoke:
    """Read a page that comes with the package; raises OcrError as the page would fail, or TimeoutError."""
    work = PageWork(WorkId(uuid4(), 1, 1), load=lambda: _loaded(page), options=OcrOptions())
    started = time.monotonic()
    engine.admit([work])
    while time.monotonic() - started < settings.page_timeout_s:
        for done in engine.step():
            if not isinstance(done.outcome, PageResult):
                raise done.outcome
            truth = page.with_suffix(".txt").read_text(encoding="utf-8")
            return Smoke(done.outcome, error_rate(done.outcome.text, truth), time.monotonic() - started)
    raise TimeoutError(f"the page was not read within {settings.page_timeout_s:g} s (OCR_PAGE_TIMEOUT_S)")


def _loaded(page: Path) -> Image.Image:
    with Image.open(page) as image:
        return image.convert("RGB")


def error_rate(read: str, truth: str) -> float:
    """Insertions, deletions and substitutions per true character; white space of any length counts as one space."""
    read, truth = " ".join(read.split()), " ".join(truth.split())
    before = list(range(len(truth) + 1))  # distances of the text read so far to each beginning of the true one
    for row, character in enumerate(read, 1):
        now = [row]
        for column, right in enumerate(truth):
            now.append(min(before[column + 1] + 1, now[-1] + 1, before[column] + (character != right)))
        before = now
    return before[-1] / max(1, len(truth))
