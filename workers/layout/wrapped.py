"""Tables without rules whose cells wrap: what overlaps from top to bottom is one row, however its cells are aligned.

The lines of a cell stand closer than rows do, so that the cells are known before their rows are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from workers.layout.grids import CLOSE, CellRow, Columns
from workers.layout.gutters import between, gaps, outside, union
from workers.layout.lines import Line, around, core, in_rows, layers, step
from workers.layout.pieces import Piece, Row, Table, hull, lines_of, pieces_of
from workers.layout.tables import Span, cells_table, column_of
from workers.layout.words import labelled, numeric

LEAST_GUTTER = 0.7  # ems
LEAST_COLUMNS, LEAST_ROWS = 3, 3
MOST_WHITE = 2.5  # ems between layers
ONE_LINE = 1.75  # ems from line to line, from which on no cell is wrapped
COUNTED = 0.6  # of the cells of a column that have digits
FILLED = 0.5  # of the cells of a header
BOLDER = 1.15  # of the strokes of other rows: a header's
BEYOND = 5  # layers over a table that may be its header and first row
TRIES = 3  # layers of one set of columns that a table may begin at
LARGE = 1.3  # of the usual type
LONGEST_CELL = 14  # lines: those of narrow columns


def wrapped_tables(lines: Sequence[Line], em: float) -> list[Table]:
    """The tables among lines that have wrapped cells, rows that stand apart, and a column with numbers."""
    rows: list[Row] = [list(layer) for layer in layers(lines)]
    found: list[Table] = []
    at, tried = 0, 0
    while at < len(rows):
        if len(rows[at]) < LEAST_COLUMNS:
            at += 1
            continue
        end = _end(rows, at, em)
        best = _largest(rows, at, end, em)
        if best and not any(line in other.lines for other in found for line in best.lines):
            found.append(best)
            at, tried = max(at, max(k for k, row in enumerate(rows) if row[0] in best.lines)), 0
        tried += 1
        at = end if tried > TRIES else at + 1  # a long list of things that are no table takes no longer than a page
        tried = 0 if at == end else tried
    return found


def _largest(rows: list[Row], at: int, end: int, em: float) -> Table | None:
    """The largest table that goes through a layer and ends with its columns or before."""
    start = len(rows) - _end(rows[::-1], len(rows) - end, em)
    found = [_table(rows[low:end], em) for low in sorted({start, at})]
    tables = [table for table in found if table]
    if tables:  # what stands over a header may have ended the columns too early
        first = min(k for k in range(start, end) for table in tables if rows[k][0] in table.lines)
        again = _table(rows[first : _end(rows, first, em)], em)
        tables += [again] if again else []
    whole = [table for table in tables if not _cut_short(table, rows, em)]
    return max(whole, key=lambda table: len(table.lines), default=None)


def _cut_short(table: Table, rows: list[Row], em: float) -> bool:
    """Whether a row with as many cells, in the same columns, stands close under a table, or not far over it."""
    own = [at for at, row in enumerate(rows) if any(line in table.lines for line in lines_of(row))]
    over, under = rows[max(0, own[0] - BEYOND) : own[0]], rows[own[-1] + 1 :][:1]
    far = [(table.box.y1 - hull(row).y2, 2 * MOST_WHITE, row) for row in over]
    far += [(hull(row).y1 - table.box.y2, MOST_WHITE, row) for row in under]
    count = len(table.cells[0])
    return any(
        white < most * em and len(row) >= count and (row not in over[:-1] or _keeps(row, table, em))
        for white, most, row in far
    )


def _keeps(row: Row, table: Table, em: float) -> bool:
    """Whether a row has a piece in each column of a table."""
    spans = _spans([row, list(table.lines)], em)
    return len({column_of(piece.box, spans) for piece in row}) == len(spans) == len(table.cells[0])


def _end(rows: list[Row], start: int, em: float) -> int:
    """Up to which layer the columns of one go on: none of their gutters is crossed."""
    end, taken = start + 1, _taken(rows[start])
    while end < len(rows):
        row = _taken(rows[end])
        both = union([*taken, *row])
        white = -hull(rows[end]).overlap_y(hull(rows[end - 1]))
        if white > MOST_WHITE * em or _count(both, em) < max(_count(taken, em), _count(row, em)):
            break
        end, taken = end + 1, both
    return end


def _taken(row: Row) -> list[Span]:
    return union([(piece.box.x1, piece.box.x2) for piece in row])


def _count(taken: Sequence[Span], em: float) -> int:
    """How many columns there are in stretches with gutters between them."""
    return 1 + sum(high - low >= LEAST_GUTTER * em for low, high in between(taken))


def _spans(rows: Sequence[Row], em: float) -> list[Span]:
    free = [gap for gap in gaps(rows) if gap[1] - gap[0] >= LEAST_GUTTER * em]
    return outside(free, around([piece.box for piece in pieces_of(rows)]))


def _table(rows: list[Row], em: float) -> Table | None:
    """The table that layers make, without what only stands over and under its rows; None for no such."""
    before = 0
    while before != len(lines := lines_of(pieces_of(rows))):  # what stands over and under rows may narrow their gutters
        before = len(lines)
        if len(rows) < LEAST_ROWS or len(spans := _spans(rows, em)) < LEAST_COLUMNS:
            return None
        columns = Columns(rows, spans, em)
        if columns.pitch > ONE_LINE * em:
            return None
        found = _without_sums(_without_heads(_rows(lines, spans, CLOSE * columns.pitch), em))
        rows = [list(layer) for layer in layers([line for row in found for line in lines_of(row.rows[0])])]
    return cells_table([[lines_of(cell) for cell in row.cells] for row in found]) if _is_table(found, columns) else None


def _without_heads(rows: list[CellRow], em: float) -> list[CellRow]:
    """Rows without those that stand over a header: blocks, as addresses are, large type, and rows of a cell or two."""

    def over(row: CellRow) -> bool:
        lines = lines_of(pieces_of(row.cells))
        told = sum("@" in line.text or (_counts(line) and not numeric(line.text)) for line in lines)
        block = (max(map(len, row.cells)) > 2 and sum(map(_counts, lines)) > 1) or (
            len(lines) > row.filled and told > 1
        )
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
    counted = any(len(some) > 1 and sum(some) >= COUNTED * len(some) for some in numbers[1:])
    return counted or (len(rows) > LEAST_ROWS and _headed(rows))


def _headed(rows: Sequence[CellRow]) -> bool:
    """Whether the first row is set bolder than any other."""
    weights = [median(line.weight for line in lines_of(pieces_of(row.cells))) for row in rows]
    return weights[0] > BOLDER * max(weights[1:]) > 0


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
