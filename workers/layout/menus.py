"""Lists that only stand beside each other, each under a heading of its own, as the links at the foot of a web page do.

Their entries line up as the cells of a table would, but they are read one list after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median

from workers.layout.lines import Line, around, in_rows
from workers.layout.pieces import Piece
from workers.layout.words import numeric

GUTTER = 3.0  # ems: the columns of a narrow table stand closer
BOLD = 1.15  # of the entries' stroke or size: a heading's
EVEN = 0.04  # of the distance from list to list
LONGEST = 3.0  # words of an entry, on average, of lists that are all of one length
APART = 1.5  # of the usual distance from row to row: what stands further below is no entry any more


@dataclass(frozen=True)
class Menus:
    """Lists found in rows: from which row up to which other, and their lines from the top."""

    start: int
    end: int
    columns: list[list[Line]]


def menus_in(rows: Sequence[Sequence[Piece]], em: float) -> Menus | None:
    """The first lists beside each other in the rows of a page, if there are any."""
    for start, heads in enumerate(rows):
        if len(heads) < 2:
            continue
        columns = _under(rows[start:], em)
        if are_menus(columns, em):
            return Menus(start, start + max(map(len, columns)), columns)
    return None


def _under(rows: Sequence[Sequence[Piece]], em: float) -> list[list[Line]]:
    """The lines that stand under each piece of the first row, as far as rows follow that hold nothing else.

    A heading may stand off from its list; from then on rows keep their distance.
    """
    starts = [piece.box.x1 for piece in rows[0]]
    columns: list[list[Line]] = [[] for _ in starts]
    least, above = float("inf"), rows[0]
    for at, row in enumerate(rows):
        pitch = row[0].box.middle[1] - above[0].box.middle[1]
        lines = [piece for piece in row if isinstance(piece, Line) and not numeric(piece.text)]
        places = [n for line in lines for n, x in enumerate(starts) if abs(line.box.x1 - x) < 0.8 * em]
        if not len(row) == len(lines) == len(set(places)) == len(places) or (at > 2 and pitch > APART * least):
            break
        for line, place in zip(lines, places, strict=True):
            columns[place].append(line)
        least, above = min(least, pitch) if at > 1 else least, row
    return columns


def are_menus(columns: Sequence[Sequence[Line]], em: float) -> bool:
    """Whether columns of lines are lists beside each other instead of a table.

    They hold no numbers, start at one height, and have no gap: a table leaves cells empty anywhere. They are told by
    being of different lengths, under headings; without headings by a first list that is not the longest, for the first
    column names a table's rows; and under headings at even distances also when they are of one length.
    """
    ordered = [sorted(column, key=lambda line: line.box.y1) for column in columns]
    if len(ordered) < 2 or min(map(len, ordered)) < 2 or not _set_apart(ordered, em) or not _unbroken(ordered):
        return False
    lines = [line for column in ordered for line in column]
    if any(numeric(line.text) or line.text[:1].islower() for line in lines):  # a number, or a cell that goes on
        return False
    lengths = [len(column) for column in ordered]
    if max(lengths) > lengths[0] and (max(lengths) > lengths[0] + 1 or len(set(lengths)) > 2):
        return True
    if not _headed(ordered):
        return False
    return min(lengths) < max(lengths) or (_even(ordered) and mean(len(line.text.split()) for line in lines) <= LONGEST)


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
