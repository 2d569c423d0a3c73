"""Lists that only stand beside each other, each under a heading of its own, as the links at the foot of a web page do.

Their entries line up as the cells of a table would, but they are read one list after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean, median

from workers.layout.lines import Line, around, in_rows
from workers.layout.words import numeric

GUTTER = 3.0  # ems: the columns of a narrow table stand closer
BOLD = 1.15  # of the entries' stroke or size: a heading's
EVEN = 0.04  # of the distance from list to list
LONGEST = 3.0  # words of an entry, on average, of lists that are all of one length


def are_menus(columns: Sequence[Sequence[Line]], em: float) -> bool:
    """Whether columns of lines are lists beside each other, each under a heading of its own, instead of a table.

    They hold no numbers, start at one height, and have no gap: a table leaves cells empty anywhere. When they are all
    of one length, as those of a table are, they must be of short entries and stand at even distances.
    """
    ordered = [sorted(column, key=lambda line: line.box.y1) for column in columns]
    if len(ordered) < 2 or min(map(len, ordered)) < 2 or not _set_apart(ordered, em) or not _unbroken(ordered):
        return False
    lines = [line for column in ordered for line in column]
    if any(numeric(line.text) or line.text[:1].islower() for line in lines):  # a number, or a cell that goes on
        return False
    lengths = [len(column) for column in ordered]
    words = mean(len(line.text.split()) for line in lines)
    return _headed(ordered) and (min(lengths) < max(lengths) or (_even(ordered) and words <= LONGEST))


def _set_apart(columns: Sequence[Sequence[Line]], em: float) -> bool:
    """Whether each column starts at one edge, and far from the one before it."""
    boxes = [around([line.box for line in column]) for column in columns]
    straight = all(
        line.box.x1 - box.x1 < 0.8 * em for column, box in zip(columns, boxes, strict=True) for line in column
    )
    return straight and all(right.x1 - left.x2 > GUTTER * em for left, right in pairwise(boxes))


def _unbroken(columns: Sequence[Sequence[Line]]) -> bool:
    """Whether every column has a line in each row from the first to its own last."""
    rows = in_rows([line for column in columns for line in column])
    for column in columns:
        own = {id(line) for line in column}
        if any(sum(id(line) in own for line in row) != 1 for row in rows[: len(column)]):
            return False
    return True


def _headed(columns: Sequence[Sequence[Line]]) -> bool:
    """Whether the first lines are bolder or larger than those under them."""

    def ratio(size: str) -> float:
        heads = median(getattr(column[0], size) for column in columns)
        rest = median(getattr(line, size) for column in columns for line in column[1:])
        return float(heads / rest) if rest else 0.0

    return max(ratio("weight"), ratio("em")) >= BOLD


def _even(columns: Sequence[Sequence[Line]]) -> bool:
    """Whether at least three columns start at even distances."""
    starts = [min(line.box.x1 for line in column) for column in columns]
    steps = [right - left for left, right in pairwise(starts)]
    return len(steps) > 1 and max(steps) - min(steps) < EVEN * max(steps)
