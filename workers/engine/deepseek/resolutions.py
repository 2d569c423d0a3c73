"""The modes of a checkpoint: those that its family was published with, or those that its own files name. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ocr_tasks.contract import Mode
from workers.engine.deepseek.families import CheckpointError, Family
from workers.engine.deepseek.weights import read_json

FILE = "preprocessor_config.json"
TOKEN_SIDE = 64
"""Pixels of a view along the side of one vision token: patches of 16, compressed 4 to 1 in both directions."""
LEAST_TILES = 2  # a page is cut into so many, or not at all
LARGEST_SQUASHED = 640
ALL_MODES: tuple[Mode, ...] = get_args(Mode)  # in the order in which they get better


@dataclass(frozen=True)
class Resolution:
    """What a mode shows the model of a page: all of it, `side` pixels square, and up to `most_tiles` of `tile_side`."""

    side: int
    tile_side: int = 0
    most_tiles: int = 0


@dataclass(frozen=True)
class Resolutions:
    """The modes of a checkpoint, in the order in which they get better, and how its family shows a page in them.

    largest_squashed: a mode without tiles shows the page squashed into a square up to this side; all others add paper.
    """

    family: Family
    modes: Mapping[Mode, Resolution]
    largest_squashed: int = LARGEST_SQUASHED

    def mode_of(self, mode: Mode) -> Mode:
        """The mode in which a page is read when it is asked for in `mode`: that, or the next better one there is."""
        return next(better for better in ALL_MODES[ALL_MODES.index(mode) :] if better in self.modes)

    def of(self, mode: Mode) -> Resolution:
        return self.modes[self.mode_of(mode)]

    def squashes(self, resolution: Resolution) -> bool:
        """Whether a page loses its shape: a page too small for tiles still keeps it in a mode that has some."""
        return not resolution.most_tiles and resolution.side <= self.largest_squashed


SMALLER: dict[Mode, Resolution] = {
    "tiny": Resolution(512),
    "small": Resolution(640),
    "base": Resolution(1024),
    "large": Resolution(1280),
}
# DeepSeek-OCR 2 has queries for views of 768 and 1024 pixels and no others, and squashes nothing.
RESOLUTIONS: dict[Family, Resolutions] = {
    Family.DEEPSEEK_OCR: Resolutions(Family.DEEPSEEK_OCR, {**SMALLER, "gundam": Resolution(1024, 640, 9)}),
    Family.UNLIMITED_OCR: Resolutions(Family.UNLIMITED_OCR, {**SMALLER, "gundam": Resolution(1024, 640, 32)}),
    Family.DEEPSEEK_OCR2: Resolutions(
        Family.DEEPSEEK_OCR2,
        {"small": Resolution(768), "base": Resolution(1024), "gundam": Resolution(1024, 768, 6)},
        largest_squashed=0,
    ),
}


def resolutions_of(folder: Path, family: Family) -> Resolutions:
    """The modes of a checkpoint: those of its family, unless its preprocessor_config.json shows it smaller pages.

    Published checkpoints are served in all modes of their papers, whichever of them that file names. One whose `size`
    is below the smallest of these was trained on smaller pages and has two modes: `tiny` is all of a page at that size,
    `gundam` the same with tiles (`tile_size`, `max_patches`). Names and defaults are those of the library's
    image_processing_unlimited_ocr.py. Raises CheckpointError.
    """
    published = RESOLUTIONS[family]
    if not (folder / FILE).exists():
        return published
    said = read_json(folder / FILE)
    side = _side(said.get("size"))
    smallest = min(resolution.side for resolution in published.modes.values())
    if side is None or side >= smallest:
        return published
    if family is Family.DEEPSEEK_OCR2:
        raise CheckpointError(f"{FILE}: size is {side}; DeepSeek-OCR 2 has queries for 768 and 1024 pixels only")
    tile_side, most = said.get("tile_size", 640), said.get("max_patches", 32)
    if wrong := [*_wrong_side("size", side), *_wrong_side("tile_size", tile_side), *_wrong_tiles(said, most)]:
        raise CheckpointError("\n".join(f"{FILE}: {problem}" for problem in wrong))
    modes: dict[Mode, Resolution] = {"tiny": Resolution(side), "gundam": Resolution(side, tile_side, most)}
    return Resolutions(family, modes, largest_squashed=int(said.get("maximum_pad_value", LARGEST_SQUASHED)))


def _side(size: Any) -> int | None:
    """The side of a whole page as image processors write it: a number, or an object of several."""
    numbers = size.values() if isinstance(size, dict) else [size]
    sides = [number for number in numbers if isinstance(number, int) and not isinstance(number, bool)]
    return max(sides, default=None)


def _wrong_side(name: str, side: Any) -> list[str]:
    if isinstance(side, int) and side > 0 and side % TOKEN_SIDE == 0:
        return []
    return [f"{name} is {side!r}; only multiples of {TOKEN_SIDE} pixels can be served"]


def _wrong_tiles(said: Mapping[str, Any], most: Any) -> list[str]:
    wrong = []
    if not isinstance(most, int) or most < LEAST_TILES:
        wrong.append(f"max_patches is {most!r}; it must be {LEAST_TILES} or more")
    if (least := said.get("min_patches", LEAST_TILES)) != LEAST_TILES:
        wrong.append(f"min_patches is {least!r}; only {LEAST_TILES} can be served")
    return wrong
