"""One reading of a page, and which of two is kept."""

from __future__ import annotations

from typing import NamedTuple

from ocr_tasks.contract import PageResult
from workers.visual import VisionTokens

GRAVITY = ("no_eos", "truncated", "repetition", "empty")  # flags, the worst last


class Reading(NamedTuple):
    """What a pass over a page gave; `tokens` where it was asked for them."""

    result: PageResult
    tokens: VisionTokens | None


def better_of(first: PageResult, second: PageResult) -> PageResult:
    """The reading with the less grave flags, the second when they are alike; it says that there were two."""
    kept = first if gravity(first) < gravity(second) else second
    return kept.model_copy(update={"retried_from": first.mode, "inference_ms": second.inference_ms})


def better_reading(first: Reading, second: Reading) -> Reading:
    """The same of readings in two modes: vision tokens stay with what was read from them."""
    kept = better_of(first.result, second.result)
    return Reading(kept, (first if kept.mode == first.result.mode else second).tokens)


def gravity(result: PageResult) -> list[int]:
    """How bad a reading's flags are, the worst of them first; to be compared."""
    return sorted((GRAVITY.index(flag) for flag in result.flags), reverse=True)
