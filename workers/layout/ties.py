"""What goes on from one line to another: paragraphs, lists, and titles with what they head."""

from __future__ import annotations

from collections.abc import Sequence

from workers.layout.lines import Line, core
from workers.layout.pieces import Row, lines_of, pieces_of

SAME_TYPE = 1.12  # of the type size
LIKE_TYPE = 1.3  # the same of lines right under one another: old-style figures make them seem smaller
SAME_EDGE = 0.5  # ems
NEXT = 1.75  # ems from one line of a paragraph to the next
TEXT = 15.0  # ems: lines of running text are longer
PARAGRAPH = 2.8  # ems from one line of running text to the next, at most
STEADY = 1.2  # of the step before or after: entries of one list
CLOSE = 1.1  # ems of white between a title and what it heads
APART = 3.0  # ems between titles


def ties(above: list[Row], below: list[Row]) -> bool:
    """Whether something goes on from layers to those under them: lines of one paragraph, or entries of one list."""
    lines = [sorted(lines_of(pieces_of(rows)), key=lambda line: line.box.y1) for rows in (above, below)]
    return any(_goes_on_over(line, lines[0], lines[1][at + 1 :]) for at, line in enumerate(lines[1]))


def _goes_on_over(line: Line, above: Sequence[Line], below: Sequence[Line]) -> bool:
    """Whether a line is the next of a paragraph or a list, given the lines of the layers above and those under it."""
    over = [other for other in above if other.box.overlap_x(line.box) > 0][-2:]
    if not over or not _alike(over[-1], line):
        return False
    step = _step(over[-1], line)
    if step < (PARAGRAPH if min(over[-1].box.width, line.box.width) > TEXT * line.em else NEXT) * line.em:
        return True
    steps = [_step(*over)] if len(over) > 1 and _alike(over[0], over[1]) else []
    under = next((other for other in below if other.box.overlap_x(line.box) > 0), None)
    steps += [_step(line, under)] if under and _alike(line, under) else []
    return bool(steps) and step < STEADY * min(steps)


def _alike(line: Line, other: Line, most: float = SAME_TYPE) -> bool:
    """Whether two lines are flush at one side, and of one type."""
    near = SAME_EDGE * line.em
    edge = abs(line.box.x1 - other.box.x1) < near or abs(line.box.x2 - other.box.x2) < near
    return edge and max(line.em, other.em) < most * min(line.em, other.em)


def _step(above: Line, below: Line) -> float:
    return below.box.middle[1] - above.box.middle[1]


def _goes_on(line: Line, other: Line) -> bool:
    """Whether two lines are neighbours in a paragraph or an address."""
    return _alike(line, other, LIKE_TYPE) and abs(_step(line, other)) < NEXT * line.em


def _heads(line: Line, other: Line, em: float) -> bool:
    """Whether a line is the title of another close under it."""
    near = SAME_EDGE * other.em
    flush = abs(line.box.x1 - other.box.x1) < near or abs(line.box.x2 - other.box.x2) < near
    return flush and line.em > other.em and 0 <= core(other)[0] - core(line)[1] < CLOSE * em


def tied(rows: Sequence[Row], em: float) -> bool:
    """Whether the first row has lines that go on in the second, as those of an address do."""
    if len(rows) < 2 or len(rows[0]) < 2:
        return False
    lines = lines_of(rows[0]), lines_of(rows[1])
    return any(_goes_on(line, other) or _heads(line, other, em) for line in lines[0] for other in lines[1])


def headed(rows: list[Row], em: float) -> list[Row]:
    """Rows, the first cut behind a title with an address under it: another title beside it comes after these."""
    if len(rows) < 2 or len(rows[0]) < 2:
        return rows
    head, others = _cut_apart(rows[0], em)
    if not others or len(head) < len(lines_of(head)):
        return rows
    own: list[Row] = [[line] for line in sorted(lines_of(head), key=lambda line: line.box.y1)]
    edge = min(piece.box.x1 for piece in others)
    for row in rows[1:]:
        line, last = row[0], own[-1][0]
        if not isinstance(line, Line) or not isinstance(last, Line) or len(row) > 1 or line.box.x2 >= edge:
            break
        if not (_goes_on(last, line) or _heads(last, line, em)):
            break
        own.append(row)
    return [*own, others, *rows[1 + len(own) - len(head) :]] if len(own) > 1 else rows


def _cut_apart(row: Row, em: float) -> tuple[Row, Row]:
    """The pieces of a row up to the first wide gap, and those behind it."""
    right = row[0].box.x2
    for at, piece in enumerate(row):
        if piece.box.x1 - right >= APART * em:
            return row[:at], row[at:]
        right = max(right, piece.box.x2)
    return row, []
