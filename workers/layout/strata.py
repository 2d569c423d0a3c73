"""Strata: where a level strip of white parts things of different columns, with nothing going on across it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from workers.layout.bands import Bands, Row, pieces_of
from workers.layout.gutters import outside
from workers.layout.lines import Line, core
from workers.layout.pieces import hull
from workers.layout.tables import column_of

LESS = 0.9  # of the white of a strip: that within what it parts
LEAST = 0.5  # ems of white over what is usual between lines
LINE = 0.8  # ems that a line is high without its margins
SAME_TYPE = 1.12  # of the type size
SAME_EDGE = 0.5  # ems
NEXT = 1.75  # ems from one line of a paragraph to the next
STEADY = 1.2  # of the step before or after: entries of one list


@dataclass(frozen=True)
class Strata:
    """Cuts layers apart. `em`: the size of the page's usual type, in pixels."""

    em: float

    def split(self, rows: list[Row]) -> list[list[Row]]:
        """Layers, cut where their columns change under a strip wider than those within."""
        gaps = [0.0, *(self._white(above, below) for above, below in pairwise(rows))]
        cuts = [at for at in range(1, len(rows)) if self._parts(rows, gaps, at)]
        return [rows[low:high] for low, high in pairwise([0, *cuts, len(rows)])]

    def _white(self, above: Row, below: Row) -> float:
        """Pixels of white between two layers."""
        return min(core(piece)[0] for piece in below) - max(core(piece)[1] for piece in above)

    def _parts(self, rows: list[Row], gaps: Sequence[float], at: int) -> bool:
        low = next((k for k in range(at - 1, 0, -1) if gaps[k] > LESS * gaps[at]), 0)
        high = next((k for k in range(at + 1, len(rows)) if gaps[k] > LESS * gaps[at]), len(rows))
        above, below = rows[low:at], rows[at:high]
        return self._differ(above, below) and not ties(rows, at)

    def _differ(self, above: list[Row], below: list[Row]) -> bool:
        """Whether two parts have columns that do not go together."""
        bands = Bands(self.em)
        gutters = [len(bands.gutters(part)) for part in (above, below)]
        union = bands.gutters(above + below)
        if max(gutters) == 0:
            return False
        if len(union) < max(gutters):
            return True
        spans = outside(union, hull(pieces_of(above + below)))
        filled = [{column_of(piece.box, spans) for row in part for piece in row} for part in (above, below)]
        return not filled[0] <= filled[1] and not filled[1] <= filled[0]


def ties(rows: list[Row], at: int) -> bool:
    """Whether something goes on from the layers before one to this: lines of one paragraph, or entries of one list."""
    above = sorted((line for row in rows[:at] for line in row if isinstance(line, Line)), key=lambda line: line.box.y1)
    below = sorted((line for row in rows[at:] for line in row if isinstance(line, Line)), key=lambda line: line.box.y1)
    for line in rows[at]:
        if not isinstance(line, Line):
            continue
        over = [other for other in above if _alike(other, line)][-2:]
        under = [other for other in below if other is not line and _alike(other, line) and other.box.y1 > line.box.y1]
        if not over:
            continue
        step = _step(over[-1], line)
        steps = [_step(*pair) for pair in pairwise(over)] + [_step(line, under[0])] if under else []
        if step < NEXT * line.em or (steps and step < STEADY * min(steps)):
            return True
    return False


def _alike(line: Line, other: Line) -> bool:
    near = SAME_EDGE * line.em
    edge = abs(line.box.x1 - other.box.x1) < near or abs(line.box.x2 - other.box.x2) < near
    return edge and max(line.em, other.em) < SAME_TYPE * min(line.em, other.em)


def _step(above: Line, below: Line) -> float:
    return below.box.middle[1] - above.box.middle[1]
