"""Where, under one set of columns, another begins: the blocks of a letter's head over its table, or totals under it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from workers.layout.bands import Bands
from workers.layout.columns import wraps
from workers.layout.grids import FREE, CellRow
from workers.layout.pieces import lines_of, pieces_of
from workers.layout.sections import one_table

FARTHER = 1.8  # of the pitch of lines: where a row of more or fewer blocks begins


def changes(found: Sequence[CellRow], pitch: float, em: float) -> int | None:
    """Where, of rows of cells, other columns begin: under the widest of the gaps over which these change."""
    bands = Bands(em)
    gaps = [row.apart for row in found[1:]]
    usual = median(gaps) if len(gaps) > 1 else 0.0
    least = 1.2 * usual if len(gaps) > 2 else FREE * pitch
    best: tuple[float, int] | None = None
    for at, row in enumerate(found[1:], 1):
        if row.apart <= max(least, best[0] if best else 0):
            continue
        over, under = ([r for part in parts for r in part.rows] for parts in (found[:at], found[at:]))
        filled = sorted((found[at - 1].filled, row.filled))
        more = 1 < filled[0] < filled[1] and row.apart > max(1.2 * usual, FARTHER * pitch) and not prose(found)
        others = filled[0] > 1 and not one_table(em, pieces_of(over), pieces_of(under))
        if more or others or bands.fewer(over, under):
            best = row.apart, at
    return best[1] if best else None


def prose(found: Sequence[CellRow]) -> bool:
    """Whether a column of rows of cells is running text."""
    columns = zip(*(row.cells for row in found), strict=True)
    return any(wraps([line for cell in column for line in lines_of(cell)]) for column in columns)
