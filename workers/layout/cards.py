"""Cards: columns that are rows of cards beside something else."""

from __future__ import annotations

from workers.layout.columns import wraps
from workers.layout.grids import FREE, Columns, card_rows
from workers.layout.lines import layers
from workers.layout.pieces import Piece, hull, lines_of
from workers.layout.rules import Rules
from workers.layout.sections import Sections


def with_cards(columns: list[list[Piece]], em: float) -> list[list[Piece]]:
    """Columns, those put together that are rows of cards beside something else; `em`: the size of the usual type."""
    for size in range(len(columns) - 1, 1, -1):
        for start in range(len(columns) - size + 1):
            some = columns[start : start + size]
            if _in_rows_of_cards(some, em):
                together = [piece for column in some for piece in column]
                return [*columns[:start], together, *columns[start + size :]]
    return columns


def _in_rows_of_cards(columns: list[list[Piece]], em: float) -> bool:
    """Whether some columns hold rows of cards."""
    rows = layers([piece for column in columns for piece in column])
    if len(Sections(em, Rules()).split(rows)) > 1:  # around rows of frames
        return True
    cells = Columns(rows, [(hull(column).x1, hull(column).x2) for column in columns], em)
    cards = len(card_rows(cells.cell_rows(), FREE * cells.pitch)) > 1
    return cards and not any(wraps(lines_of(column)) for column in columns)
