"""What stands over and under the columns of a page and is none of their text: a byline, a footnote, a page's number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.layout.bands import Bands
from workers.layout.gutters import outside
from workers.layout.lines import Line, core
from workers.layout.pieces import Figure, Row, hull, pieces_of
from workers.layout.rules import Rules
from workers.layout.tables import column_of

BIG_TYPE = 1.2  # of the usual type: a title's
BODY = (40, 20, 12, 6, 3, 2, 1)  # layers of columns that are looked at: a picture may part them from others
MOST_OVER, MOST_UNDER = 6, 3  # layers
LEAST = 0.4  # ems of white to the columns
APART = 1.0  # ems of white under a line that starts at the edge of a column, and is no text of it
WIDE = 1.5  # ems of white under columns that all end at one height
EVEN = 0.6  # ems
CENTRED = 0.6  # ems
INDENT = 1.5  # ems: what starts so near its column's edge may be its text
RULE = 4.0  # ems: the least length of a rule over footnotes


@dataclass(frozen=True)
class Margins:
    """Tells the columns of a page from what is over and under them. `em`: the size of its usual type, in pixels."""

    em: float
    rules: Rules

    def over(self, rows: list[Row]) -> int:
        """How many of the first layers are no text of the columns under them: lines set centred over all of these."""
        for count in range(min(MOST_OVER, len(rows) - 2), 0, -1):
            head, body = rows[:count], self._columns(rows[count:])
            if body and all(map(_alone, head)) and (self._centred(head[-1], body) or self._byline(head, body)):
                return count
        return 0

    def under(self, rows: list[Row]) -> int:
        """How many of the last layers are no text of the columns over them."""
        for count in range(min(MOST_UNDER, len(rows) - 2), 0, -1):
            foot, body = rows[-count:], self._columns(rows[:-count][::-1])
            if not body or not all(map(_alone, foot)):
                continue
            white = core(foot[0][0])[0] - max(core(piece)[1] for piece in pieces_of(body))
            if white < LEAST * self.em or _captions(foot, body):
                continue
            even = white > WIDE * self.em and count == 1 and self._end_together(body)
            if even or (count == 1 and self._centred(foot[0], body)) or self._ruled(foot, body):
                return count
        return 0

    def _columns(self, rows: list[Row]) -> list[Row]:
        """The first layers of some when they are columns of running text; none when they are not."""
        return next((rows[:size] for size in BODY if Bands(self.em).running(rows[:size])), [])

    def _centred(self, row: Row, body: list[Row]) -> bool:
        """Whether a line is centred over or under columns, and starts at the edge of none."""
        box, page = row[0].box, hull(pieces_of(body))
        spans = outside(Bands(self.em).gutters(body), page)
        away = min(abs(box.x1 - low) for low, _ in spans)
        return abs(box.middle[0] - page.middle[0]) < CENTRED * self.em and away > INDENT * self.em

    def _byline(self, head: list[Row], body: list[Row]) -> bool:
        """Whether a line is centred under a title and apart from the columns, although it starts where one does."""
        middle = abs(head[-1][0].box.middle[0] - hull(pieces_of(body)).middle[0])
        white = min(core(piece)[0] for piece in pieces_of(body)) - core(head[-1][0])[1]
        titled = any(isinstance(row[0], Line) and row[0].em > BIG_TYPE * self.em for row in head[:-1])
        return titled and middle < CENTRED * self.em and white > APART * self.em

    def _end_together(self, body: list[Row]) -> bool:
        """Whether all columns end at one height."""
        pieces = pieces_of(body)
        spans = outside(Bands(self.em).gutters(body), hull(pieces))
        ends = [
            max((p.box.y2 for p in pieces if column_of(p.box, spans) == at), default=0.0) for at in range(len(spans))
        ]
        return max(ends) - min(ends) < EVEN * self.em

    def _ruled(self, foot: list[Row], body: list[Row]) -> bool:
        """Whether a rule parts layers from those over them, which starts where these do."""
        low, high = hull(pieces_of(body)).y2, hull(pieces_of(foot)).y1
        start = hull(pieces_of([*body, *foot])).x1
        return any(
            low - LEAST * self.em < rule.at < high + LEAST * self.em
            and rule.length > RULE * self.em
            and abs(rule.start - start) < self.em
            for rule in self.rules.across
        )


def _captions(foot: list[Row], body: list[Row]) -> bool:
    """Whether lines stand right under a picture."""
    boxes = [piece.box for piece in pieces_of(body) if isinstance(piece, Figure)]
    box = hull(pieces_of(foot))
    return any(abs(box.y1 - picture.y2) < 2 * foot[0][0].box.height and picture.overlap_x(box) > 0 for picture in boxes)


def _alone(row: Sequence[object]) -> bool:
    """Whether a layer is one line."""
    return len(row) == 1 and isinstance(row[0], Line)
