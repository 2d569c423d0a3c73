"""Blocks as markdown that renders as the text that was read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from workers.layout.blocks import Piece
from workers.layout.words import MARKER, joined

INLINE = re.compile(r"([\\`*\[\]<>]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|~(?=~)|(?<=~)~|&(?=#?\w+;)|!(?=\[))")
LINE_START = re.compile(r"^(\s*)(#{1,6}(?=\s|$)|[-+](?=\s|$)|={2,}\s*$|-{2,}\s*$)")
NUMBERED = re.compile(r"^(\s*\d{1,9})([.)])(?=\s|$)")


def render(pieces: Sequence[Piece]) -> str:
    """The markdown of a page's blocks."""
    levels = _levels(pieces)
    parts: list[str] = []
    for at, piece in enumerate(pieces):
        text = _rendered(piece, levels)
        if not text:
            continue
        tight = at and piece.kind == "list" and pieces[at - 1].kind == "list"
        parts += ["\n" if tight else "\n\n", text]
    return "".join(parts[1:])


def _rendered(piece: Piece, levels: dict[float, int]) -> str:
    if piece.kind == "table":
        return table(piece.cells)
    text = joined(piece.rows)
    if piece.kind == "heading":
        return f"{'#' * levels[piece.size]} {escape(text)}"
    if piece.kind == "list":
        return _list_entry(text)
    return escape_start(escape(text))


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


def _levels(pieces: Sequence[Piece]) -> dict[float, int]:
    """The level of each size of heading, 1 for the largest; sizes within a sixth of each other are one."""
    sizes = sorted({piece.size for piece in pieces if piece.kind == "heading"}, reverse=True)
    levels: dict[float, int] = {}
    level, leader = 0, float("inf")
    for size in sizes:
        if size < leader / 1.17:
            level, leader = min(level + 1, 6), size
        levels[size] = max(level, 1)
    return levels
