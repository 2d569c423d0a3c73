"""Boxes as models write them: numbers from 0 to 999 across the page, read strictly and put on its pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ocr_tasks.contract import Box

GRID = 999.0  # the value of a page's right and lower edge
Given = tuple[float, float, float, float]

ONLY_NUMBERS = re.compile(r"[\d\s.,+\-\[\]()]*", re.ASCII)
BRACKETED = re.compile(r"\[([^\[\]]*)\]")
NUMBER = re.compile(r"[+-]?\d+(?:\.\d+)?", re.ASCII)
DIGITS = 12  # enough to be far outside any page; int() refuses numbers of thousands of digits


def looks_like_boxes(payload: str) -> bool:
    """Whether a payload holds nothing but what boxes are written with; it may be cut off."""
    return ONLY_NUMBERS.fullmatch(payload) is not None


def parse_boxes(payload: str) -> tuple[Given, ...]:
    """The boxes in `[[x1, y1, x2, y2], ...]` or `[x1, y1, x2, y2]`; lists that are not of four numbers are none."""
    found = []
    for listed in BRACKETED.finditer(payload):
        numbers = [float(number[:DIGITS]) for number in NUMBER.findall(listed[1])]
        if len(numbers) == 4:
            found.append((numbers[0], numbers[1], numbers[2], numbers[3]))
    return tuple(found)


def scaled(given: Given, width: int, height: int) -> Box | None:
    """A box in pixels, inside the page: swapped corners put right, thin ones a pixel wide; None without an area."""
    across, down = _span(given[0], given[2], width), _span(given[1], given[3], height)
    return (across[0], down[0], across[1], down[1]) if across and down else None


def _span(one: float, other: float, side: int) -> tuple[int, int] | None:
    low, high = (min(max(value, 0.0), GRID) for value in sorted((one, other)))
    if low == high:
        return None
    first = min(round(low * side / GRID), side - 1)
    return first, max(round(high * side / GRID), first + 1)


def around(boxes: Sequence[Box]) -> Box | None:
    """The smallest box that holds all of these."""
    if not boxes:
        return None
    return min(b[0] for b in boxes), min(b[1] for b in boxes), max(b[2] for b in boxes), max(b[3] for b in boxes)
