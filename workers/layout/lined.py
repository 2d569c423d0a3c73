"""Tables whose rows are parted by lines or told apart by stripes, with no rules between their columns.

The lines tell where such a table is, and most often what is one row of it, however its cells are wrapped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from workers.layout.gutters import gaps, outside
from workers.layout.lines import Box, Line, around, in_rows
from workers.layout.pieces import Table
from workers.layout.rules import NEAR, Rule, Rules
from workers.layout.tables import HYPHENED, Span, cells_table, column_of
from workers.layout.words import joined, labelled, numeric

LEAST_GUTTER = 0.8  # ems
LEAST_ROWS = 3
LOW = 0.8  # ems: too low for a line of text
LONGEST_CELL = 8  # lines
PIECES = 2.5  # ems between the pieces of one line of a cell, at most
LINES_APART = 2.1  # ems from line to line of a cell, at most
FULL = 0.6  # of the cells of a row
ALIGNED = 0.4  # ems
WRAPPED = 1.8  # ems from line to line of a wrapped header, at most
NEXT_SUM = 3.0  # ems from one total to the next, at most
ROOM = 1.6  # of the room between a line and the text under it: that over it

Rows = list[list[Line]]


@dataclass(frozen=True)
class Stack:
    """Lines of one width under one another; `tables`: makes a table of lines of text that are one, of several rows."""

    edges: list[float]
    box: Box
    em: float
    tables: Callable[[Sequence[Line]], Table | None]

    def found(self, lines: Sequence[Line]) -> list[Table]:
        """The tables between the lines, among lines of text."""
        bands = self._bands(lines)
        found: list[Table] = []
        start = 0
        while start < len(bands):
            runs = ((end, self._table(bands[start:end], lines)) for end in range(len(bands), start + 1, -1))
            start, table = next((run for run in runs if run[1]), (start + 1, None))
            found += [table] if table else []
        return found

    def _bands(self, lines: Sequence[Line]) -> list[Band]:
        bands = []
        for top, bottom in pairwise(self.edges):
            if bottom - top < LOW * self.em:
                continue
            level = [line for line in lines if top <= line.box.middle[1] < bottom]
            inner = [line for line in level if line.box.x1 < self.box.x2 and line.box.x2 > self.box.x1]
            bands.append(Band(inner, self._holds(inner), top, bottom))
        return bands

    def _holds(self, lines: Sequence[Line]) -> bool:
        return all(self.box.x1 - self.em < line.box.x1 and line.box.x2 < self.box.x2 + self.em for line in lines)

    def _table(self, bands: Sequence[Band], lines: Sequence[Line]) -> Table | None:
        """The table that bands make, if they make one: the outermost ones leave all columns of the others."""
        rows = [band.lines for band in bands]
        if not all(band.lines and band.whole for band in bands):
            return None
        columns = columns_of(rows, self.em)
        if len(columns) < max(2, len(columns_of(rows[1:], self.em)), len(columns_of(rows[:-1], self.em))):
            return None
        filled = [{column_of(line.box, columns) for line in row} for row in rows]
        lonely = sum(sum(at in row for row in filled) < 2 for at in range(len(columns)))
        if min(map(len, filled)) < 2 or lonely > 1:
            return None
        for row, own in zip(rows, filled, strict=True):
            aligned = _aligned(row, [other for other in rows if other is not row], columns)
            if len(aligned) <= 0.5 * len(own):
                return None
        if len(bands) < LEAST_ROWS and several_rows(rows[-1], columns):
            table = self.tables([line for row in rows for line in row])
            return table if table and len(table.cells[0]) >= len(columns) else None
        if not all(is_row(row, columns) for row in rows):
            return None
        rows = self._grown(rows, (bands[0].top, bands[-1].bottom), [line for line in lines if self._holds([line])])
        return _table_of(rows, columns_of(rows, self.em)) if len(rows) >= LEAST_ROWS else None

    def _grown(self, rows: Rows, edges: tuple[float, float], lines: Sequence[Line]) -> Rows:
        """Rows with the header over their first line, and one under the last as striped tables have it."""
        for outer, edge in ((0, edges[0]), (-1, edges[1])):
            if outer == 0 and headed(rows, columns_of(rows, self.em)):
                continue
            more = self._beyond(lines, rows, outer, edge)
            columns = columns_of([*rows, more], self.em)
            filled = {column_of(line.box, columns) for line in more}
            least = (0.5 if outer == 0 else 1.0) * len(filled)
            if len(filled) > max(1.0, FULL * len(columns) - 0.5) and len(_aligned(more, rows, columns)) >= least:
                if outer == 0:
                    rows = [more, *rows]
                elif 0 in filled and (len(filled) > len(columns) - 2 or not _first_sum(more, lines)):
                    rows = [*rows, more]
        return rows

    def _beyond(self, lines: Sequence[Line], rows: Rows, outer: int, edge: float) -> list[Line]:
        """The lines that stand as close to the outer edge of a table on its other side as the text of a row would."""
        count = len(columns_of(rows, self.em))
        heights = sorted(around([line.box for line in row]).height for row in rows)
        inner = min(abs(edge - line.box.middle[1]) for line in rows[outer])
        room = ROOM * max(inner, heights[0] / 2) + 0.4 * self.em
        found: list[Line] = []
        beyond = in_rows([line for line in lines if (line.box.middle[1] < edge) == (outer == 0)])
        for more in beyond[::-1] if outer == 0 else beyond:
            middles = [line.box.middle[1] for line in more]
            near = min(abs(edge - middle) for middle in middles) <= room
            columns = columns_of([*rows, [*found, *more]], self.em)
            if not near or len(columns) < count or not is_row([*found, *more], columns):
                break
            found += more
            edge, room = (min(middles) if outer == 0 else max(middles)), WRAPPED * self.em
        return found


@dataclass(frozen=True)
class Band:
    """What stands between two lines, at `top` and `bottom`; `whole`: nothing of it reaches out to the left or right."""

    lines: list[Line]
    whole: bool
    top: float
    bottom: float


def lined_tables(
    rules: Rules, lines: Sequence[Line], em: float, tables: Callable[[Sequence[Line]], Table | None]
) -> list[Table]:
    """The tables between lines as wide as each other; a line of text belongs to one at most."""
    found: list[Table] = []
    for stack in _stacks(rules.across):
        box = Box(min(rule.start for rule in stack), stack[0].at, max(rule.end for rule in stack), stack[-1].at)
        rest = [line for line in lines if not any(line in table.lines for table in found)]
        found += Stack([rule.at for rule in stack], box, em, tables).found(rest)
    return found


def _stacks(across: Sequence[Rule]) -> list[list[Rule]]:
    """Lines that start and end at the same places, from the top; more than two of them."""
    stacks: list[list[Rule]] = []
    for rule in sorted(across, key=lambda rule: rule.at):
        like = [s for s in stacks if abs(s[0].start - rule.start) <= NEAR and abs(s[0].end - rule.end) <= NEAR]
        if like:
            like[0].append(rule)
        else:
            stacks.append([rule])
    return [stack for stack in stacks if len(stack) > 2]


def columns_of(rows: Rows, em: float) -> list[Span]:
    """The columns that rows leave free gutters between."""
    free = [gap for gap in gaps(rows) if gap[1] - gap[0] >= LEAST_GUTTER * em]
    return outside(free, around([line.box for row in rows for line in row]))


def _cells(row: Sequence[Line], columns: Sequence[Span]) -> list[list[Line]]:
    return [[line for line in row if column_of(line.box, columns) == at] for at in range(len(columns))]


def _table_of(rows: Rows, columns: Sequence[Span]) -> Table:
    return cells_table([_cells(row, columns) for row in rows])


def headed(rows: Rows, columns: Sequence[Span]) -> bool:
    """Whether the first row is a header: it has words where the others have numbers."""
    table = [_cells(row, columns) for row in rows]
    heads = [
        line
        for column in zip(*table, strict=True)
        if 2 * sum(any(numeric(line.text) for line in cell) for cell in column[1:]) > sum(map(bool, column[1:])) > 0
        for line in column[0]
    ]
    return bool(heads) and not any(character.isdigit() for line in heads for character in line.text)


def several_rows(lines: Sequence[Line], columns: Sequence[Span]) -> bool:
    """Whether lines are of several rows that have most of their cells."""
    filled = [len({column_of(line.box, columns) for line in row}) for row in in_rows(lines)]
    return sum(count > FULL * len(columns) for count in filled) > 1


def _first_sum(row: Sequence[Line], lines: Sequence[Line]) -> bool:
    """Whether a row ends in the first number of several under one another, as the first of the totals does."""
    last = max(row, key=lambda line: line.box.x2)
    under = [line for line in lines if 0.5 * last.em < line.box.middle[1] - last.box.middle[1] < NEXT_SUM * last.em]
    return numeric(last.text) and any(numeric(line.text) and _flush(line, last) for line in under)


def is_row(lines: Sequence[Line], columns: Sequence[Span]) -> bool:
    """Whether lines may be one row of a table: those of a cell are few and close, and no list of numbers or labels."""
    for cell in _cells(lines, columns):
        rows = in_rows(cell)
        steps = [below[0].box.middle[1] - above[0].box.middle[1] for above, below in pairwise(rows)]
        if len(rows) > LONGEST_CELL or any(step > LINES_APART * cell[0].em for step in steps):
            return False
        if any(right.box.x1 - left.box.x2 > PIECES * left.em for row in rows for left, right in pairwise(row)):
            return False
        texts = [joined([line.text for line in row]) for row in rows]
        if any(sum(like(text) and not HYPHENED.search(text) for text in texts) > 1 for like in (numeric, labelled)):
            return False
    return True


def _aligned(row: Sequence[Line], rows: Rows, columns: Sequence[Span]) -> set[int]:
    """The columns in which a line of a row starts, ends or has its middle where one of other rows does."""
    others = _cells([line for some in rows for line in some], columns)
    placed = [(column_of(line.box, columns), line) for line in row]
    return {at for at, line in placed if any(_flush(line, other) for other in others[at])}


def _flush(line: Line, other: Line) -> bool:
    box, by = line.box, other.box
    return min(abs(box.x1 - by.x1), abs(box.x2 - by.x2), abs(box.middle[0] - by.middle[0])) < ALIGNED * line.em


def parted_by_rules(rows: Rows, rules: Rules) -> bool:
    """Whether rules or the edges of stripes part rows, as only those of a table are parted."""
    boxes = [around([line.box for line in row]) for row in rows]
    between = [(above.middle[1], below.middle[1]) for above, below in pairwise(boxes)]
    width = around(boxes).width
    long = [rule.at for rule in rules.across if rule.length > 0.7 * width]
    return 3 * sum(any(low < at < high for at in long) for low, high in between) > len(between)
