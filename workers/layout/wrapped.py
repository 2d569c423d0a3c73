"""Tables without rules whose cells wrap: what overlaps from top to bottom is one row, however its cells are aligned.

The lines of a cell stand closer than rows do, so that the cells are known before their rows are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from workers.layout.grids import CLOSE, LONGEST_CELL, CellRow, Columns
from workers.layout.gutters import gaps, outside
from workers.layout.lines import Line, around, core, in_rows, layers, step
from workers.layout.pieces import Piece, Row, Table, lines_of, pieces_of
from workers.layout.tables import Span, cells_table, column_of
from workers.layout.words import labelled, numeric

LEAST_GUTTER = 0.7  # ems
LEAST_COLUMNS, LEAST_ROWS = 3, 3
MOST_WHITE = 2.5  # ems between layers
ONE_LINE = 1.75  # ems from line to line, from which on no cell is wrapped
COUNTED = 0.6  # of the cells of a column that have digits
FILLED = 0.5  # of the cells of a header
LARGE = 1.3  # of the usual type


def wrapped_tables(lines: Sequence[Line], em: float) -> list[Table]:
    """The tables among lines that have wrapped cells, rows that stand apart, and a column with numbers."""
    rows: list[Row] = [list(layer) for layer in layers(lines)]
    found: list[Table] = []
    at = 0
    while at < len(rows):
        if len(rows[at]) < LEAST_COLUMNS:
            at += 1
            continue
        start, end = _region(rows, at, em)
        table = _table(rows[start:end], em)
        found += [table] if table else []
        at = max(end, at + 1)
    return [table for at, table in enumerate(found) if not any(set(table.lines) & set(o.lines) for o in found[:at])]


def _region(rows: list[Row], at: int, em: float) -> tuple[int, int]:
    """From which layer up to which the columns of one go on: none of their gutters is crossed."""
    start, end = at, at + 1
    while end < len(rows) and _goes_on(rows[start:end], rows[end], rows[end - 1], em):
        end += 1
    while start and _goes_on(rows[start:end], rows[start - 1], rows[start], em):
        start -= 1
    return start, end


def _goes_on(region: list[Row], row: Row, near: Row, em: float) -> bool:
    boxes = around([piece.box for piece in row]), around([piece.box for piece in near])
    white = -boxes[0].overlap_y(boxes[1])
    least = max(len(_spans(region, em)), len(_spans([row], em)))
    return white < MOST_WHITE * em and len(_spans([*region, row], em)) >= least


def _spans(rows: Sequence[Row], em: float) -> list[Span]:
    free = [gap for gap in gaps(rows) if gap[1] - gap[0] >= LEAST_GUTTER * em]
    return outside(free, around([piece.box for piece in pieces_of(rows)]))


def _table(rows: list[Row], em: float) -> Table | None:
    """The table that layers make, without what only stands over and under its rows; None for no such."""
    spans = _spans(rows, em)
    if len(spans) < LEAST_COLUMNS or len(rows) < LEAST_ROWS:
        return None
    columns = Columns(rows, spans, em)
    if columns.pitch > ONE_LINE * em:
        return None
    found = _rows(lines_of(pieces_of(rows)), spans, CLOSE * columns.pitch)
    found = _without_sums(_without_heads(found, em))
    if not _is_table(found, columns):
        return None
    return cells_table([[lines_of(cell) for cell in row.cells] for row in found])


def _without_heads(rows: list[CellRow], em: float) -> list[CellRow]:
    """Rows without those that stand over a header: blocks, as addresses are, large type, and rows of a cell or two."""

    def over(row: CellRow) -> bool:
        lines = lines_of(pieces_of(row.cells))
        block = max(map(len, row.cells)) > 2 and sum(map(_counts, lines)) > 1
        large = max(line.em for line in lines) > LARGE * em
        return row.filled < FILLED * len(row.cells) or block or large or not all(map(_one_cell, row.cells))

    while rows and over(rows[0]):
        rows = rows[1:]
    return rows


def _without_sums(rows: list[CellRow]) -> list[CellRow]:
    """Rows without the totals under them, whose labels stand in a column of numbers, and notes in the first column."""
    columns = [[cell for cell in column if cell] for column in _columns(rows[1:])]
    numbers = [2 * sum(all(map(_number, cell)) for cell in column) > len(column) for column in columns]
    for at, row in enumerate(rows[2:], 2):
        label = any(
            told and cell and not any(map(_counts, lines_of(cell)))
            for told, cell in zip(numbers, row.cells, strict=True)
        )
        if (row.filled < len(row.cells) and label) or not all(map(_one_cell, row.cells)):
            rows = rows[:at]
            break
    while rows and not (rows[-1].cells[0] and rows[-1].filled > 1):
        rows = rows[:-1]
    return rows


def _rows(lines: Sequence[Line], spans: Sequence[Span], most: float) -> list[CellRow]:
    """The rows of cells of lines; those of one cell stand at most so far apart."""
    cells: list[tuple[int, list[Line]]] = []
    for at in range(len(spans)):
        own = sorted((line for line in lines if column_of(line.box, spans) == at), key=lambda line: line.box.middle[1])
        starts = [k for k, (above, below) in enumerate(pairwise(own), 1) if step(above, below) > most]
        cells += [(at, own[low:high]) for low, high in pairwise([0, *starts, len(own)]) if own]
    rows: list[list[tuple[int, list[Line]]]] = []
    bottom = float("-inf")
    for column, cell in sorted(cells, key=lambda each: core(each[1][0])[0]):
        if core(cell[0])[0] < bottom:
            rows[-1].append((column, cell))
        else:
            rows.append([(column, cell)])
        bottom = max(bottom, max(core(line)[1] for line in cell))
    return [_row(row, len(spans)) for row in rows]


def _row(cells: Sequence[tuple[int, list[Line]]], count: int) -> CellRow:
    lines = [line for _, cell in cells for line in cell]
    return CellRow([list(lines)], [[line for at, cell in cells if at == k for line in cell] for k in range(count)], 0.0)


def _is_table(rows: Sequence[CellRow], columns: Columns) -> bool:
    """Whether rows of cells are those of a table: even ones, most with several cells, and a column with numbers."""
    if len(rows) < LEAST_ROWS or not all(columns.even(row) for row in rows):
        return False
    cells = [lines_of(cell) for row in rows for cell in row.cells if cell]
    lengths = [len(in_rows(cell)) for cell in cells]
    if max(lengths) > LONGEST_CELL or max(lengths) == 1 or sum(row.filled > 1 for row in rows) < 0.8 * len(rows):
        return False
    if any(step(*pair) > CLOSE * columns.pitch for cell in cells for pair in pairwise(cell)):  # two cells of a column
        return False
    numbers = [[any(map(_counts, lines_of(cell))) for cell in column if cell] for column in _columns(rows[1:])]
    return any(len(some) > 1 and sum(some) >= COUNTED * len(some) for some in numbers[1:])


def _columns(rows: Sequence[CellRow]) -> list[list[Row]]:
    return [[row.cells[at] for row in rows] for at in range(len(rows[0].cells))] if rows else []


def _one_cell(cell: Row) -> bool:
    """Whether lines may be one cell: they are no list of numbers or labels; a date may be two of these."""
    lines = lines_of(cell)
    return sum(map(_number, lines)) <= 2 and sum(labelled(line.text) for line in lines) <= 1


def _number(piece: Piece) -> bool:
    return isinstance(piece, Line) and numeric(piece.text)


def _counts(line: Line) -> bool:
    return any(map(str.isdigit, line.text))
