"""Gutters: what no piece covers, left to right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from workers.layout.lines import Box
from workers.layout.pieces import Piece
from workers.layout.tables import Span


def gaps(rows: Sequence[Sequence[Piece]]) -> list[Span]:
    """The stretches, left to right, between the first and the last piece that no piece of any row covers."""
    return between(union([(piece.box.x1, piece.box.x2) for row in rows for piece in row]))


def union(spans: Sequence[Span]) -> list[Span]:
    """Stretches, those that touch made one, from the left."""
    united: list[Span] = []
    for low, high in sorted(spans):
        if united and low <= united[-1][1]:
            united[-1] = (united[-1][0], max(united[-1][1], high))
        else:
            united.append((low, high))
    return united


def between(spans: Sequence[Span]) -> list[Span]:
    """What lies between stretches that stand apart."""
    return [(before[1], after[0]) for before, after in pairwise(spans)]


def outside(gutters: Sequence[Span], box: Box) -> list[Span]:
    """The columns that gutters leave of a box."""
    edges = [box.x1, *(edge for gutter in gutters for edge in gutter), box.x2]
    return list(zip(edges[::2], edges[1::2], strict=True))
