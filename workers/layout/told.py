"""Running text beside what is no part of it, and other signs that columns are read one after the other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from workers.layout.columns import WORDS, wraps
from workers.layout.lines import Line, around
from workers.layout.words import numeric

TEXT = 15.0  # ems: the columns of most tables are narrower than running text
FULL = 0.8  # of its column: a line whose sentence goes on below
NEXT = 2.0  # ems from one line of a paragraph to the next
LARGE = 1.3  # of the type over and under it
OVER_IMPRINT = 12  # ems from the links of a web page to its imprint
NO_LINK = re.compile(r"[\d@:：]")


def over_imprint(columns: Sequence[Sequence[Line]], imprint: float | None, em: float) -> bool:
    """Whether columns are the links over the imprint of a web page: without numbers, and near it."""
    lines = [line for column in columns for line in column]
    room = (imprint or 0) - around([line.box for line in lines]).y2
    return 0 < room < OVER_IMPRINT * em and not any(NO_LINK.search(line.text) for line in lines)


def told_beside(columns: Sequence[Sequence[Line]]) -> bool:
    """Whether the sentences of a column go on beside entries of others, as the text at the foot of a page does.

    In a table, one entry of another column stands beside what goes on in a wrapped cell, of a line or two.
    """
    if any(2 * sum(numeric(line.text) for line in column) > len(column) for column in columns):
        return False
    for column in columns:
        others = [[line for line in other if not line.text[:1].islower()] for other in columns if other is not column]
        for block in _told(column):
            top, bottom = block[0].box.y1, block[-1].box.y2
            beside = sorted(sum(top < line.box.middle[1] < bottom for line in other) for other in others)
            if beside[-1] > 2 or len([count for count in beside if count > 1]) > 1:
                return True
    return False


def large_inside(rows: Sequence[Sequence[Line]]) -> bool:
    """Whether a row has larger type than those over and under it, as prices or figures in cards beside each other."""
    for above, row, below in zip(rows, rows[1:], rows[2:], strict=False):
        sizes = [min(line.em for line in row), max(line.em for line in (*above, *below))]
        if len(row) > 1 and len(above) > 1 and sizes[0] > LARGE * sizes[1]:
            return True
    return False


def _told(column: Sequence[Line]) -> list[list[Line]]:
    """The sentences of a column that go on over several lines, each from full to small letters."""
    box = around([line.box for line in column])
    blocks: list[list[Line]] = []
    for line in sorted(column, key=lambda line: line.box.y1):
        last = blocks[-1][-1] if blocks else line
        full = last.box.width > FULL * box.width and len(last.text.split()) >= WORDS
        if blocks and full and line.text[:1].islower():
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return [block for block in blocks if len(block) > 2]


def run_past(columns: Sequence[Sequence[Line]]) -> bool:
    """Whether sentences of a column run on past what stands beside them, as a page's text beside its menu does.

    In a table, what goes on in a wrapped cell has one entry of another column beside it, of a line or two.
    """
    for column in filter(wraps, columns):
        others = [[line for line in other if not line.text[:1].islower()] for other in columns if other is not column]
        for block in _sentences(column):
            top, bottom = block[0].box.middle[1], block[-1].box.middle[1]
            if any(sum(top < line.box.middle[1] < bottom for line in other) > 2 for other in others):
                return True
    return False


def _sentences(column: Sequence[Line]) -> list[list[Line]]:
    """The lines of a column of running text, those together that are full to its edge and go on below."""
    ordered = sorted(column, key=lambda line: line.box.y1)
    box = around([line.box for line in ordered])
    words = sum(len(line.text.split()) for line in ordered)
    if box.width < TEXT * ordered[0].em or words < WORDS * len(ordered):
        return []
    blocks = [ordered[:1]]
    for above, line in pairwise(ordered):
        near = line.box.middle[1] - above.box.middle[1] < NEXT * line.em
        if near and above.box.x2 > box.x1 + FULL * box.width:
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return blocks
