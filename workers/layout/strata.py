"""Strata: where a level strip of white parts things of different columns, with nothing going on across it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from workers.layout.bands import Bands
from workers.layout.columns import aligned_share, runs_on, wraps
from workers.layout.floats import quoted
from workers.layout.gutters import outside
from workers.layout.lines import Line, core, in_rows
from workers.layout.pieces import Row, hull, lines_of, pieces_of
from workers.layout.rules import Rules
from workers.layout.stripes import columns_of_both
from workers.layout.tables import Span, column_of
from workers.layout.ties import ties
from workers.layout.words import numeric

LESS = 0.9  # of the white of a strip: that within what it parts
LEAST, WIDE = 1.2, 2.0  # ems of white, the second beside running text
CLEAR, NONE_LIKE = 1.45, 0.6  # ems of white, and of it: that of any other strip
LONG = 6  # lines of running text that are no mere note
NARROW = 0.5  # ems that are left of a gutter that goes on
NEAR = 3  # layers
COLUMNS = 3
BOLDER, LARGER = 1.15, 1.1  # of the strokes and the size of the type over it: a title's
TITLE = 1.5  # of the usual type: a letterhead's
NOT_ALIGNED = 0.5  # of the lines of notes beside sums


@dataclass(frozen=True)
class Strata:
    """Cuts layers apart. `em`: the size of the page's usual type, in pixels."""

    em: float
    rules: Rules

    def split(self, rows: list[Row]) -> list[list[Row]]:
        """Layers, cut where their columns change under a strip wider than those within."""
        gaps = [0.0, *(self._white(above, below) for above, below in pairwise(rows))]
        cuts = [at for at in range(1, len(rows)) if self._parts(rows, gaps, at)]
        return [rows[low:high] for low, high in pairwise([0, *cuts, len(rows)])]

    def _white(self, above: Row, below: Row) -> float:
        """Pixels of white between two layers."""
        return min(core(piece)[0] for piece in below) - max(core(piece)[1] for piece in above)

    def _parts(self, rows: list[Row], gaps: Sequence[float], at: int) -> bool:
        if gaps[at] < LEAST * self.em or self._crossed(rows, at):
            return False
        low = next((k for k in range(at - 1, 0, -1) if gaps[k] > LESS * gaps[at]), 0)
        high = next((k for k in range(at + 1, len(rows)) if gaps[k] > LESS * gaps[at]), len(rows))
        above, below = rows[low:at], rows[at:high]
        clear = gaps[at] > CLEAR * self.em
        if gaps[at] < WIDE * self.em and any(map(self._runs, (above, below))):
            return clear and self._sums(above, below)
        alone = clear and all(gap < NONE_LIKE * gaps[at] for k, gap in enumerate(gaps) if k != at)
        differ = self._ends(above, below) or (clear and self._others(above, below, alone))
        differ = differ or (clear and (self._letterhead(above, below) or self._sums(above, below)))
        if not differ or ties(rows[:at], rows[at:]) or self._table(rows[:at], rows[at:]):
            return False
        return not self._flows(rows, low, at, high)

    def _table(self, above: list[Row], below: list[Row]) -> bool:
        """Whether the layers on both sides of a strip keep to three columns and more, as the rows of a table do."""
        near = [row for row in above[-NEAR:] if len(row) > 1], [row for row in below[:NEAR] if len(row) > 1]
        if not all(near) or len(above[-1]) < 2 or len(below[0]) < 2:
            return False
        over, under = lines_of(pieces_of(near[0])), lines_of(below[0])
        for size, most in (("weight", BOLDER), ("em", LARGER)):  # the titles of cards are no row under others
            if over and under and _usual(under, size) > most * _usual(over, size) > 0:
                return False
        return columns_of_both(pieces_of(near[0]), pieces_of(near[1]), self.em) >= COLUMNS

    def _flows(self, rows: list[Row], low: int, at: int, high: int) -> bool:
        """Whether the text of a part flows around a quote and goes on in the other."""
        bands = Bands(self.em)
        return any(quoted(bands, rows, *part) is not None for part in ((low, at), (at, high)))

    def _crossed(self, rows: list[Row], at: int) -> bool:
        """Whether a standing rule inside, as the edge of a side bar, goes on across the strip over a layer."""
        box = hull(pieces_of(rows))
        top = max(core(piece)[1] for piece in rows[at - 1]) - self.em
        bottom = min(core(piece)[0] for piece in rows[at]) + self.em
        return any(
            rule.start < top and bottom < rule.end and box.x1 + self.em < rule.at < box.x2 - self.em
            for rule in self.rules.down
        )

    def _runs(self, rows: list[Row]) -> bool:
        """Whether a column of layers is running text, beside others."""
        pieces = pieces_of(rows)
        spans = outside(Bands(self.em).gutters(rows), hull(pieces))
        columns = [
            lines_of([piece for piece in pieces if column_of(piece.box, spans) == at]) for at in range(len(spans))
        ]
        return len(columns) > 1 and any(len(in_rows(column)) >= LONG and wraps(column) for column in columns)

    def _ends(self, above: list[Row], below: list[Row]) -> bool:
        """Whether a gutter of one part ends at the other, or most of those of a bar."""
        bands = Bands(self.em)
        both = bands.gutters(above + below)
        for part in (above, below):
            ends = [gap for gap in bands.gutters(part) if _left_of(gap, both) < NARROW * self.em]
            bar = len(part) == 1 and len(part[0]) > 2 and 2 * len(ends) >= len(part[0])
            if bar or any(gap in ends for gap in bands.supported(part)):
                return True
        return False

    def _others(self, above: list[Row], below: list[Row], alone: bool) -> bool:
        """Whether two parts fill different columns; parted by a strip like no other, one of them may only fill more."""
        pieces = pieces_of(above + below)
        spans = outside(Bands(self.em).gutters(above + below), hull(pieces))
        over, under = ({column_of(piece.box, spans) for row in part for piece in row} for part in (above, below))
        if min(len(over), len(under)) < 2:
            return False
        return len(over & under) < min(len(over), len(under)) or (alone and over != under)

    def _letterhead(self, above: list[Row], below: list[Row]) -> bool:
        """Whether one part is a large title beside an address, and the other starts with blocks side by side."""
        bands = Bands(self.em)
        pieces = pieces_of(above)
        titles = [
            title
            for title in lines_of(pieces)
            if title.em > TITLE * self.em
            and all(title.box.overlap_x(piece.box) < 0 for piece in pieces if piece is not title)
        ]
        blocks = len(below[0]) > 1 and bool(bands.gutters(below[:1]))
        return len(titles) == 1 and len(pieces) > 2 and blocks and len(bands.gutters(above)) == 1

    def _sums(self, above: list[Row], below: list[Row]) -> bool:
        """Whether one part is text beside sums, and the other starts with text under the first alone."""
        whole = [at for at, row in enumerate(above) if len(lines_of(row)) < len(row)]
        above = above[whole[-1] + 1 :] if whole else above
        if not above:
            return False
        pieces = lines_of(pieces_of(above))
        spans = outside(Bands(self.em).gutters(above), hull(pieces_of(above)))
        columns = [[line for line in pieces if column_of(line.box, spans) == at] for at in range(len(spans))]
        if len(spans) != 3 or len(below[0]) > 1:
            return False
        text, labels, sums = columns
        own = wraps(text) or runs_on(text) or aligned_share([text, sums]) < NOT_ALIGNED
        told = len(labels) == len(sums) > 1 and all(numeric(line.text) for line in sums) and len(text) > 1
        return (
            told
            and own
            and below[0][0].box.x1 < spans[1][0] - self.em
            and not any(numeric(line.text) for line in labels)
        )


def _usual(lines: Sequence[Line], size: str) -> float:
    return float(median(getattr(line, size) for line in lines))


def _left_of(gap: Span, gutters: Sequence[Span]) -> float:
    """How wide the widest part of a gutter is that is free in others too, in pixels."""
    return max((min(gap[1], high) - max(gap[0], low) for low, high in gutters), default=0.0)
