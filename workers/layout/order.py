"""Reading order: pieces are cut into columns at clear gutters, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from workers.layout.gutters import between, gaps, outside, union
from workers.layout.lines import Line, in_rows
from workers.layout.pieces import Figure, Flow, Frame, Group, Piece, Table, hull, merged
from workers.layout.rules import NEAR, Rule, Rules
from workers.layout.tables import (
    Span,
    aligned_share,
    aligned_table,
    beside,
    column_of,
    continued,
    fits,
    listed,
    runs,
    separate,
    wraps,
)
from workers.layout.words import numeric

Row = list[Piece]
LEAST_GUTTER = 0.8  # of an em
ENOUGH_GUTTER = 3.0  # of an em: wider ones count no more than this one
BIG_TYPE = 1.2  # of an em: a heading's
NO_LINK = re.compile(r"[\d@:：]")
OVER_IMPRINT = 12  # ems from the links of a web page to its imprint
OVER_COLUMNS = 4  # rows of text over all columns that may have been taken for theirs


@dataclass(frozen=True)
class Order:
    """Puts the pieces of one page in reading order. `em`: the size of its usual type, in pixels."""

    em: float
    rules: Rules
    tables: bool = True
    imprint: float | None = None  # the y of the line that says who holds the rights in a web page

    def groups(self, pieces: Sequence[Piece]) -> list[Group]:
        """The pieces in reading order, put together to what is read in one go."""
        return [group for part in self._split(in_rows(pieces)) for group in self._part(part)]

    def _split(self, rows: list[Row]) -> list[list[Row]]:
        """Rows cut apart around rows of frames, and at rules between things that do not go on under them."""
        parts, start = [], 0
        for at in range(1, len(rows)):
            ruled_off = self._ruled_off(rows[at - 1], rows[at], rows)
            if (ruled_off and self._differ(rows[max(start, at - 3) : at], rows[at:])) or (
                _only_frames(rows[at - 1]) != _only_frames(rows[at])
            ):
                parts.append(rows[start:at])
                start = at
        return [*parts, rows[start:]] if rows else []

    def _ruled_off(self, above: Row, below: Row, rows: list[Row]) -> bool:
        page = hull([piece for row in rows for piece in row])
        top, bottom = hull(above).y2 - 0.3 * self.em, hull(below).y1 + 0.3 * self.em
        edges = [y for row in (above, below) for p in row if isinstance(p, Frame) for y in (p.box.y1, p.box.y2)]
        free = [rule for rule in self.rules.across if all(abs(rule.at - y) > NEAR for y in edges)]
        between: list[Rule] = [rule for rule in free if top <= rule.at <= bottom]
        return any(min(rule.end, page.x2) - max(rule.start, page.x1) > 0.7 * page.width for rule in between)

    def _differ(self, above: list[Row], below: list[Row]) -> bool:
        """Whether the gutters on both sides of a rule are not those of one table."""
        over = above[-1:]
        if len(over[0]) == 1 < len(above) and hull(above[-2]).overlap_y(hull(over[0])) > -0.5 * self.em:
            over = above[-2:-1]  # the last row goes on with a wrapped cell
        if len(over[0]) > 1 and len(below[0]) > 1 and not self._fewer(over, below[:1]):
            return False
        return bool(self._gutters(above[-3:] + below[:3])) and self._fewer(above[-3:], below[:3])

    def _fewer(self, above: list[Row], below: list[Row]) -> bool:
        """Whether rows have fewer gutters together than alone."""
        return len(self._gutters(above + below)) < max(len(self._gutters(above)), len(self._gutters(below)))

    def _gutters(self, rows: list[Row]) -> list[Span]:
        return [gap for gap in gaps(rows) if gap[1] - gap[0] >= LEAST_GUTTER * self.em]

    def _part(self, rows: list[Row]) -> list[Group]:
        band = self._band(rows)
        if band is None:
            return self._flow(rows)
        start, end = band
        heading = self._heading_across(rows, start, end)
        if heading is not None:
            return merged(self._part(rows[:heading]) + self._flow([rows[heading]]) + self._part(rows[heading + 1 :]))
        return merged(self._part(rows[:start]) + self._columns(rows[start:end]) + self._part(rows[end:]))

    def _heading_across(self, rows: list[Row], start: int, end: int) -> int | None:
        """Where in a band a heading belongs to all columns: alone in its row, all of them stop over it and go on under.

        Beside a heading of one column the others have text, or at most the gap between two paragraphs.
        """
        for at in range(start + 1, end - 1):
            if len(rows[at]) > 1 or not self._big(rows[at][0]):
                continue
            over, under, box = rows[start:at], rows[at + 1 : end], rows[at][0].box
            top, bottom = hull(_pieces(over)).y2, hull(_pieces(under)).y1
            free = top - 0.3 * self.em < box.y1 and box.y2 < bottom + 0.3 * self.em
            if free and bottom - top > box.height + self.em and all(self._gutters(part) for part in (over, under)):
                return at
        return None

    def _band(self, rows: list[Row]) -> tuple[int, int] | None:
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
                        worth = self._worth(rows[start:end], gap)
                        if worth > most:
                            best, most = (start, end, gap), worth
                taken, free = grown, [gap for gap in left if gap[1] - gap[0] >= LEAST_GUTTER * self.em]
                if end > start and not free:
                    break
        return self._trimmed(rows, self._grown(rows, *best)) if best else None

    def _worth(self, rows: list[Row], gap: Span) -> float:
        """How tall and clear a gutter is, in square pixels; 0 when it has less than two lines on a side."""
        left = [piece for row in rows for piece in row if piece.box.x2 <= gap[0] + 1]
        right = [piece for row in rows for piece in row if piece.box.x1 >= gap[1] - 1]
        if not all(len(side) > 1 or any(not isinstance(piece, Line) for piece in side) for side in (left, right)):
            return 0.0
        beside = hull(left).overlap_y(hull(right))
        if beside < 1.9 * self.em:
            return 0.0
        return beside * min(gap[1] - gap[0], ENOUGH_GUTTER * self.em)

    def _grown(self, rows: list[Row], start: int, end: int, gutter: Span) -> tuple[int, int]:
        """A band with the rows over and under it that leave most of its gutter free."""
        least = max(LEAST_GUTTER * self.em, 0.6 * min(gutter[1] - gutter[0], 2 * ENOUGH_GUTTER * self.em))
        for step in (1, -1):
            while 0 <= (at := end if step > 0 else start - 1) < len(rows):
                left = between(union([*((p.box.x1, p.box.x2) for p in rows[at]), (-1e9, gutter[0]), (gutter[1], 1e9)]))
                widest = max(left, key=lambda gap: gap[1] - gap[0], default=(0.0, 0.0))
                if widest[1] - widest[0] >= least:
                    gutter = widest
                elif not self._same_columns(rows[start:end], rows[at]):
                    break
                start, end = (start, end + 1) if step > 0 else (start - 1, end)
        return start, end

    def _same_columns(self, band: list[Row], row: Row) -> bool:
        """Whether a row with cells keeps all the gutters of a band with at least three columns."""
        gutters = len(self._gutters(band))
        return gutters >= 2 and len(row) > 1 and len(self._gutters([*band, row])) == gutters

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
        if rows and self._apart(rows[0], rows[1 : 1 + half]):
            return 1
        for at in range(1, min(OVER_COLUMNS, len(rows) - 3)):
            rest = rows[at + 1 : at + 1 + half]
            if len(rows[at]) == 1 and self._crosses(rows[at], rest) and self._running(rest):
                return at + 1
        return 0

    def _apart(self, row: Row, rest: list[Row]) -> bool:
        """Whether the outermost row of a band is no part of its columns; `rest`: the others, from its side."""
        big = [piece for piece in row if self._big(piece)]
        if len(rest) < 2:
            return len(big) == len(row)
        if len(row) == 1:  # a heading, or the last line of what runs over all columns
            return bool(big) or (self._crosses(row, rest) and self._running(rest))
        return self._bar(row, rest) or (self._crosses(row, rest) and (bool(big) or self._running(rest)))

    def _crosses(self, row: Row, rest: list[Row]) -> bool:
        return len(self._gutters([row, *rest])) < len(self._gutters(rest))

    def _running(self, rows: list[Row]) -> bool:
        """Whether at least two columns of a band are running text."""
        spans = outside(self._gutters(rows), hull([piece for row in rows for piece in row]))
        lines = [piece for row in rows for piece in row if isinstance(piece, Line)]
        return sum(wraps([line for line in lines if column_of(line.box, spans) == at]) for at in range(len(spans))) >= 2

    def _bar(self, row: Row, rest: list[Row]) -> bool:
        """Whether a row stands off and does not keep to the columns: it goes on over things set across its gaps."""
        near = [piece for some in rest[:3] for piece in some]
        if len(row) < 3 or hull(row).overlap_y(hull(rest[0])) > -self.em:
            return False
        spans = outside(self._gutters(rest), hull([*row, *(piece for some in rest for piece in some)]))
        columns = [column_of(piece.box, spans) for piece in row]
        crossed = (
            any(piece.box.x1 < left.box.x2 and right.box.x1 < piece.box.x2 for piece in near)
            for (left, at), (right, to) in pairwise(zip(row, columns, strict=True))
            if at == to
        )
        return len(set(columns)) > 1 and any(crossed)

    def _big(self, piece: Piece) -> bool:
        return isinstance(piece, Line) and piece.em > BIG_TYPE * self.em

    def _columns(self, rows: list[Row]) -> list[Group]:
        """The groups of a band: its columns one after the other, or a table, or row by row."""
        spans = outside(self._gutters(rows), hull([piece for row in rows for piece in row]))
        pieces = [piece for row in rows for piece in row]
        columns = [[piece for piece in pieces if column_of(piece.box, spans) == at] for at in range(len(spans))]
        lines = [[piece for piece in column if isinstance(piece, Line)] for column in columns]
        if any(len(some) < len(column) for some, column in zip(lines, columns, strict=True)):
            if all(any(isinstance(piece, Frame) for piece in column) for column in columns):
                return self._flow(rows)
            return [group for column in columns for group in self.groups(column)]
        wrapped = [wraps(column) for column in lines]
        if sum(wrapped) >= 2 or sum(map(listed, lines)) >= 2 or aligned_share(lines) < 0.6:
            return [group for column in columns for group in self.groups(column)]
        return self._tabular([[piece for piece in row if isinstance(piece, Line)] for row in rows])

    def _tabular(self, rows: list[list[Line]]) -> list[Group]:
        """Rows whose cells line up, cut where they stand far apart: tables, or rows to be read as they are."""
        groups: list[Group] = []
        for run in runs(rows, self.em, BIG_TYPE * self.em):
            middle = beside(run, self._gutters([list(row) for row in run]), self.em)
            if middle is None and (columns := self._separate(run)):
                groups += [group for column in columns for group in self.groups(column)]
                continue
            if middle is None:
                groups += self._table(run)
                continue
            pieces = [line for row in run for line in row]
            groups += self.groups([line for line in pieces if line.box.x1 < middle])
            groups += self.groups([line for line in pieces if line.box.x1 > middle])
        return groups

    def _separate(self, rows: list[list[Line]]) -> list[list[Line]]:
        """The columns of rows, when each is a list of its own; else none."""
        spans = self._spans(rows)
        columns = [[line for row in rows for line in row if column_of(line.box, spans) == at] for at in range(len(spans))]
        if len(rows) < 3 or len(columns) < 2 or not all(columns) or self._lined(rows):
            return []
        return columns if separate(columns, rows, spans) or self._links(columns) else []

    def _links(self, columns: list[list[Line]]) -> bool:
        """Whether columns are the links over the imprint of a web page: without numbers, and near it."""
        lines = [line for column in columns for line in column]
        room = (self.imprint or 0) - hull(list(lines)).y2
        return 0 < room < OVER_IMPRINT * self.em and not any(NO_LINK.search(line.text) for line in lines)

    def _lined(self, rows: list[list[Line]]) -> bool:
        """Whether rules or the edges of stripes part the rows, as only those of a table are parted."""
        boxes = [hull(list(row)) for row in rows]
        between = [(above.middle[1], below.middle[1]) for above, below in pairwise(boxes)]
        width = hull(_pieces([list(row) for row in rows])).width
        long = [rule.at for rule in self.rules.across if rule.length > 0.7 * width]
        return 3 * sum(any(low < at < high for at in long) for low, high in between) > len(between)

    def _table(self, rows: list[list[Line]]) -> list[Group]:
        """A table, without the rows over and under it that are none of its own."""
        spans = self._spans(rows)
        own = [at for at, row in enumerate(rows) if len(row) > 1 and fits(row, spans)]
        first, last = (own[0], own[-1]) if own else (0, len(rows) - 1)
        goes_on = continued(rows[first:], spans, last + 1 - first)[last + 1 - first :]
        last += next((at for at, more in enumerate(goes_on) if not more), len(goes_on))
        body = rows[first : last + 1]
        if not own or not self._is_table(body, spans):
            return [Flow(rows)]
        above, below = rows[:first], rows[last + 1 :]
        table = aligned_table(body, self._spans(body))
        return [*([Flow(above)] if above else []), table, *(self._table(below) if below else [])]

    def _spans(self, rows: list[list[Line]]) -> list[Span]:
        """The columns of a table, by its rows that have most of their cells."""
        most = max(len(row) for row in rows)
        full: list[Row] = [list(row) for row in rows if len(row) >= 0.6 * most]
        return outside(self._gutters(full), hull([line for row in full for line in row]))

    def _is_table(self, rows: Sequence[Sequence[Line]], spans: Sequence[Span]) -> bool:
        if not self.tables or len(spans) < 2:
            return False
        count = len(rows) - sum(continued(rows, spans))
        numbers = any(numeric(line.text) for row in rows for line in row[1:])
        return count >= 2 if len(spans) > 2 else count >= (3 if numbers else 4)

    def _flow(self, rows: list[Row]) -> list[Group]:
        """Rows in their order; what is not a line stands for itself."""
        groups: list[Group] = []
        open_rows: list[list[Line]] = []
        for row in rows:
            lines = [piece for piece in row if isinstance(piece, Line)]
            if len(lines) == len(row):
                open_rows.append(lines)
                continue
            if open_rows:
                groups.append(Flow(open_rows))
                open_rows = []
            for piece in row:
                groups += self._alone(piece)
        return [*groups, Flow(open_rows)] if open_rows else groups

    def _alone(self, piece: Piece) -> list[Group]:
        if isinstance(piece, Line):
            return [Flow([[piece]])]
        if isinstance(piece, Frame):
            return self.groups(piece.pieces)
        assert isinstance(piece, Table | Figure)
        return [piece]


def _pieces(rows: list[Row]) -> Row:
    return [piece for row in rows for piece in row]


def _only_frames(row: Row) -> bool:
    return len(row) > 1 and all(isinstance(piece, Frame) for piece in row)
