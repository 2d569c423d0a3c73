"""Bands: the rows that stand in columns, from one row up to another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from workers.layout.columns import wraps
from workers.layout.gutters import between, gaps, outside, union
from workers.layout.lines import Line, in_rows
from workers.layout.pieces import Piece, Row, hull, pieces_of
from workers.layout.tables import Span, column_of
from workers.layout.ties import tied

LEAST_GUTTER = 0.8  # of an em
ENOUGH_GUTTER = 3.0  # of an em: wider ones count no more than this one
BIG_TYPE = 1.2  # of an em: a heading's
SIDE_BY_SIDE = 0.5  # of the height that two columns share: in the rest, one of them may have nothing
SAME_EDGE = 0.5  # ems
FAR = 1.5  # ems between what does not belong together
NEARER = 5  # rows that may belong to what is beyond a band
OVER_COLUMNS = 4  # rows of text over all columns that may have been taken for theirs


@dataclass(frozen=True)
class Bands:
    """Finds bands of columns among rows. `em`: the size of the page's usual type, in pixels."""

    em: float

    def gutters(self, rows: list[Row]) -> list[Span]:
        return [gap for gap in gaps(rows) if gap[1] - gap[0] >= LEAST_GUTTER * self.em]

    def supported(self, rows: list[Row]) -> list[Span]:
        """The gutters with something on both sides, beside each other."""
        return [gap for gap in self.gutters(rows) if self._worth(rows, gap)]

    def fewer(self, above: list[Row], below: list[Row]) -> bool:
        """Whether rows have fewer gutters together than alone."""
        return len(self.gutters(above + below)) < max(len(self.gutters(above)), len(self.gutters(below)))

    def find(self, rows: list[Row]) -> tuple[int, int] | None:
        """The rows, from one up to another, that the tallest clear gutter runs along."""
        best: tuple[int, int, Span] | None = None
        most = 0.0
        for start in range(len(rows)):
            taken: list[Span] = []
            free: list[Span] = []
            for end in range(start, len(rows) + 1):
                grown = (
                    union([*taken, *((piece.box.x1, piece.box.x2) for piece in rows[end])]) if end < len(rows) else []
                )
                left = between(grown)
                for gap in free:
                    if gap not in left:
                        worth = self._worth(rows[start:end], gap) * (2 if end - start == len(rows) else 1)
                        if worth > most:
                            best, most = (start, end, gap), worth
                taken, free = grown, [gap for gap in left if gap[1] - gap[0] >= LEAST_GUTTER * self.em]
                if end > start and not free:
                    break
        if best is None:
            return None
        start, end = self._side_by_side(rows, self._grown(rows, *best), best[2])
        end -= self._nearer(rows[start:end][::-1], rows[end:])
        start += self._nearer(rows[start:end], rows[:start][::-1])
        return self._trimmed(rows, (start, end))

    def heading_across(self, rows: list[Row], start: int, end: int) -> int | None:
        """Where in a band a heading belongs to all columns: alone in its row, all of them stop over it and go on under.

        Beside a heading of one column the others have text, or at most the gap between two paragraphs.
        """
        for at in range(start + 1, end - 1):
            if len(rows[at]) > 1 or not self.big(rows[at][0]):
                continue
            over, under, box = rows[start:at], rows[at + 1 : end], rows[at][0].box
            top, bottom = hull(pieces_of(over)).y2, hull(pieces_of(under)).y1
            free = top - 0.3 * self.em < box.y1 and box.y2 < bottom + 0.3 * self.em
            apart = free and bottom - top > box.height + self.em and all(self.gutters(part) for part in (over, under))
            if apart and self._start_together(under):
                return at
        return None

    def _start_together(self, rows: list[Row]) -> bool:
        """Whether at least two columns start at one height."""
        pieces = pieces_of(rows)
        spans = outside(self.gutters(rows), hull(pieces))
        columns = [[piece.box.y1 for piece in pieces if column_of(piece.box, spans) == at] for at in range(len(spans))]
        tops = sorted(min(column) for column in columns if column)
        return len(tops) > 1 and tops[1] - tops[0] < 1.3 * self.em

    def _worth(self, rows: list[Row], gap: Span) -> float:
        """How tall and clear a gutter is, in square pixels; 0 when it has less than two lines on a side."""
        left = [piece for row in rows for piece in row if piece.box.x2 <= gap[0] + 1]
        right = [piece for row in rows for piece in row if piece.box.x1 >= gap[1] - 1]
        if not all(len(side) > 1 or any(not isinstance(piece, Line) for piece in side) for side in (left, right)):
            return 0.0
        beside = hull(left).overlap_y(hull(right))
        if beside < 1.9 * self.em:
            return 0.0
        really = sum(high - low for low, high in self._beside(left, right))
        beside = beside if really > SIDE_BY_SIDE * beside else really
        if beside < 1.9 * self.em:
            return 0.0
        return beside * min(gap[1] - gap[0], ENOUGH_GUTTER * self.em)

    def _beside(self, left: Sequence[Piece], right: Sequence[Piece]) -> list[Span]:
        """The stretches, top to bottom, where both sides have something; the space between lines counts as full."""
        full = [
            union([(piece.box.y1 - 0.5 * self.em, piece.box.y2 + 0.5 * self.em) for piece in side])
            for side in (left, right)
        ]
        both = [(max(low, other[0]), min(high, other[1])) for low, high in full[0] for other in full[1]]
        return sorted((low, high) for low, high in both if low < high)

    def _side_by_side(self, rows: list[Row], band: tuple[int, int], gutter: Span) -> tuple[int, int]:
        """A band without the rows before and after, where now one side has something and now the other."""
        start, end = band
        middle = (gutter[0] + gutter[1]) / 2
        pieces = [piece for row in rows[start:end] for piece in row]
        left, right = ([piece for piece in pieces if (piece.box.middle[0] < middle) == side] for side in (True, False))
        beside = self._beside(left, right)
        if not beside:
            return band
        before = [row for row in rows[start:end] if hull(row).middle[1] < beside[0][0]]
        after = [row for row in rows[start:end] if hull(row).middle[1] > beside[-1][1]]
        return start + _beyond(before[::-1], middle), end - _beyond(after, middle)

    def _grown(self, rows: list[Row], start: int, end: int, gutter: Span) -> tuple[int, int]:
        """A band with the rows over and under it that leave most of its gutter free."""
        least = max(LEAST_GUTTER * self.em, 0.6 * min(gutter[1] - gutter[0], 2 * ENOUGH_GUTTER * self.em))
        for step in (1, -1):
            while 0 <= (at := end if step > 0 else start - 1) < len(rows):
                left = between(union([*((p.box.x1, p.box.x2) for p in rows[at]), (-1e9, gutter[0]), (gutter[1], 1e9)]))
                widest = max(left, key=lambda gap: gap[1] - gap[0], default=(0.0, 0.0))
                ragged = widest[1] - widest[0] >= LEAST_GUTTER * self.em and self._ragged(
                    rows[start:end], rows[at], widest
                )
                if widest[1] - widest[0] >= least or ragged:
                    gutter = widest
                elif not self._same_columns(rows[start:end], rows[at]):
                    break
                start, end = (start, end + 1) if step > 0 else (start - 1, end)
        return start, end

    def _ragged(self, band: list[Row], row: Row, gutter: Span) -> bool:
        """Whether a row only reaches further into a gutter than a band does, with lines that start where others do."""
        near = SAME_EDGE * self.em
        starts = [piece.box.x1 for some in band for piece in some]
        right = min((x for x in starts if x > gutter[0]), default=gutter[1])
        flush = all(sum(abs(piece.box.x1 - x) < near for x in starts) > 1 for piece in row)
        return abs(gutter[1] - right) < near and flush

    def _nearer(self, rows: list[Row], beyond: list[Row]) -> int:
        """How many rows on this side of a band stand far from the rest and near to what is beyond it."""
        if not beyond:
            return 0
        near = self._gap(rows[:1], beyond)
        for at in range(1, min(NEARER, len(rows) - 2) + 1):
            gap = self._gap(rows[:at], rows[at:])
            if gap > FAR * self.em and gap > 2 * near:
                return at
        return 0

    def _gap(self, some: list[Row], others: list[Row]) -> float:
        """How far rows stand apart, in pixels."""
        return -hull(pieces_of(some)).overlap_y(hull(pieces_of(others)))

    def _same_columns(self, band: list[Row], row: Row) -> bool:
        """Whether a row with cells keeps all the gutters of a band with at least three columns."""
        gutters = len(self.gutters(band))
        return gutters >= 2 and len(row) > 1 and len(self.gutters([*band, row])) == gutters

    def _trimmed(self, rows: list[Row], band: tuple[int, int]) -> tuple[int, int] | None:
        """A band without the headings and the bars that stand over and under it."""
        start, end = band
        while off := self._off(rows[start:end]):
            start += off
        while off := self._off(rows[start:end][::-1]):
            end -= off
        return (start, end) if end - start > 1 or (start < end and len(rows[start]) > 1) else None

    def _off(self, rows: list[Row]) -> int:
        """How many rows on this side of a band are no part of its columns; the half next to a row tells these.

        What runs over all columns, as a footnote does, may have more than one row.
        """
        half = max(3, len(rows) // 2)
        if rows and not tied(rows, self.em) and self._apart(rows[0], rows[1 : 1 + half]):
            return 1
        for at in range(1, min(OVER_COLUMNS, len(rows) - 3)):
            rest = rows[at + 1 : at + 1 + half]
            if len(rows[at]) == 1 and self._crosses(rows[at], rest) and self.running(rest):
                return at + 1
        return 0

    def _apart(self, row: Row, rest: list[Row]) -> bool:
        """Whether the outermost row of a band is no part of its columns; `rest`: the others, from its side."""
        big = [piece for piece in row if self.big(piece)]
        if rest and hull(row).overlap_y(hull(pieces_of(rest))) > 0.5 * self.em:
            return False
        if len(rest) < 2:
            return len(big) == len(row)
        if len(row) == 1:  # a heading, or the last line of what runs over all columns
            return bool(big) or (self._crosses(row, rest) and (self.running(rest) or self._tabular(rest)))
        return self._bar(row, rest) or (self._crosses(row, rest) and (bool(big) or self.running(rest)))

    def _crosses(self, row: Row, rest: list[Row]) -> bool:
        return len(self.gutters([row, *rest])) < len(self.gutters(rest))

    def running(self, rows: list[Row]) -> bool:
        """Whether at least two columns of a band are running text."""
        spans = outside(self.gutters(rows), hull([piece for row in rows for piece in row]))
        lines = [piece for row in rows for piece in row if isinstance(piece, Line)]
        return sum(wraps([line for line in lines if column_of(line.box, spans) == at]) for at in range(len(spans))) >= 2

    def _tabular(self, rows: list[Row]) -> bool:
        """Whether rows have at least three columns that are filled side by side."""
        columns = len(self.gutters(rows)) + 1
        return columns > 2 and sum(len(row) >= columns for row in rows[:3]) > 1

    def _bar(self, row: Row, rest: list[Row]) -> bool:
        """Whether a row stands off and does not keep to the columns: it goes on over things set across its gaps."""
        near = [piece for some in rest[:3] for piece in some]
        if len(row) < 3 or len(in_rows(row)) > 1 or hull(row).overlap_y(hull(rest[0])) > -self.em:
            return False
        spans = outside(self.gutters(rest), hull([*row, *(piece for some in rest for piece in some)]))
        columns = [column_of(piece.box, spans) for piece in row]
        crossed = (
            any(piece.box.x1 < left.box.x2 and right.box.x1 < piece.box.x2 for piece in near)
            for (left, at), (right, to) in pairwise(zip(row, columns, strict=True))
            if at == to
        )
        return len(set(columns)) > 1 and any(crossed)

    def big(self, piece: Piece) -> bool:
        return isinstance(piece, Line) and piece.em > BIG_TYPE * self.em and any(map(str.isalpha, piece.text))


def _beyond(rows: Sequence[Row], middle: float) -> int:
    """How many rows are left from the first one on that stands on another side of the middle than those before it."""
    sides = [hull(row).middle[0] < middle for row in rows]
    return len(sides) - next((at for at, side in enumerate(sides) if side != sides[0]), len(sides))
