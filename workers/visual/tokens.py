"""A page as vision tokens, ready to be stored or to be turned into text again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from ocr_tasks.contract import Mode
from ocr_tasks.errors import InvalidVisionTokens

# Far above what any published model makes of a page: 3456 rows of 1280 numbers.
MOST_HIDDEN = 1 << 14
MOST_NUMBERS = 1 << 24  # rows x hidden
LARGEST = 2.0**126  # number: products of scales stay inside float32 then


@dataclass(frozen=True, eq=False)
class VisionTokens:
    """What a model's encoder made of one page, less the rows that are the same for every page.

    model, revision: the family and the hash of the checkpoint; only that one can make text of it.
    side, tile_side: of the view of the whole page and of a tile, in pixels, 64 of them to a vision token; grid:
    (columns, rows) of tiles. Without tiles, tile_side is 0 and grid (0, 0).
    page_size: (width, height) of the page in pixels, which the boxes of its text are measured in.
    vision_tokens: places of a prompt that it takes, newlines and separator included.
    features: (rows, hidden) float32, in the order in which the decoder reads them, without newlines and separator: of
    the tiles, then of the whole page, row by row. DeepSeek-OCR 2 takes tiles one after the other, the others line by
    line across a whole row of tiles.
    """

    model: str
    revision: str
    mode: Mode
    side: int
    tile_side: int
    grid: tuple[int, int]
    page_size: tuple[int, int]
    vision_tokens: int
    features: NDArray[numpy.float32]

    @property
    def hidden(self) -> int:
        return int(self.features.shape[1])


def check_numbers(features: NDArray[numpy.float32]) -> None:
    """Raises InvalidVisionTokens unless these are (rows, hidden) finite float32 numbers, no more than allowed."""
    if features.ndim != 2 or features.dtype != numpy.float32 or not features.size:
        raise InvalidVisionTokens(
            f"Vision tokens are rows of float32 numbers; got {features.dtype} of shape {features.shape}.",
            reason="shape",
        )
    check_size(*features.shape)
    if not (numpy.abs(features) <= LARGEST).all():
        raise InvalidVisionTokens(
            f"The vision tokens hold numbers that are not finite, or beyond {LARGEST:g}.", reason="not_finite"
        )


def check_size(count: int, hidden: int) -> None:
    """Raises InvalidVisionTokens for more than any page has; to be asked before memory is taken."""
    if hidden > MOST_HIDDEN or count * hidden > MOST_NUMBERS:
        raise InvalidVisionTokens(
            f"{count} vision tokens of {hidden} numbers are more than {MOST_NUMBERS} numbers "
            f"or {MOST_HIDDEN} a vision token.",
            reason="too_large",
            value=count * hidden,
            limit=MOST_NUMBERS,
        )
