"""Bylines: the blocks side by side under a title that say who wrote what follows, read block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from workers.layout.columns import wraps
from workers.layout.gutters import between, union
from workers.layout.lines import Line, core
from workers.layout.pieces import Flow, Piece, Row, lines_of, pieces_of
from workers.layout.words import MARKER, numeric

BIG_TYPE = 1.2  # of the usual type: a title's
LEAST_GUTTER = 0.8  # ems
OVER = 4  # layers between a title and its bylines, at most: it may have a date or a subtitle
MOST_LINES = 7
MOST_WORDS = 7  # in a line
FEW_LINES = 4  # of blocks without a mail address
NEXT = 2.2  # ems from one line of a block to the next, at most
ALIGNED = 0.5  # ems
TEXT = 15.0  # ems: lines of running text are longer, or at least
COLUMN = 0.6  # as wide as their column
UNDER = 12  # layers under bylines that tell whether text follows
WIDER = 1.3  # of the white within blocks: that under blocks without a mail address


@dataclass(frozen=True)
class Bylines:
    """Finds bylines among layers. `em`: the size of the page's usual type, in pixels."""

    em: float

    def find(self, rows: Sequence[Row]) -> tuple[int, int, list[Flow]] | None:
        """From which layer up to which there are bylines, and their blocks; None when there are none."""
        for start in range(1, len(rows)):
            if self._titled(rows, start) and (found := self._blocks(rows, start)):
                end, blocks = found
                while more := self._blocks(rows, end):  # a second row of them
                    end, blocks = more[0], blocks + more[1]
                return start, end, blocks
        return None

    def _titled(self, rows: Sequence[Row], at: int) -> bool:
        """Whether a title stands a little over a layer, with nothing beside it or what follows it."""
        over = rows[max(0, at - OVER) : at]
        titles = [k for k, row in enumerate(over) if len(row) == 1 and self._big(row[0])]
        return bool(titles) and all(len(row) == 1 for row in over[titles[0] :])

    def _big(self, piece: Piece) -> bool:
        return isinstance(piece, Line) and piece.em > BIG_TYPE * self.em

    def _blocks(self, rows: Sequence[Row], start: int) -> tuple[int, list[Flow]] | None:
        """The blocks that start in a layer, and where they end."""
        end = self._end(rows, start)
        lines = lines_of(pieces_of(rows[start:end]))
        spans = union([(line.box.x1, line.box.x2) for line in lines])
        blocks = [[line for line in lines if low <= line.box.middle[0] <= high] for low, high in spans]
        mails = sum(any("@" in line.text for line in block) for block in blocks)
        if any(map(_told, blocks)):
            return None
        if min(map(len, blocks), default=0) < 2 or not self._text_under(rows[end : end + UNDER]):
            return None
        if 2 * mails < len(blocks) and (max(map(len, blocks)) > FEW_LINES or not self._apart(rows, start, end)):
            return None
        return end, [Flow([[line] for line in sorted(block, key=lambda line: line.box.y1)]) for block in blocks]

    def _end(self, rows: Sequence[Row], start: int) -> int:
        """Up to which layer the blocks that start in one go on: at their last mail address, if they have any."""
        end, mailed = start, start
        while end < min(len(rows), start + MOST_LINES) and self._goes_on(rows[start:end], rows[end]):
            end += 1
            mailed = end if any("@" in line.text for line in lines_of(rows[end - 1])) else mailed
        return mailed if mailed > start else end

    def _goes_on(self, above: Sequence[Row], row: Row) -> bool:
        """Whether a layer goes on with the blocks above it: each of its lines under one, flush with it or centred."""
        lines = lines_of(row)
        told = len(lines) < len(row) or any(numeric(line.text) or MARKER.match(line.text) for line in lines)
        if told or any(map(self._big, row)):
            return False
        if not above:
            return len(row) > 1 and self._parted(above, row) == len(row)
        if _white(above[-1], row) > (NEXT - 1) * self.em or self._parted(above, row) != len(above[0]):
            return False
        return all(any(self._aligned(line, over) for over in lines_of(above[0])) for line in lines)

    def _parted(self, above: Sequence[Row], row: Row) -> int:
        """How many blocks layers make."""
        pieces = [*pieces_of(above), *row]
        gutters = between(union([(piece.box.x1, piece.box.x2) for piece in pieces]))
        return 1 + sum(high - low >= LEAST_GUTTER * self.em for low, high in gutters)

    def _aligned(self, line: Line, over: Line) -> bool:
        one, other = line.box, over.box
        places = (one.x1 - other.x1, one.x2 - other.x2, one.middle[0] - other.middle[0])
        return min(map(abs, places)) < ALIGNED * self.em

    def _text_under(self, rows: Sequence[Row]) -> bool:
        """Whether running text follows, over the whole width or in columns."""
        lines = lines_of(pieces_of(rows))
        spans = union([(line.box.x1, line.box.x2) for line in lines])
        widest = max((high - low for low, high in spans), default=0.0)
        long = [line for line in lines if line.box.width > min(TEXT * self.em, COLUMN * widest)]
        return 2 * sum(len(line.text.split()) > 2 for line in long) > len(lines) > 0

    def _apart(self, rows: Sequence[Row], start: int, end: int) -> bool:
        """Whether blocks stand further from what is under them than their own lines stand apart."""
        if end == len(rows):
            return False
        inner = [_white(rows[at - 1], rows[at]) for at in range(start + 1, end)]
        return _white(rows[end - 1], rows[end]) > WIDER * max(inner, default=0.0)


def _told(block: Sequence[Line]) -> bool:
    """Whether a block is running text, as the first paragraphs of columns are."""
    mailed = any("@" in line.text for line in block)
    return max(len(line.text.split()) for line in block) > MOST_WORDS or (not mailed and wraps(block))


def _white(above: Row, below: Row) -> float:
    """Pixels of white between two layers."""
    return min(core(piece)[0] for piece in below) - max(core(piece)[1] for piece in above)
