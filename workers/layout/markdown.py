"""Blocks as markdown that renders as the text that was read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workers.figures import figure_link
from workers.layout.blocks import Block
from workers.layout.words import MARKER, joined

INLINE = re.compile(r"([\\`*\[\]<>]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|~(?=~)|(?<=~)~|&(?=#?\w+;)|!(?=\[))")
LINE_START = re.compile(r"^(\s*)(#{1,6}(?=\s|$)|[-+](?=\s|$)|={2,}\s*$|-{2,}\s*$)")
NUMBERED = re.compile(r"^(\s*\d{1,9})([.)])(?=\s|$)")


def render(blocks: Sequence[Block]) -> str:
    """The markdown of a page's blocks."""
    levels = _levels(blocks)
    parts: list[str] = []
    figures = 0
    for at, block in enumerate(blocks):
        if block.kind == "figure":
            figures += 1
            parts += ["\n\n", figure_link(figures)]
        text = _rendered(block, levels)
        if not text:
            continue
        tight = at > 0 and _numbered(block) is not None and _numbered(block) is _numbered(blocks[at - 1])
        parts += ["\n" if tight else "\n\n", text]
    return "".join(parts[1:])


def _rendered(block: Block, levels: dict[float, int]) -> str:
    if block.kind == "table":
        return table(block.cells)
    if block.kind == "heading":
        return f"{'#' * levels[block.size]} {escape(joined(block.rows))}"
    if block.kind == "list":
        return _list_entry(joined(block.rows))
    return "  \n".join(escape_start(escape(joined(rows))) for rows in _between_breaks(block))


def _between_breaks(block: Block) -> list[list[str]]:
    """The rows of a paragraph, cut where lines were ended on purpose."""
    parts = [block.rows[:1]]
    for row, broken in zip(block.rows[1:], block.breaks, strict=True):
        if broken:
            parts.append([row])
        else:
            parts[-1].append(row)
    return parts


def _numbered(block: Block) -> bool | None:
    """Whether a list entry has a number; None for what is no list entry."""
    found = MARKER.match(block.rows[0]) if block.kind == "list" else None
    return bool(found["number"]) if found else None


def _list_entry(text: str) -> str:
    found = MARKER.match(text)
    if not found:
        return escape_start(escape(text))
    number = found["number"]
    rest = escape_start(escape(text[found.end() :]))
    return (
        f"{number} {rest}" if number and number[:-1].isdigit() else f"- {escape(number) + ' ' if number else ''}{rest}"
    )


def table(cells: Sequence[Sequence[str]]) -> str:
    """A markdown table; its first row is the header."""
    rows = ["| " + " | ".join(escape(cell).replace("|", r"\|") for cell in row) + " |" for row in cells]
    return "\n".join([rows[0], "|" + " --- |" * len(cells[0]), *rows[1:]])


def escape(text: str) -> str:
    """Text with a backslash before what markdown would not show as it is."""
    return INLINE.sub(r"\\\1", text)


def escape_start(text: str) -> str:
    """A paragraph that does not begin like a heading, a list or a line."""
    return NUMBERED.sub(r"\1\\\2", LINE_START.sub(r"\1\\\2", text))


def _levels(blocks: Sequence[Block]) -> dict[float, int]:
    """The level of each size of heading, 1 for the largest; sizes within a sixth of each other are one."""
    sizes = sorted({block.size for block in blocks if block.kind == "heading"}, reverse=True)
    levels: dict[float, int] = {}
    level, leader = 0, float("inf")
    for size in sizes:
        if size < leader / 1.17:
            level, leader = min(level + 1, 6), size
        levels[size] = max(level, 1)
    return levels
