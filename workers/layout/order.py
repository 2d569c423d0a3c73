"""Reading order: pieces are cut into columns at clear gutters, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from workers.layout.bands import BIG_TYPE, Bands, Row, pieces_of
from workers.layout.columns import aligned_share, beside, listed, run_past, runs, separate, wraps
from workers.layout.gutters import outside
from workers.layout.lines import Line, in_rows
from workers.layout.menus import are_menus
from workers.layout.pieces import Figure, Flow, Frame, Group, Piece, Table, hull, merged
from workers.layout.rules import NEAR, Rule, Rules
from workers.layout.tables import Span, aligned_table, column_of, continued, fits
from workers.layout.words import numeric

NO_LINK = re.compile(r"[\d@:：]")
OVER_IMPRINT = 12  # ems from the links of a web page to its imprint


@dataclass(frozen=True)
class Order:
    """Puts the pieces of one page in reading order. `em`: the size of its usual type, in pixels."""

    em: float
    rules: Rules
    tables: bool = True
    imprint: float | None = None  # the y of the line that says who holds the rights in a web page

    @property
    def bands(self) -> Bands:
        return Bands(self.em)

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
        if len(over[0]) > 1 and len(below[0]) > 1 and not self.bands.fewer(over, below[:1]):
            return False
        return bool(self.bands.gutters(above[-3:] + below[:3])) and self.bands.fewer(above[-3:], below[:3])

    def _part(self, rows: list[Row]) -> list[Group]:
        band = self.bands.find(rows)
        if band is None:
            return self._flow(rows)
        start, end = band
        heading = self.bands.heading_across(rows, start, end)
        if heading is not None:
            return merged(self._part(rows[:heading]) + self._flow([rows[heading]]) + self._part(rows[heading + 1 :]))
        return merged(self._part(rows[:start]) + self._columns(rows[start:end]) + self._part(rows[end:]))

    def _columns(self, rows: list[Row]) -> list[Group]:
        """The groups of a band: its columns one after the other, or a table, or row by row."""
        spans = outside(self.bands.gutters(rows), hull([piece for row in rows for piece in row]))
        pieces = [piece for row in rows for piece in row]
        columns = [[piece for piece in pieces if column_of(piece.box, spans) == at] for at in range(len(spans))]
        lines = [[piece for piece in column if isinstance(piece, Line)] for column in columns]
        if any(len(some) < len(column) for some, column in zip(lines, columns, strict=True)):
            if all(any(isinstance(piece, Frame) for piece in column) for column in columns):
                return self._flow(rows)
            return [group for column in columns for group in self.groups(column)]
        wrapped = [wraps(column) for column in lines]
        apart = aligned_share(lines) < 0.6 or run_past(lines)
        if sum(wrapped) >= 2 or sum(map(listed, lines)) >= 2 or apart:
            return [group for column in columns for group in self.groups(column)]
        return self._tabular([[piece for piece in row if isinstance(piece, Line)] for row in rows])

    def _tabular(self, rows: list[list[Line]]) -> list[Group]:
        """Rows whose cells line up, cut where they stand far apart: tables, or rows to be read as they are."""
        groups: list[Group] = []
        for run in runs(rows, self.em, BIG_TYPE * self.em):
            middle = beside(run, self.bands.gutters([list(row) for row in run]), self.em)
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
        columns = [
            [line for row in rows for line in row if column_of(line.box, spans) == at] for at in range(len(spans))
        ]
        if len(rows) < 3 or len(columns) < 2 or not all(columns) or self._lined(rows):
            return []
        lists = separate(columns, rows, spans) or self._links(columns) or are_menus(columns, self.em)
        return columns if lists else []

    def _links(self, columns: list[list[Line]]) -> bool:
        """Whether columns are the links over the imprint of a web page: without numbers, and near it."""
        lines = [line for column in columns for line in column]
        room = (self.imprint or 0) - hull(list(lines)).y2
        return 0 < room < OVER_IMPRINT * self.em and not any(NO_LINK.search(line.text) for line in lines)

    def _lined(self, rows: list[list[Line]]) -> bool:
        """Whether rules or the edges of stripes part the rows, as only those of a table are parted."""
        boxes = [hull(list(row)) for row in rows]
        between = [(above.middle[1], below.middle[1]) for above, below in pairwise(boxes)]
        width = hull(pieces_of([list(row) for row in rows])).width
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
        return outside(self.bands.gutters(full), hull([line for row in full for line in row]))

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


def _only_frames(row: Row) -> bool:
    return len(row) > 1 and all(isinstance(piece, Frame) for piece in row)
