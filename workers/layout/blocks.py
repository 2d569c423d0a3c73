"""From groups in reading order to blocks: paragraphs, headings, lists, tables, figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from ocr_tasks.contract import BlockKind
from workers.layout.lines import Box, Line, around, in_rows, usual_em
from workers.layout.pieces import Figure, Flow, Group, Table
from workers.layout.rows import APART, Row, breaks_of, right_edge, row_of
from workers.layout.words import MARKER, joined

HEADING = 1.2  # of the usual type size
BOLD = 1.25  # of the usual stroke
LONGEST_HEADING = 200  # characters


@dataclass(frozen=True)
class Block:
    """A block before it is rendered: `rows` as printed, or the `cells` of a table.

    `breaks`: for each row but the last, whether it was ended on purpose. `size`: of the type, in pixels.
    """

    kind: BlockKind
    box: Box
    rows: list[str] = field(default_factory=list)
    breaks: list[bool] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)
    size: float = 0.0
    score: float | None = None


@dataclass(frozen=True)
class Usual:
    """What most text of a page is set in."""

    em: float
    weight: float

    def stands_out(self, em: float, weight: float) -> bool:
        return em > HEADING * self.em or (weight > BOLD * self.weight > 0 and em > 0.9 * self.em)


def usual_type(lines: Sequence[Line]) -> Usual:
    """The usual type of a page's lines; long lines count for more."""
    return Usual(
        usual_em(lines), median(weight for line in lines for weight in [line.weight] * (1 + len(line.text) // 20))
    )


def blocks_of(groups: Sequence[Group], usual: Usual) -> list[Block]:
    """The blocks of a page."""
    blocks: list[Block] = []
    for group in groups:
        if isinstance(group, Flow):
            blocks += _flow(group, usual)
        elif isinstance(group, Table):
            blocks.append(Block("table", group.box, cells=group.cells, score=_score(group.lines)))
        elif isinstance(group, Figure):
            rows = [joined([line.text for line in row]) for row in in_rows(group.lines)]
            breaks = [True] * (len(rows) - 1)
            blocks.append(Block("figure", group.box, rows, breaks, score=_score(group.lines)))
    return blocks


def _flow(flow: Flow, usual: Usual) -> list[Block]:
    blocks = []
    parts = _blocks([row_of(part) for row in flow.rows for part in _by_size(row, HEADING * usual.em)], usual)
    edge = right_edge(parts, HEADING * usual.em)
    for block in parts:
        lines = [line for row in block for line in row.lines]
        kind, box = _kind(block, usual), around([row.box for row in block])
        size = median(row.em for row in block)
        breaks = breaks_of(block, edge)
        blocks.append(Block(kind, box, [row.text for row in block], breaks, size=size, score=_score(lines)))
    return blocks


def _by_size(lines: list[Line], large: float) -> list[list[Line]]:
    """A row, cut where a heading has small type beside it, as a newspaper's name has the date."""
    parts = [lines[:1]]
    for left, right in pairwise(lines):
        apart = right.box.x1 - left.box.x2 > APART * min(left.em, right.em) and (left.em > large) != (right.em > large)
        parts = [*parts, [right]] if apart else [*parts[:-1], [*parts[-1], right]]
    return parts


def _blocks(rows: list[Row], usual: Usual) -> list[list[Row]]:
    """Rows cut into blocks: at wider gaps, at changes of type, before list markers."""
    pitches = [below.box.middle[1] - above.box.middle[1] for above, below in pairwise(rows)]
    pitch = _pitch(pitches, usual.em)
    blocks = [[rows[0]]]
    for above, row, step in zip(rows, rows[1:], pitches, strict=False):
        size = max(1.0, min(above.em, row.em) / usual.em)
        if step < 0 or step > 1.25 * pitch * size or _changed(above, row, usual) or _starts(above, row, usual.em):
            blocks.append([row])
        else:
            blocks[-1].append(row)
    return blocks


def _pitch(pitches: Sequence[float], em: float) -> float:
    """How far the rows of one block stand apart, from middle to middle; lines set far apart show it by being even."""
    if not pitches:
        return 0.0
    usual = median(pitches)
    even = sum(abs(pitch - usual) < 0.1 * usual for pitch in pitches) > 0.6 * len(pitches) > 1.2
    return min(usual, (3.0 if even else 2.0) * em)


def _changed(above: Row, row: Row, usual: Usual) -> bool:
    """Whether the type changes from one row to the next."""
    size = max(above.em, row.em) > 1.25 * min(above.em, row.em)
    return size or usual.stands_out(above.em, above.weight) != usual.stands_out(row.em, row.weight)


def _starts(above: Row, row: Row, em: float) -> bool:
    """Whether a row starts a list entry by its marker, or a paragraph by its indent."""
    if MARKER.match(row.text):
        return True
    return not MARKER.match(above.text) and row.box.x1 > above.box.x1 + 1.2 * em and row.box.x2 > above.box.x2 + em


def _kind(block: Sequence[Row], usual: Usual) -> BlockKind:
    text = joined([row.text for row in block])
    if MARKER.match(text) and not block[0].em > HEADING * usual.em:
        return "list"
    outstanding = usual.stands_out(median(row.em for row in block), median(row.weight for row in block))
    short = len(block) <= 3 and len(text) <= LONGEST_HEADING and any(map(str.isalpha, text))
    if block[0].parted and block[0].em <= HEADING * usual.em:
        short = False  # a total, with its amount
    return "heading" if outstanding and short else "paragraph"


def _score(lines: Sequence[Line]) -> float | None:
    weight = sum(len(line.text) for line in lines)
    return round(sum(line.score * len(line.text) for line in lines) / weight, 3) if weight else None
