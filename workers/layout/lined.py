"""Tables whose rows are parted by lines or told apart by stripes, with no rules between their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from workers.layout.gutters import gaps, outside
from workers.layout.lines import Box, Line, around, in_rows
from workers.layout.pieces import Table
from workers.layout.rules import NEAR, Rule, Rules
from workers.layout.tables import Span, cells_table, column_of
from workers.layout.words import labelled, numeric

LEAST_GUTTER = 0.8  # ems
LEAST_ROWS = 3  # that lines part
LONGEST_CELL = 5  # lines
FULL = 0.6  # of the cells of a row outside the first and the last line that are filled
ROOM = 1.5  # of the room between a line and the text under it: that over it

Rows = list[list[Line]]


@dataclass(frozen=True)
class Lined:
    """A table between lines: the lines of text of each row, from the top, and where its columns are."""

    rows: Rows
    columns: list[Span]

    def table(self) -> Table:
        """The table, with the lines of each cell put together."""
        return cells_table(
            [[[line for line in row if column_of(line.box, self.columns) == at] for at in range(len(self.columns))]
             for row in self.rows]
        )


def lined_tables(rules: Rules, lines: Sequence[Line], em: float) -> list[Lined]:
    """The tables between lines as wide as each other; a line of text belongs to one at most."""
    found: list[Lined] = []
    for edges in _stacks(rules.across):
        start, end = min(rule.start for rule in edges), max(rule.end for rule in edges)
        rest = [line for line in lines if not any(line in row for table in found for row in table.rows)]
        found += _tables([rule.at for rule in edges], Box(start, edges[0].at, end, edges[-1].at), rest, em)
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


def _tables(edges: Sequence[float], box: Box, lines: Sequence[Line], em: float) -> list[Lined]:
    """The tables between the lying lines at some heights, as wide as a box."""
    bands = _bands(edges, box, lines, em)
    found: list[Lined] = []
    start = 0
    while start < len(bands):
        best = next((end for end in range(len(bands), start + LEAST_ROWS - 1, -1) if _one(bands[start:end], em)), None)
        if best is None:
            start += 1
            continue
        rows = [band.lines for band in bands[start:best]]
        within = [line for line in lines if box.x1 - em < line.box.x1 and line.box.x2 < box.x2 + em]
        found.append(_grown(rows, (bands[start].top, bands[best - 1].bottom), within, em))
        start = best
    return found


@dataclass(frozen=True)
class _Band:
    """What stands between two lines; `whole`: nothing of it reaches out of them to the left or right."""

    lines: list[Line]
    whole: bool
    top: float
    bottom: float


def _bands(edges: Sequence[float], box: Box, lines: Sequence[Line], em: float) -> list[_Band]:
    bands = []
    for top, bottom in pairwise(edges):
        if bottom - top < 0.8 * em:
            continue
        level = [line for line in lines if top <= line.box.middle[1] < bottom]
        inner = [line for line in level if line.box.x1 < box.x2 and line.box.x2 > box.x1]
        whole = all(line.box.x1 > box.x1 - em and line.box.x2 < box.x2 + em for line in inner)
        bands.append(_Band(inner, whole, top, bottom))
    return bands


def _one(bands: Sequence[_Band], em: float) -> bool:
    """Whether bands are the rows of one table: the outermost ones leave all the columns of the others."""
    if not all(band.lines and band.whole for band in bands):
        return False
    rows = [band.lines for band in bands]
    columns = _columns(rows, em)
    if len(columns) < max(2, len(_columns(rows[1:], em)), len(_columns(rows[:-1], em))):
        return False
    return all(len({column_of(line.box, columns) for line in row}) > 1 and _is_row(row, columns) for row in rows)


def _columns(rows: Rows, em: float) -> list[Span]:
    free = [gap for gap in gaps(rows) if gap[1] - gap[0] >= LEAST_GUTTER * em]
    return outside(free, around([line.box for row in rows for line in row]))


def _cells(row: Sequence[Line], columns: Sequence[Span]) -> list[list[Line]]:
    return [[line for line in row if column_of(line.box, columns) == at] for at in range(len(columns))]


def _is_row(lines: Sequence[Line], columns: Sequence[Span]) -> bool:
    """Whether lines may be one row of a table: no cell has numbers or labels under one another, nor is it long."""
    rows = in_rows(lines)
    filled = [len({column_of(line.box, columns) for line in row}) for row in rows]
    cells = _cells(lines, columns)
    listed = any(sum(like(line.text) for line in cell) > 1 for cell in cells for like in (numeric, labelled))
    several = len(rows) > 1 and sum(count > FULL * len(columns) for count in filled) > 1
    return not listed and not several and max(len(in_rows(cell)) for cell in cells) <= LONGEST_CELL


def _grown(rows: Rows, edges: tuple[float, float], lines: Sequence[Line], em: float) -> Lined:
    """A table with the header over its first line, and a row under its last one as striped tables have it."""
    for outer, at in ((0, edges[0]), (-1, edges[1])):
        columns = _columns(rows, em)
        more = _beyond(lines, rows, outer, at, em)
        several = len({column_of(line.box, columns) for line in more}) > max(1, FULL * len(columns) - 0.5)
        kept = len(_columns([*rows, more], em)) >= len(columns) and _is_row(more, columns) if several else False
        if kept and (outer == 0 or any(column_of(line.box, columns) == 0 for line in more)):  # no sum
            rows = [more, *rows] if outer == 0 else [*rows, more]
    return Lined(rows, _columns(rows, em))


def _beyond(lines: Sequence[Line], rows: Rows, outer: int, edge: float, em: float) -> list[Line]:
    """The lines that stand as close to the outer edge of a table on its other side as the text of a row would."""
    here = around([line.box for line in rows[outer]])
    room = ROOM * abs(edge - (here.y1 if outer == 0 else here.y2)) + 0.4 * em
    found: list[Line] = []
    beyond = in_rows([line for line in lines if (line.box.middle[1] < edge) == (outer == 0)])
    for more in beyond[::-1] if outer == 0 else beyond:
        box = around([line.box for line in more])
        if (edge - box.y2 if outer == 0 else box.y1 - edge) > room:
            break
        found += more
        edge, room = (box.y1 if outer == 0 else box.y2), 0.5 * em
    return found
