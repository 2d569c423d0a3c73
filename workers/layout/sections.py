"""Sections of a page: what is read before anything under it, as rules, frames and the edges of bars part it."""

from __future__ import annotations

from dataclasses import dataclass

from workers.layout.bands import Bands
from workers.layout.lines import Box, Line
from workers.layout.pieces import Frame, Row, hull, pieces_of
from workers.layout.rules import NEAR, Rule, Rules
from workers.layout.stripes import columns_of_both

GUTTER = 1.0  # ems
TITLE = 1.5  # of an em: larger than the headings of tables
PANEL = 1.2  # ems that the edge of a bar reaches out of the text
LOW_ROW = 3.5  # ems: the rows of most tables are lower


@dataclass(frozen=True)
class Sections:
    """Cuts rows apart. `em`: the size of the page's usual type; `imprint`: the y of a web page's imprint."""

    em: float
    rules: Rules
    imprint: float | None = None

    @property
    def bands(self) -> Bands:
        return Bands(self.em)

    def split(self, rows: list[Row]) -> list[list[Row]]:
        """Rows cut apart around rows of frames, and at rules between things that do not go on under them."""
        parts, start = [], 0
        if not rows:
            return []
        page = hull(pieces_of(rows))
        for at in range(1, len(rows)):
            rules = [
                rule
                for rule in self._between(rows[at - 1], rows[at], page)
                if not _passed(rule, rows, at) and not self._of_column(rule, rows[start:at])
            ]
            if (
                self._barred(rules, rows[at - 1], rows[at], page)
                or (rules and self._differ(rows[max(start, at - 3) : at], rows[at:]))
                or _only_frames(rows[at - 1]) != _only_frames(rows[at])
                or self._before_imprint(rows[:at], rows[at])
            ):
                parts.append(rows[start:at])
                start = at
        return [*parts, rows[start:]]

    def _of_column(self, rule: Rule, above: list[Row]) -> bool:
        """Whether a rule ends before what stands at the right of the rows over it, as that of a quote beside a bar."""
        right = [piece for piece in pieces_of(above) if piece.box.x1 > rule.end + GUTTER * self.em]
        left = [piece for piece in pieces_of(above) if piece.box.x2 < rule.end + NEAR]
        return len(right) > 1 and len(left) > 1 and len(right) + len(left) == len(pieces_of(above))

    def _before_imprint(self, above: list[Row], below: Row) -> bool:
        """Whether a row is the imprint of a web page, under all that stands over it."""
        box = hull(below)
        return self.imprint is not None and box.y1 <= self.imprint <= box.y2 and hull(pieces_of(above)).y2 < box.y1

    def _between(self, above: Row, below: Row, page: Box) -> list[Rule]:
        """The rules between two rows that run along most of a page, and are no edges of its frames."""
        top, bottom = hull(above).y2 - 0.3 * self.em, hull(below).y1 + 0.3 * self.em
        edges = [y for row in (above, below) for p in row if isinstance(p, Frame) for y in (p.box.y1, p.box.y2)]
        free = [rule for rule in self.rules.across if all(abs(rule.at - y) > NEAR for y in edges)]
        between = [rule for rule in free if top <= rule.at <= bottom]
        return [rule for rule in between if min(rule.end, page.x2) - max(rule.start, page.x1) > 0.7 * page.width]

    def _barred(self, rules: list[Rule], above: Row, below: Row, page: Box) -> bool:
        """Whether the edge of a bar lies between two rows."""
        return any(self._edge_of_panel(rule, page) for rule in rules) and not one_table(self.em, above, below)

    def _edge_of_panel(self, rule: Rule, page: Box) -> bool:
        """Whether a rule reaches far out of the text on both sides, as the edge of a page's bar or foot does.

        Those of a wide table's rows follow each other closely.
        """
        alike = [
            other for other in self.rules.across if abs(other.start - rule.start) + abs(other.end - rule.end) < NEAR
        ]
        near = any(0 < abs(other.at - rule.at) < LOW_ROW * self.em for other in alike)
        return min(page.x1 - rule.start, rule.end - page.x2) > PANEL * self.em and not near

    def _differ(self, above: list[Row], below: list[Row]) -> bool:
        """Whether the gutters on both sides of a rule are not those of one table."""
        over = above[-1:]
        if len(over[0]) == 1 < len(above) and hull(above[-2]).overlap_y(hull(over[0])) > -0.5 * self.em:
            over = above[-2:-1]  # the last row goes on with a wrapped cell
        if len(over[0]) <= 2 and any(isinstance(piece, Line) and piece.em > TITLE * self.em for piece in over[0]):
            return True
        same = 1 < len(over[0]) == max(len(row) for row in below[:3])
        if same and one_table(self.em, over[0], pieces_of(below[:3])):
            return False
        if len(over[0]) > 1 and len(below[0]) > 1 and not self.bands.fewer(over, below[:1]):
            return False
        if not self.bands.gutters(above[-3:] + below[:3]) and one_table(
            self.em, pieces_of(above[-3:]), pieces_of(below[:3])
        ):
            return False
        return self.bands.fewer(above[-3:], below[:3])


def one_table(em: float, above: Row, below: Row) -> bool:
    """Whether two rows may be of one table: at least two columns start, end or have their middle in both."""
    return columns_of_both(above, below, em) >= 2


def _passed(rule: Rule, rows: list[Row], at: int) -> bool:
    """Whether something goes on beside the end of a rule that parts rows, as a page's side bar does."""
    sides = ([piece.box for piece in pieces_of(some)] for some in (rows[:at], rows[at:]))
    right, left = zip(
        *((any(box.x1 > rule.end for box in boxes), any(box.x2 < rule.start for box in boxes)) for boxes in sides),
        strict=True,
    )
    return all(right) or all(left)


def _only_frames(row: Row) -> bool:
    return len(row) > 1 and all(isinstance(piece, Frame) for piece in row)
