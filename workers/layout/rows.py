"""Printed rows of text, and which of them were ended on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from workers.layout.lines import Box, Line, around
from workers.layout.words import is_chinese, joined

LOOSE = 1.9  # ems from row to row, from which on rows are taken for running text only when they look like it
NARROW = 10.0  # ems: columns so narrow may be lists of names, with no gap to tell their entries
RUNNING = 12.0  # ems: the least width of loose running text
APART = 2.0  # ems: wider than the spaces of lines set flush
FULL = 0.75  # of the width: rows that reach so far are full, whatever the next word's length


@dataclass(frozen=True)
class Row:
    """A printed row of text. `em`: the size of its type in pixels; `weight`: its strokes' width in ems."""

    box: Box
    text: str
    em: float
    weight: float
    lines: list[Line]

    @property
    def parted(self) -> bool:
        """Whether it has parts too far apart for a sentence, as a label and its amount."""
        return any(right.box.x1 - left.box.x2 > APART * self.em for left, right in pairwise(self.lines))


def row_of(lines: list[Line]) -> Row:
    """The row that lines side by side make; its type is that of most of its letters."""
    letters = [line for line in lines for _ in line.text]
    em, weight = median(line.em for line in letters), median(line.weight for line in letters)
    return Row(around([line.box for line in lines]), joined([line.text for line in lines]), em, weight, lines)


def right_edge(blocks: Sequence[Sequence[Row]], most_em: float) -> float:
    """Where the text around ends, by its long blocks or else by all of it, without larger type."""
    usual = [block for block in blocks if block[0].em <= most_em] or blocks
    long = [block for block in usual if len(block) > 3] or usual
    rows = [row for block in long for row in block]
    return max(row.box.x2 for row in [row for row in rows if not row.parted] or rows)


def breaks_of(rows: Sequence[Row], edge: float) -> list[bool]:
    """For each row but the last, whether it was ended on purpose; `edge`: where the text around ends.

    Most rows of running text are full; a few end early, but only those that end far from the edge do so on purpose.
    Short blocks have too few rows to tell their own edge.
    """
    right = max(row.box.x2 for row in rows)
    right = right if len(rows) > 3 else max(right, edge)
    short = [_short(above, below, right) for above, below in pairwise(rows)]
    if 2 * sum(short) > len(short) or _centred(rows) or _names(rows) or _loose(rows):
        return [True] * len(short)
    left = min(row.box.x1 for row in rows)
    return [
        above.parted or below.parted or (ended and above.box.x2 - left < FULL * (right - left))
        for ended, (above, below) in zip(short, pairwise(rows), strict=True)
    ]


def _short(above: Row, below: Row, right: float) -> bool:
    """Whether the next word would still have fitted in."""
    if is_chinese(above.text[-1]):
        return right - above.box.x2 > 3 * above.em
    word = below.text.split(" ", 1)[0]
    return right - above.box.x2 > below.box.width * (len(word) + 2) / len(below.text) + above.em


def _centred(rows: Sequence[Row]) -> bool:
    """Whether rows begin and end in different places around the same middle."""
    em, boxes = rows[0].em, [row.box for row in rows]
    return all(
        abs(above.middle[0] - below.middle[0]) < 0.3 * em and abs(above.x1 - below.x1) > 0.4 * em
        for above, below in pairwise(boxes)
    )


def _names(rows: Sequence[Row]) -> bool:
    """Whether the rows of a narrow column are entries: none goes on with a small letter."""
    if len(rows) < 3 or around([row.box for row in rows]).width > NARROW * rows[0].em:
        return False
    return not any(row.text[0].islower() or is_chinese(row.text[0]) for row in rows[1:])


def _loose(rows: Sequence[Row]) -> bool:
    """Whether rows stand far apart and do not look like running text: wide, and full but for the last."""
    if len(rows) < 2 or min(below.box.y1 - above.box.y1 for above, below in pairwise(rows)) < LOOSE * rows[0].em:
        return False
    box = around([row.box for row in rows])
    full = sum(row.box.x2 - box.x1 > FULL * box.width for row in rows[:-1])
    return box.width < RUNNING * rows[0].em or 2 * full < len(rows)
