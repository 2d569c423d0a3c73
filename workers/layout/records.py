"""Which rows of cells are the rows of a table, and not of cards or of text."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from workers.layout.grids import CLOSE, LONGEST_CELL, CellRow
from workers.layout.lines import Line, step
from workers.layout.pieces import Piece, lines_of
from workers.layout.tables import HYPHENED
from workers.layout.words import numeric


def _number(piece: Piece) -> bool:
    """Whether a piece is a number, and no part of one that was wrapped at its hyphen."""
    return isinstance(piece, Line) and numeric(piece.text) and not HYPHENED.search(piece.text)


def longest_run(found: Sequence[CellRow]) -> Sequence[CellRow]:
    """The most rows of cells under one another that may be a table's: the first and last of them have several cells.

    Between them no row is of one cell with several lines.
    """
    best: Sequence[CellRow] = []
    start = 0
    for end, row in enumerate([*found, None]):
        if row is None or (row.filled < 2 and max(map(len, row.cells)) > 1):
            run = found[start:end]
            several = [at for at, each in enumerate(run) if each.filled > 1]
            run = run[several[0] : several[-1] + 1] if several else []
            best = max(best, run, key=len)
            start = end + 1
    return best


def are_records(found: Sequence[CellRow], pitch: float | None) -> bool:
    """Whether rows of cells are those of a table; `pitch` of a cell's lines where no rules part the rows.

    Most have several cells, all of them short; none has numbers under one another. Without rules, one column at least
    is of single lines, the lines of a cell stand close, and in few rows all cells are of as many lines: these would be
    rows of their own.
    """
    cells = [cell for row in found for cell in row.cells if cell]
    several = sum(row.filled > 1 for row in found)
    if len(found) < 3 or (pitch is not None and (len(found) < 4 or len(found[0].cells) < 3)):
        return False
    if 3 * several < 2 * len(found) or max(map(len, cells)) > LONGEST_CELL:
        return False
    if any(sum(map(_number, cell)) > 1 for cell in cells):
        return False
    columns = [[cell for cell in column if cell] for column in zip(*(row.cells for row in found), strict=True)]
    single = any(2 * sum(len(cell) == 1 for cell in column) > len(column) for column in columns)
    lengths = [{len(cell) for cell in row.cells if cell} for row in found if row.filled > 1]
    if pitch is None:
        return True
    pairs = [pair for cell in cells for pair in pairwise(lines_of(cell))]
    return max((step(*pair) for pair in pairs), default=0.0) < CLOSE * pitch and (
        single and 4 * sum(len(some) == 1 < min(some) for some in lengths) <= len(lengths)
    )
