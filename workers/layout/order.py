"""Reading order: pieces are cut into columns at clear gutters, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from workers.layout.bands import BIG_TYPE, Bands
from workers.layout.bylines import Bylines
from workers.layout.cards import with_cards
from workers.layout.changes import changes, prose
from workers.layout.columns import beside, runs, separate, strip
from workers.layout.floats import around_aside
from workers.layout.grids import FREE, CellRow, Columns, card_rows, entries
from workers.layout.gutters import outside
from workers.layout.joined_columns import joined_columns
from workers.layout.lined import parted_by_rules
from workers.layout.lines import Line, in_rows, layers
from workers.layout.margins import Margins
from workers.layout.menus import are_menus
from workers.layout.pieces import Figure, Flow, Frame, Group, Piece, Row, Table, hull, lines_of, merged, pieces_of
from workers.layout.records import are_records, longest_run
from workers.layout.rules import Rules, parting
from workers.layout.sections import Sections
from workers.layout.strata import Strata
from workers.layout.tables import SAME_ROW, Span, aligned_table, cells_table, column_of, continued, fits, meets
from workers.layout.ties import headed
from workers.layout.told import large_inside, over_imprint, told_beside
from workers.layout.words import numeric

CLAUSE = re.compile(r"^(?:\d{1,2}(?:\.\d+)*[.)]?|\(?\w[.)])$")  # the number of a clause, or its letter
FAR_APART = 2.0  # of the pitch of running text: where new rows of columns begin
UNEVEN = 1.6  # of the narrowest column: wider ones are no cards beside it


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

    @property
    def _sections(self) -> Sections:
        return Sections(self.em, self.rules, self.imprint)

    def groups(self, pieces: Sequence[Piece]) -> list[Group]:
        """The pieces in reading order, put together to what is read in one go."""
        rows = layers(pieces)
        margins = Margins(self.em, self.rules)
        if foot := margins.under(rows):
            return [*self.groups(pieces_of(rows[:-foot])), *self._flow(rows[-foot:])]
        if bylines := Bylines(self.em).find(rows):
            start, end, blocks = bylines
            return [*self.groups(pieces_of(rows[:start])), *blocks, *self.groups(pieces_of(rows[end:]))]
        if head := margins.over(rows):
            return [*self._flow(rows[:head]), *self.groups(pieces_of(rows[head:]))]
        sections = self._sections.split(rows)
        return [
            group
            for section in sections
            for part in Strata(self.em, self.rules).split(section)
            for group in self._part(part)
        ]

    def _part(self, rows: list[Row]) -> list[Group]:
        band = self.bands.find(rows)
        if band is None:
            return self._flow(headed(rows, self.em))
        start, end = band
        heading = self.bands.heading_across(rows, start, end)
        if heading is not None:
            return merged(self._part(rows[:heading]) + self._flow([rows[heading]]) + self._part(rows[heading + 1 :]))
        if (flowed := around_aside(self.bands, rows, start, end)) is not None:
            before, aside, beside = flowed
            return merged(self._part(layers(before)) + self.groups(aside) + self._part(layers(beside)))
        return merged(self._part(rows[:start]) + self._columns(rows[start:end]) + self._part(rows[end:]))

    def _columns(self, rows: list[Row]) -> list[Group]:
        """The groups of a band: its columns one after the other, or a table, or row by row."""
        if above := self._over_table(rows):
            return [*self._flow(rows[:above]), *self._columns(rows[above:])]
        spans = outside(self.bands.gutters(rows), hull(pieces_of(rows)))
        pieces = pieces_of(rows)
        columns = [[piece for piece in pieces if column_of(piece.box, spans) == at] for at in range(len(spans))]
        joint = with_cards(joined_columns(columns), self.em)
        if (cells := self._cells(rows, spans, len(joint) > 1)) is not None:
            return cells
        if all(isinstance(piece, Frame) for piece in pieces):
            return self._flow(rows)
        if len(joint) == 1 and all(isinstance(piece, Line) for piece in pieces):
            return self._tabular(in_rows(lines_of(pieces)))
        return [group for column in joint for group in self.groups(column)]

    def _cells(self, rows: list[Row], spans: Sequence[Span], apart: bool) -> list[Group] | None:
        """The groups of rows of cells, as those of a table or of cards; None when the columns do not break together."""
        ruled = parting(self.rules, hull(pieces_of(rows)))
        columns = Columns(rows, spans, self.em, ruled)
        found = columns.cell_rows()
        if (at := changes(found, columns.pitch, self.em)) is not None:
            above, below = ([row for part in parts for row in part.rows] for parts in (found[:at], found[at:]))
            return self._part(above) + self._part(below)
        running = prose(found)
        widths = sorted(high - low for low, high in spans)
        side_bar = running and widths[-1] > UNEVEN * widths[0]  # perhaps, beside the text of a page
        cards = card_rows(found, (FAR_APART if running else FREE) * columns.pitch, alike=side_bar)
        if len(cards) > 1:
            return [group for part in cards for group in self._part(part)]
        if side_bar and (posts := entries(found, columns.pitch)):
            return [group for part in posts for cell in _columns_of(part) for group in self.groups(cell)]
        wrapped = any(len(cell) > 1 for row in found for cell in row.cells)
        lines = lines_of(pieces_of(rows))
        tabular = len(lines) == len(pieces_of(rows)) and not large_inside(in_rows(lines))
        if self.tables and (apart or ruled or wrapped) and tabular:
            return self._records(found, None if ruled else columns.pitch)
        return None

    def _records(self, found: Sequence[CellRow], pitch: float | None) -> list[Group] | None:
        """The table of rows of cells, with what stands in one column over and under it; None when they are none."""
        run = longest_run(found)
        own = next((some for some in (run, run[:-1], run[1:]) if are_records(some, pitch)), None)
        if own is None:
            return None
        if len(own) == len(found):
            return [cells_table([[lines_of(cell) for cell in row.cells] for row in own])]
        first = found.index(own[0])
        parts = (found[:first], own, found[first + len(own) :])
        above, within, below = ([row for part in some for row in part.rows] for some in parts)
        return [*self._part(above), *self._columns(within), *self._part(below)]

    def _over_table(self, rows: list[Row]) -> int:
        """How many rows of text stand over the header of a ruled table, and end in its columns by chance."""
        rules = parting(self.rules, hull(pieces_of(rows)))
        first = next((at for at, row in enumerate(rows) if len(row) > 1), 0)
        if not first or not rules or hull(rows[first]).middle[1] > min(rules):
            return 0
        return first if hull(rows[first]).middle[1] - hull(rows[first - 1]).middle[1] > SAME_ROW * self.em else 0

    def _tabular(self, rows: list[list[Line]]) -> list[Group]:
        """Rows whose cells line up, cut where they stand far apart: tables, or rows to be read as they are."""
        if columns := self._lists(rows):
            return [group for column in columns for group in self.groups(column)]
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

    def _lists(self, rows: list[list[Line]]) -> list[list[Line]]:
        """The columns of rows when they are told beside each other, as the links and the text over an imprint are."""
        columns = self._columns_in(rows)
        if len(rows) < 3 or len(columns) < 2 or not all(columns) or parted_by_rules(rows, self.rules):
            return []
        return (
            columns
            if told_beside(columns) or large_inside(rows) or over_imprint(columns, self.imprint, self.em)
            else []
        )

    def _columns_in(self, rows: list[list[Line]]) -> list[list[Line]]:
        spans = self._spans(rows)
        return [[line for row in rows for line in row if column_of(line.box, spans) == at] for at in range(len(spans))]

    def _separate(self, rows: list[list[Line]]) -> list[list[Line]]:
        """The columns of rows, those of one block together, when each is a list of its own; else none."""
        if (labelled := strip(rows)) and not parted_by_rules(rows, self.rules):
            return labelled
        columns = self._columns_in(rows)
        if len(rows) < 3 or len(columns) < 2 or not all(columns) or parted_by_rules(rows, self.rules):
            return []
        blocks = separate(columns, rows, self._spans(rows))
        if blocks:
            return [[line for column in block for line in column] for block in blocks]
        return columns if are_menus(columns, self.em) else self._lists(rows)

    def _table(self, rows: list[list[Line]]) -> list[Group]:
        """A table, without the rows over and under it that are none of its own."""
        spans = self._spans(rows)
        own = [at for at, row in enumerate(rows) if len(row) > 1 and fits(row, spans)]
        first, last = (own[0], own[-1]) if own else (0, len(rows) - 1)
        goes_on = continued(rows[first:], spans, last + 1 - first)[last + 1 - first :]
        under = zip(goes_on, rows[last + 1 :], strict=True)
        last += next((at for at, (more, row) in enumerate(under) if not more or not meets(row, spans)), len(goes_on))
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
        if len(spans) == 2 and all(CLAUSE.match(row[0].text) for row in rows if row[0].box.x2 < spans[1][0]):
            return False
        count = len(rows) - sum(continued(rows, spans))
        numbers = any(numeric(line.text) for row in rows for line in row[1:])
        return count >= 2 if len(spans) > 2 else count >= (3 if numbers else 4)

    def _flow(self, rows: list[Row]) -> list[Group]:
        """Rows in their order; what is not a line stands for itself."""
        groups: list[Group] = []
        open_rows: list[list[Line]] = []
        for row in rows:
            lines = lines_of(row)
            if len(lines) == len(row):
                open_rows += in_rows(lines)
                continue
            if open_rows:
                groups.append(Flow(open_rows))
                open_rows = []
            for piece in pieces_of(in_rows(row)):
                groups += self._alone(piece)
        return [*groups, Flow(open_rows)] if open_rows else groups

    def _alone(self, piece: Piece) -> list[Group]:
        if isinstance(piece, Line):
            return [Flow([[piece]])]
        if isinstance(piece, Frame):
            return self.groups(piece.pieces)
        assert isinstance(piece, Table | Figure)
        return [piece]


def _columns_of(rows: Sequence[CellRow]) -> list[list[Piece]]:
    """The columns of rows of cells."""
    return [[piece for cell in column for piece in cell] for column in zip(*(row.cells for row in rows), strict=True)]
