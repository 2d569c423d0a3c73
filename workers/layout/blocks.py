"""From groups in reading order to blocks: paragraphs, headings, lists, tables, figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from ocr_tasks.contract import BlockKind
from workers.layout.lines import Box, Line, around
from workers.layout.pieces import Figure, Flow, Group, Table
from workers.layout.words import MARKER, joined

HEADING = 1.18  # of the usual type size
LONGEST_HEADING = 200  # characters


@dataclass(frozen=True)
class Piece:
    """A block before it is rendered. `rows` are its lines as printed; a table has `cells`; a heading a size."""

    kind: BlockKind
    box: Box
    rows: list[str] = field(default_factory=list)
    cells: list[list[str]] = field(default_factory=list)
    size: float = 0.0  # of the type, in pixels
    score: float | None = None


@dataclass(frozen=True)
class Row:
    """A printed row of text."""

    box: Box
    text: str
    em: float
    lines: list[Line]


def pieces_of(groups: Sequence[Group], em: float) -> list[Piece]:
    """The blocks of a page whose usual type is `em` pixels high."""
    pieces: list[Piece] = []
    for group in groups:
        if isinstance(group, Flow):
            pieces += _flow(group, em)
        elif isinstance(group, Table):
            pieces.append(Piece("table", group.box, cells=group.cells, score=_score(group.lines)))
        elif isinstance(group, Figure):
            pieces.append(Piece("figure", group.box))
    return pieces


def _flow(flow: Flow, em: float) -> list[Piece]:
    rows = [
        Row(around([line.box for line in row]), joined([line.text for line in row]), max(line.em for line in row), row)
        for row in flow.rows
    ]
    pieces = []
    for block in _blocks(rows, em):
        lines = [line for row in block for line in row.lines]
        size = median(row.em for row in block)
        box = around([row.box for row in block])
        pieces.append(Piece(_kind(block, em), box, [row.text for row in block], size=size, score=_score(lines)))
    return pieces


def _blocks(rows: list[Row], em: float) -> list[list[Row]]:
    """Rows cut into blocks: at wider gaps, at changes of type, before list markers."""
    pitches = [below.box.middle[1] - above.box.middle[1] for above, below in zip(rows, rows[1:], strict=False)]
    usual = min(median(pitches), 2.0 * em) if pitches else 0.0
    blocks = [[rows[0]]]
    for above, row, pitch in zip(rows, rows[1:], pitches, strict=False):
        size = max(1.0, min(above.em, row.em) / em)
        changed = max(above.em, row.em) > 1.25 * min(above.em, row.em)
        marked = bool(MARKER.match(row.text))
        if pitch > 1.25 * usual * size or changed or marked or _indented(above, row, em):
            blocks.append([row])
        else:
            blocks[-1].append(row)
    return blocks


def _indented(above: Row, row: Row, em: float) -> bool:
    """Whether a row starts a paragraph by its indent, and the one above ends one."""
    return not MARKER.match(above.text) and row.box.x1 > above.box.x1 + 1.2 * em and row.box.x2 > above.box.x2 + em


def _kind(block: Sequence[Row], em: float) -> BlockKind:
    size, text = median(row.em for row in block), joined([row.text for row in block])
    if size > HEADING * em and len(block) <= 3 and len(text) <= LONGEST_HEADING:
        return "heading"
    return "list" if MARKER.match(block[0].text) else "paragraph"


def _score(lines: Sequence[Line]) -> float | None:
    weight = sum(len(line.text) for line in lines)
    return round(sum(line.score * len(line.text) for line in lines) / weight, 3) if weight else None
