"""From the lines of a page to its result: blocks in reading order, text and markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial

from ocr_tasks.contract import Block, OcrOptions, PageResult
from workers.layout.blocks import Block as Made
from workers.layout.blocks import blocks_of, usual_type
from workers.layout.cells import cut_apart, joined_again, within_columns
from workers.layout.lined import lined_tables
from workers.layout.lines import Box, Line, layers
from workers.layout.markdown import render
from workers.layout.order import Order
from workers.layout.pieces import Figure, Frame, Group, Piece, Table, hull
from workers.layout.rules import NEAR, Rules, frames, grids
from workers.layout.spacing import mend
from workers.layout.stripes import stripes, without
from workers.layout.tables import inside, ruled_table
from workers.layout.wrapped import wrapped_tables

LAST_LINES = 8
RIGHTS = re.compile(r"©|\(c\) ?\d{4}|^copyright\b|all rights reserved", re.IGNORECASE)


def arrange(
    lines: Sequence[Line],
    rules: Rules,
    figures: Sequence[Box],
    original: Callable[[Box], tuple[int, int, int, int]],
    options: OcrOptions,
) -> PageResult:
    """Make a page's result of its lines; `original` turns a box into pixels of the page's image.

    The text keeps the lines as printed; blocks are separated by an empty line, the cells of a table by tabs.
    """
    if not lines:
        return PageResult(text="", markdown="", flags=("empty",))
    lines = mend(lines)
    usual = usual_type(lines)
    made = blocks_of(_groups(lines, rules, figures, usual.em, options.extract_tables), usual)
    text = "\n\n".join(filter(None, map(plain, made)))
    blocks = tuple(
        Block(kind=block.kind, text=plain(block), box=original(block.box), score=block.score) for block in made
    )
    return PageResult(
        text=text,
        markdown=render(made),
        blocks=blocks if options.include_layout else (),
        figures=tuple(block.box for block in blocks if block.kind == "figure" and block.box),
    )


def plain(block: Made) -> str:
    """The text of a block: a line for each that is printed, or for each row of a table."""
    return "\n".join(block.rows or ("\t".join(row) for row in block.cells))


def _groups(lines: Sequence[Line], rules: Rules, figures: Sequence[Box], em: float, tables: bool) -> list[Group]:
    parts: list[Piece] = []
    rest = list(lines)
    for box in figures:
        parts.append(Figure(box, [line for line in rest if box.holds(line.box)]))
        rest = [line for line in rest if not box.holds(line.box)]
    for grid in grids(rules) if tables else []:
        table = ruled_table(grid, [line for line in rest if inside(grid, line)])
        if table:
            parts.append(table)
            rest = [line for line in rest if not inside(grid, line)]
    rest = within_columns(cut_apart(joined_again(rest)))
    for table in wrapped_tables(rest, em) if tables else []:
        parts.append(table)
        rest = [line for line in rest if line not in table.lines]
    for table in lined_tables(rules, rest, em, partial(_one_table, em)) if tables else []:
        parts.append(table)
        rest = [line for line in rest if line not in table.lines]
    parts += rest
    boxes = frames(rules)
    striped = stripes(boxes, parts, em)
    boxes = [box for box in boxes if box not in striped]
    return Order(em, without(rules, striped), tables, imprint(lines)).groups(framed(parts, boxes))


def _one_table(em: float, lines: Sequence[Line]) -> Table | None:
    """The table that lines make, when they make one and nothing beside it."""
    groups = Order(em, Rules()).groups(lines)
    return groups[0] if len(groups) == 1 and isinstance(groups[0], Table) else None


def imprint(lines: Sequence[Line]) -> float | None:
    """The y of the imprint among the last lines of a page, as web pages have it."""
    last = sorted((line.box.y1 for line in lines), reverse=True)[:LAST_LINES]
    found = [line.box.y1 for line in lines if line.box.y1 >= last[-1] and RIGHTS.search(line.text)]
    return min(found, default=None)


def framed(parts: Sequence[Piece], boxes: Sequence[Box]) -> list[Piece]:
    """Parts, those inside a frame put together; frames around nearly everything or a bar are none."""
    parts = list(parts)
    for box in sorted(boxes, key=lambda box: box.width * box.height):
        held = [part for part in parts if box.holds(part.box)]
        if len(held) < 2 or len(held) > 0.9 * len(parts) or _bar(layers(held)) or _between_pictures(box, parts):
            continue
        over = hull(held)
        if over.x1 < box.x1 - 8 or over.x2 > box.x2 + 8:
            continue
        parts = [part for part in parts if not box.holds(part.box)] + [Frame(box, held)]
    return parts


def _between_pictures(box: Box, parts: Sequence[Piece]) -> bool:
    """Whether an edge of a box is only that of a picture over or under it."""
    pictures = [part.box for part in parts if isinstance(part, Figure) and part.box.overlap_x(box) > 0.7 * box.width]
    return any(min(abs(picture.y2 - box.y1), abs(picture.y1 - box.y2)) < 2.5 * NEAR for picture in pictures)


def _bar(rows: Sequence[Sequence[Piece]]) -> bool:
    """Whether rows are a single one, as a navigation bar, or the header of a table with a wrapped cell."""
    return len(rows) < 2 or (len(rows) == 2 and max(map(len, rows)) >= 3)
