"""What a page is put together from: lines, and things that take their place among the lines as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Union

from workers.layout.lines import Box, Line, around


@dataclass(frozen=True)
class Table:
    """Rows of cells, all rows as long as the first; the lines are those that the cells were read from."""

    box: Box
    cells: list[list[str]]
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class Figure:
    """A picture, and the lines that stand in it."""

    box: Box
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True)
class Frame:
    """Pieces that a rectangle holds together: they are read before anything outside goes on."""

    box: Box
    pieces: list[Piece]


@dataclass(frozen=True)
class Flow:
    """Lines that are read from top to bottom, each row from left to right."""

    rows: list[list[Line]]

    @property
    def box(self) -> Box:
        return around([line.box for row in self.rows for line in row])


Piece = Union[Line, Table, Figure, Frame]  # noqa: UP007 - Frame names it before it exists
Group = Flow | Table | Figure
Row = list[Piece]


def pieces_of(rows: Sequence[Sequence[Piece]]) -> Row:
    """The pieces of all rows."""
    return [piece for row in rows for piece in row]


def hull(pieces: Sequence[Piece]) -> Box:
    return around([piece.box for piece in pieces])


def lines_of(pieces: Sequence[Piece]) -> list[Line]:
    """Those pieces that are lines."""
    return [piece for piece in pieces if isinstance(piece, Line)]


def merged(groups: Sequence[Group]) -> list[Group]:
    """Groups, flows that go on right under one another made one: a paragraph may have been cut in two."""
    united: list[Group] = []
    for group in groups:
        last = united[-1] if united else None
        if isinstance(group, Flow) and isinstance(last, Flow) and _goes_on(last, group):
            united[-1] = Flow(last.rows + group.rows)
        else:
            united.append(group)
    return united


def _goes_on(above: Flow, below: Flow) -> bool:
    over, under = hull(above.rows[-1]), hull(below.rows[0])
    return 0 < under.middle[1] - over.y2 < 1.3 * over.height and abs(under.x1 - over.x1) < over.height
