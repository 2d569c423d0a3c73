"""Rows of cells: where all columns break at one height and start again, as the rows of a table or of cards do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from statistics import median

from workers.layout.lines import Line, around, baseline, step
from workers.layout.pieces import Piece
from workers.layout.tables import Span, column_of

LEAST_PITCH = 0.9  # ems from line to line
WIDER = 1.14  # of the pitch of a cell's lines: from row to row
CLOSE = 1.22  # of the pitch of lines: between those of a cell, at most
NEXT = 1.75  # ems from one line of a cell to the next
CORE = 0.9  # ems that a line is high without its margins, about
ALIGNED = 0.3  # ems between the heights that cells of one row start at
ABOUT = 0.8  # the same where one of them is a picture or a frame, whose edges are less sure
BOLDER = 1.2  # of the stroke of the lines under it: a card's title
LARGER = 1.12  # of their size
FREE = 1.5  # of the pitch of lines: where something else may begin
LEAST_TITLE = 4  # letters
LONGEST_CELL = 8  # lines

Row = list[Piece]


@dataclass(frozen=True)
class CellRow:
    """A row of cells: for each column its pieces, from the top. `apart`: pixels from the row above, as lines stand."""

    rows: list[Row]
    cells: list[list[Piece]]
    apart: float

    @property
    def filled(self) -> int:
        return sum(map(bool, self.cells))


@dataclass(frozen=True)
class Columns:
    """Rows of pieces in columns. `em`: the size of the usual type; `ruled`: the y of rules that part them all."""

    rows: list[Row]
    spans: Sequence[Span]
    em: float
    ruled: Sequence[float] = ()

    def cell_rows(self) -> list[CellRow]:
        """The rows of cells; one for all when the columns break nowhere together."""
        starts = self._ruled() or self._free(WIDER)
        while True:
            found = [self._row(low, high) for low, high in pairwise([0, *starts, len(self.rows)])]
            wrong = next((at for at, row in enumerate(found[1:], 1) if not self.ruled and not self.even(row)), None)
            if wrong is None:
                return found
            starts.remove(starts[wrong - 1])

    @cached_property
    def pitch(self) -> float:
        """How far the lines of one cell stand apart, in pixels."""
        cells = self._row(0, len(self.rows)).cells
        pairs = [
            (above, below)
            for cell in cells
            for above, below in pairwise(cell)
            if isinstance(above, Line) and isinstance(below, Line)
        ]
        alike = [pair for pair in pairs if max(pair[0].em, pair[1].em) < LARGER * min(pair[0].em, pair[1].em)]
        steps = sorted(
            apart for above, below in alike or pairs if (apart := step(above, below)) > LEAST_PITCH * self.em
        )
        if not steps:
            return self.em
        least = steps[len(steps) // 10]
        least = steps[0] if steps[0] < NEXT * self.em <= least else least  # where hardly a cell is wrapped
        return median(apart for apart in steps if apart < WIDER * least)

    @cached_property
    def _placed(self) -> list[list[tuple[int, Piece]]]:
        """Each row's pieces with their columns, from the top."""
        rows = (sorted(row, key=lambda piece: piece.box.middle[1]) for row in self.rows)
        return [[(column_of(piece.box, self.spans), piece) for piece in row] for row in rows]

    @cached_property
    def _gaps(self) -> list[float]:
        """Over each row, how far what follows is from what stands above, in pixels, as lines do; 0 when they meet."""
        under = [dict(reversed(row)) for row in self._placed]  # each column's first piece from a row on
        tops = [min(_core(piece)[0] for piece in row) for row in self.rows]
        for at in range(len(under) - 2, -1, -1):
            under[at] = under[at + 1] | under[at]
            tops[at] = min(tops[at], tops[at + 1])
        gaps, over, bottom = [0.0], dict(self._placed[0]), max(_core(piece)[1] for piece in self.rows[0])
        for at in range(1, len(self.rows)):
            white = tops[at] - bottom
            steps = [self._step(over[column], piece) for column, piece in under[at].items() if column in over]
            gaps.append(min([*steps, white + CORE * self.em]) if white >= 0 else 0.0)
            over |= dict(self._placed[at])
            bottom = max(bottom, *(_core(piece)[1] for piece in self.rows[at]))
        return gaps

    def _step(self, above: Piece, below: Piece) -> float:
        if isinstance(above, Line) and isinstance(below, Line):
            return step(above, below)
        return below.box.y1 - above.box.y2 + self.pitch

    def _row(self, low: int, high: int) -> CellRow:
        placed = sorted(
            (each for row in self._placed[low:high] for each in row), key=lambda each: each[1].box.middle[1]
        )
        cells = [[piece for column, piece in placed if column == at] for at in range(len(self.spans))]
        return CellRow(self.rows[low:high], cells, self._gaps[low] if low else 0.0)

    def _ruled(self) -> list[int]:
        """The rows under rules, when these part the rows, and those far under others between them."""
        middles = [around([piece.box for piece in row]).middle[1] for row in self.rows]
        parted = [at for at in range(1, len(middles)) if any(middles[at - 1] < y < middles[at] for y in self.ruled)]
        free = [at for at in self._free(FREE) if parted and not parted[0] < at < parted[-1]]
        return sorted({*parted, *free}) if parted else []

    def _free(self, least: float) -> list[int]:
        """The rows over which each column is empty for longer than between the lines of a cell."""
        least = max(least * self.pitch, self.pitch + 0.15 * self.em)
        return [at for at, gap in enumerate(self._gaps) if gap > least]

    def even(self, row: CellRow) -> bool:
        """Whether the cells of a row start at one height, or have their middles or their ends there."""
        cells = [cell for cell in row.cells if cell]
        firsts = [cell[0] for cell in cells]
        tops = [piece.box.middle[1] if isinstance(piece, Line) else piece.box.y1 + self.em / 2 for piece in firsts]
        bases = [baseline(piece) if isinstance(piece, Line) else piece.box.y1 + self.em for piece in firsts]
        middles = [around([piece.box for piece in cell]).middle[1] for cell in cells]
        ends = [baseline(cell[-1]) if isinstance(cell[-1], Line) else cell[-1].box.y2 for cell in cells]
        near = (ALIGNED if all(isinstance(cell[0], Line) for cell in cells) else ABOUT) * self.em
        return any(max(heights) - min(heights) < near for heights in (tops, bases, middles, ends))


def _core(piece: Piece) -> tuple[float, float]:
    """From where to where a piece reaches, top to bottom; the boxes of lines are higher than their letters."""
    margin = 0.2 * piece.box.height if isinstance(piece, Line) else 0.0
    return piece.box.y1 + margin, piece.box.y2 - margin


def card_rows(found: Sequence[CellRow], least: float, alike: bool = False) -> list[list[Row]]:
    """The rows of cards: those that do not start with titles or pictures, or not so far down, put together.

    A heading of its own over such a row goes with it. `alike`: the titles must be of one size.
    """
    cards: list[list[Row]] = []
    for at, row in enumerate(found):
        opens = _opens(row, found[at + 1].cells if at + 1 < len(found) else [[] for _ in row.cells])
        opens = opens and not (alike and _sizes(row) > LARGER)
        pictures = not any(isinstance(cell[0], Line) for cell in row.cells if cell)  # or frames
        if not cards or (opens and (pictures or row.apart >= least)):
            cards.append([*row.rows])
        elif opens and found[at - 1].apart >= least and _heads(found[at - 1], row):
            cards[-1:] = [cards[-1][:-1], [*found[at - 1].rows, *row.rows]]
        else:
            cards[-1] += row.rows
    return cards


def entries(found: Sequence[CellRow], pitch: float) -> list[list[CellRow]]:
    """The entries of a list, as the posts of a forum: some lines on each at the left, and its text beside them."""
    starts = [at for at, row in enumerate(found) if row.filled == len(row.cells)]
    others = [row.apart for at, row in enumerate(found) if at and at not in starts]
    if (
        not starts
        or starts[0]
        or any(found[at].apart < max([2 * pitch, *(WIDER * other for other in others)]) for at in starts[1:])
    ):
        return []
    if len(found[0].cells) != 2 or any(row.cells[0] for at, row in enumerate(found) if at not in starts):
        return []
    if any(len(found[at].cells[0]) < (2 if len(starts) > 1 else 3) for at in starts):
        return []
    return [list(found[low:high]) for low, high in pairwise([*starts, len(found)])]


def _opens(row: CellRow, under: Sequence[Sequence[Piece]]) -> bool:
    """Whether all cells of a row start with titles or pictures; what is missing are the last cards of the row."""
    titled = sum(bool(cell) and _titled([*cell, *below]) for cell, below in zip(row.cells, under, strict=True))
    return titled == row.filled > 1 and all(row.cells[: row.filled])


def _sizes(row: CellRow) -> float:
    """How many times as large as the smallest the largest first line of the cells of a row is."""
    sizes = [cell[0].em for cell in row.cells if cell and isinstance(cell[0], Line)]
    return max(sizes) / min(sizes) if sizes else 1.0


def _heads(row: CellRow, under: CellRow) -> bool:
    """Whether a row is a heading alone, over another row."""
    pieces = [piece for cell in row.cells for piece in cell]
    return len(row.rows) == len(pieces) == 1 and _titled([*pieces, *(piece for cell in under.cells for piece in cell)])


def _titled(pieces: Sequence[Piece]) -> bool:
    """Whether pieces under one another start with a picture, a frame or a line that is bolder or larger than others."""
    first, rest = pieces[0], [piece for piece in pieces[1:] if isinstance(piece, Line)]
    if not isinstance(first, Line):
        return True
    if not rest or sum(map(str.isalpha, first.text)) < LEAST_TITLE:
        return False
    bold = first.weight > BOLDER * median(line.weight for line in rest)
    return bold or first.em > LARGER * median(line.em for line in rest)
