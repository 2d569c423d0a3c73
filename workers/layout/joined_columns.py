"""Columns that are parts of one table, and not things that only stand side by side."""

from __future__ import annotations

from workers.layout.columns import aligned_share, listed, runs_on, wraps
from workers.layout.pieces import Piece, hull, lines_of
from workers.layout.told import run_past

ONE_TABLE = 0.6  # of the lines of columns stand on the same heights
CHANCE = 0.35  # of the lines of columns that have nothing to do with each other, at most
SAME_HEIGHT, LIKE_HEIGHT = 0.2, 0.3  # ems between the middles of lines


def joined_columns(columns: list[list[Piece]]) -> list[list[Piece]]:
    """Columns, those that are parts of one table put together: their lines stand on the same heights."""
    lines = [lines_of(column) for column in columns]
    least = CHANCE if aligned_share(lines) >= ONE_TABLE else ONE_TABLE
    joint = [[columns[0]]]
    for column in columns[1:]:
        if any(_belong(other, column, least) for other in joint[-1]):
            joint[-1].append(column)
        else:
            joint.append([column])
    return [[piece for column in some for piece in column] for some in joint]


def _belong(left: list[Piece], right: list[Piece], least: float) -> bool:
    """Whether two columns are parts of one table: at least this share of their lines stand on the same heights."""
    lines = [lines_of(column) for column in (left, right)]
    if any(len(some) < len(column) for some, column in zip(lines, (left, right), strict=True)):
        return False
    if hull(left).overlap_y(hull(right)) <= 0:
        return True
    if any(all(map(like, lines)) for like in (wraps, runs_on, listed)) or run_past(lines):
        return False
    return aligned_share(lines, SAME_HEIGHT if least < ONE_TABLE else LIKE_HEIGHT) >= least
