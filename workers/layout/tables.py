"""Tables: cells from ruled lines, or from columns that line up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from workers.layout.lines import Box, Line, around, in_rows, split_at
from workers.layout.pieces import Table
from workers.layout.rules import NEAR, Grid
from workers.layout.words import MARKER, joined, numeric

Span = tuple[float, float]
HYPHENED = re.compile(r"\w-$")  # what may go on below
OUTSIDE = 2.0  # ems
SAME_ROW = 1.0  # ems between the middles of rows, below which there is no room for two: a cell set beside a wrapped one


def ruled_table(grid: Grid, lines: Sequence[Line]) -> Table | None:
    """The table in a grid of rules, from the lines inside it; None when most cells are empty frames."""
    cells: list[list[list[Line]]] = [[[] for _ in grid.xs[1:]] for _ in grid.ys[1:]]
    parts = [part for line in lines for part in _split_by(grid, line)]
    for part in parts:
        x, y = part.box.x1 + min(part.em, part.box.width / 2), part.box.middle[1]
        cells[_index(grid.ys, y)][_index(grid.xs, x)].append(part)
    kept_rows = [row for row in cells if any(row)]
    kept = [column for column in range(len(grid.xs) - 1) if any(row[column] for row in kept_rows)]
    if len(kept_rows) < 2 or len(kept) < 2:
        return None
    return Table(grid.box, [[cell_text(row[column]) for column in kept] for row in kept_rows], parts)


def _split_by(grid: Grid, line: Line) -> list[Line]:
    """A line in pieces that do not cross a standing rule of the grid."""
    if len(line.places) != len(line.text):
        return [line]
    y = line.box.middle[1]
    crossed = sorted(
        rule.at
        for rule in grid.rules.down
        if rule.start <= y <= rule.end and line.box.x1 + 0.3 * line.em < rule.at < line.box.x2 - 0.3 * line.em
    )
    cuts = [(at - 0.1 * line.em, at + 0.1 * line.em) for at in crossed]
    return split_at(line, cuts) if cuts else [line]


def _index(edges: Sequence[float], at: float) -> int:
    """Which stretch between two edges holds a place; the nearest for one outside."""
    return min(max(sum(edge <= at for edge in edges) - 1, 0), len(edges) - 2)


def cell_text(lines: Sequence[Line]) -> str:
    """The text of a cell, its lines put together; what was wrapped at a hyphen keeps it, and gets no space."""
    text = ""
    for row in in_rows(lines):
        part = joined([line.text for line in row])
        text = text + part if HYPHENED.search(text) and part[:1].isalnum() else joined([text, part])
    return text


def cells_table(cells: Sequence[Sequence[Sequence[Line]]]) -> Table:
    """The table of cells given by their lines, row by row."""
    lines = [line for row in cells for cell in row for line in cell]
    return Table(around([line.box for line in lines]), [[cell_text(cell) for cell in row] for row in cells], lines)


def aligned_table(rows: Sequence[Sequence[Line]], columns: Sequence[Span]) -> Table:
    """The table whose cells stand in the columns given (left and right edge each); wrapped cells are put together."""
    cells: list[list[list[Line]]] = []
    for row, belongs in zip(rows, continued(rows, columns), strict=True):
        if not belongs:
            cells.append([[] for _ in columns])
        for line in row:
            cells[-1][column_of(line.box, columns)].append(line)
    return cells_table(cells)


def column_of(box: Box, columns: Sequence[Span]) -> int:
    """The column that a box overlaps most."""
    return max(range(len(columns)), key=lambda at: min(box.x2, columns[at][1]) - max(box.x1, columns[at][0]))


def continued(rows: Sequence[Sequence[Line]], columns: Sequence[Span], sure: int | None = None) -> list[bool]:
    """For each row of lines, whether it goes on with the table row above it; the first `sure` rows are the table's.

    Rows of a table stand further apart than the lines of a wrapped cell; where they do not, a row without a first cell
    goes on with cells that are full to their edge, and a first cell alone with a small letter under a capital one.
    Rows closer than type is high are one; the boxes around short words are too high to tell by.
    """
    if not rows:
        return []
    middles = [median(line.box.middle[1] for line in row) for row in rows]
    pitches = [below - above for above, below in pairwise(middles)]
    inner = pitches[: (sure or len(rows)) - 1]
    near, far = (min(inner), max(inner)) if inner else (0.0, 0.0)
    apart = far > 1.2 * near
    answers, filled = [False], {column_of(line.box, columns) for line in rows[0]}
    for at, row in enumerate(rows[1:]):
        here = {column_of(line.box, columns) for line in row}
        small = here == {0} and row[0].text[:1].islower() and rows[at][0].text[:1].isupper()
        least = (near + far) / 2 if apart else (1.2 if small else 0.8) * near if at >= len(inner) else float("inf")
        if pitches[at] < least and (apart or at >= len(inner)) and _hyphened(row, rows[at], columns):
            answers.append(True)
            filled |= here
            continue
        goes_on = pitches[at] < least and here <= filled and len(here) < len(columns)
        goes_on = goes_on and ((apart and len(row) == 1) or not any(numeric(line.text) for line in row))
        goes_on = goes_on and not any(MARKER.match(line.text) for line in row)
        if not apart and at < len(inner):
            full = 0 not in here and all(_full(line, rows[at], columns) for line in row)
            goes_on = goes_on and (full or small)
        goes_on = goes_on or pitches[at] < SAME_ROW * row[0].em
        answers.append(goes_on)
        filled = filled | here if goes_on else here
    return answers


def _hyphened(row: Sequence[Line], above: Sequence[Line], columns: Sequence[Span]) -> bool:
    """Whether a cell was wrapped at its hyphen, as the number of a part."""
    ended = {column_of(line.box, columns) for line in above if HYPHENED.search(line.text)}
    return any(column_of(line.box, columns) in ended for line in row)


def _full(line: Line, above: Sequence[Line], columns: Sequence[Span]) -> bool:
    """Whether the cell above a line is so full that its next word had to go below."""
    column = column_of(line.box, columns)
    low, high = columns[column]
    return any(column_of(other.box, columns) == column and other.box.width > 0.6 * (high - low) for other in above)


def inside(grid: Grid, line: Line) -> bool:
    """Whether a line stands in a grid."""
    box = grid.box
    return Box(box.x1 - NEAR, box.y1 - NEAR, box.x2 + NEAR, box.y2 + NEAR).holds(line.box)


def fits(row: Sequence[Line], spans: Sequence[Span]) -> bool:
    """Whether every cell of a row stands in one column, and reaches no further than a letter out of it."""
    for line in row:
        under = [span for span in spans if min(line.box.x2, span[1]) > max(line.box.x1, span[0])]
        if len(under) != 1 or line.box.x1 < under[0][0] - line.em or line.box.x2 > under[0][1] + line.em:
            return False
    return True


def meets(row: Sequence[Line], spans: Sequence[Span]) -> bool:
    """Whether every cell of a row stands in a column at least in part, and none starts far outside."""
    return all(
        any(line.box.x1 < high and low < line.box.x2 and line.box.x1 > low - OUTSIDE * line.em for low, high in spans)
        for line in row
    )
