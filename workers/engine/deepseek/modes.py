"""Resolution modes: how many vision tokens a page becomes in each, and which one a page needs.

Grids and counts are equal to those of the library's processors for every size (tested); those of DeepSeek-OCR follow
its published code, `infer` and `dynamic_preprocess` in modeling_deepseekocr.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy
from numpy.typing import NDArray
from PIL import Image

from ocr_tasks.contract import Mode
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.resolutions import TOKEN_SIDE, Resolution, Resolutions


@dataclass(frozen=True)
class ViewLayout:
    """How a page is cut: the whole in a square of `side` pixels, and a grid of tiles, if any.

    `grid` is (columns, rows), (0, 0) without tiles; `tile_side` is 0 then. `vision_tokens` counts all placeholders in
    the prompt: of the tiles, of the whole, newlines and separator.
    """

    side: int
    tile_side: int
    grid: tuple[int, int]
    vision_tokens: int

    @property
    def tiles(self) -> int:
        return self.grid[0] * self.grid[1]


def layout_of(size: tuple[int, int], mode: Mode, resolutions: Resolutions) -> ViewLayout:
    """How a page of (width, height) pixels is cut in a mode.

    A mode that the checkpoint lacks means the one that stands for it (`mode_of`).
    """
    resolution, family = resolutions.of(mode), resolutions.family
    if max(size) <= resolution.tile_side or not resolution.most_tiles:
        return ViewLayout(resolution.side, 0, (0, 0), _tokens(resolution, (0, 0), family))
    grid = grid_of(size, resolution.tile_side, resolution.most_tiles)
    return ViewLayout(resolution.side, resolution.tile_side, grid, _tokens(resolution, grid, family))


def _tokens(resolution: Resolution, grid: tuple[int, int], family: Family) -> int:
    """Placeholders: every row of tokens ends with a newline, but for DeepSeek-OCR 2; one separator at the end."""
    whole, tile = resolution.side // TOKEN_SIDE, resolution.tile_side // TOKEN_SIDE
    columns, rows = grid
    newline = 0 if family is Family.DEEPSEEK_OCR2 else 1
    return rows * tile * (columns * tile + newline * bool(columns)) + whole * (whole + newline) + 1


@lru_cache(maxsize=4096)
def grid_of(size: tuple[int, int], tile_side: int, most: int) -> tuple[int, int]:
    """The (columns, rows) of 2 to `most` tiles whose shape is nearest to that of a page of (width, height).

    Of grids equally near, the one with more tiles, while the page has more than half of their pixels.
    Source: `find_closest_aspect_ratio` in modeling_deepseekocr.py.
    """
    width, height = size
    nearest, best = float("inf"), (1, 1)
    for columns, rows in _grids(most):
        distance = abs(width / height - columns / rows)
        fills = width * height > 0.5 * tile_side**2 * columns * rows
        if distance < nearest or (distance == nearest and fills):
            nearest, best = distance, (columns, rows)
    return best


@lru_cache(maxsize=8)
def _grids(most: int) -> list[tuple[int, int]]:
    sides = range(1, most + 1)
    grids = [(columns, rows) for columns in sides for rows in sides if 2 <= columns * rows <= most]
    return sorted(grids, key=lambda grid: grid[0] * grid[1])


def better_mode(mode: Mode, resolutions: Resolutions) -> Mode | None:
    """The next better mode of a checkpoint, None when `mode` is the best."""
    modes = list(resolutions.modes)
    following = modes[modes.index(resolutions.mode_of(mode)) + 1 :]
    return following[0] if following else None


def mode_for_ratio(text_tokens: float, ratio: float, size: tuple[int, int], resolutions: Resolutions) -> Mode:
    """The mode that comes closest to a compression ratio (text tokens / vision tokens) without going above it.

    That is the one with the fewest vision tokens that are still enough for a page of (width, height) pixels with so
    many text tokens; where even the most are too few, the one with the most.
    """
    counts = {mode: layout_of(size, mode, resolutions).vision_tokens for mode in resolutions.modes}
    enough = {mode: count for mode, count in counts.items() if text_tokens <= ratio * count}
    return min(enough, key=lambda mode: counts[mode]) if enough else max(counts, key=lambda mode: counts[mode])


# -- auto ---------------------------------------------

LEAST_LETTER_PX = 5.0  # height of an x: below this, letters run into each other
MOST_RATIO = 10.0  # text tokens a vision token can hold: the paper (arXiv 2510.18234) finds 96-97 % right there
LETTERS_A_TOKEN = 4.0  # of the published tokenizers
LEAST_CONTRAST = 32  # grey levels between paper and ink; grain and JPEG stay below
LETTERS_OF_PAGE = 12  # at least: what is longer than this part of a page is a rule, a bar or a picture
CELLS = 12  # a page is looked at in so many columns and rows of cells
STROKES_OF_LETTER = 1.5  # in a row of pixels that crosses it


class TextDensity(NamedTuple):
    """What a page holds, estimated: the height of an x in pixels (infinite on a blank page), and text tokens."""

    letter_px: float
    text_tokens: float


def auto_mode(
    image: Image.Image,
    resolutions: Resolutions,
    *,
    letters_a_token: float = LETTERS_A_TOKEN,
    most_ratio: float = MOST_RATIO,
) -> Mode:
    """The smallest mode in which a page can be read.

    That is one whose view keeps letters at least LEAST_LETTER_PX high (or loses no pixel of the page) and that has a
    vision token for every `most_ratio` text tokens. Where there is none, the best mode.
    """
    found = text_density(image, letters_a_token)
    for mode, resolution in resolutions.modes.items():
        layout = layout_of(image.size, mode, resolutions)
        scale = resolution.side / max(image.size)
        if layout.tiles:
            scale = max(scale, layout.grid[0] * layout.tile_side / image.width)
        legible = scale >= 1 or found.letter_px * scale >= LEAST_LETTER_PX
        if legible and found.text_tokens <= most_ratio * layout.vision_tokens:
            return mode
    return list(resolutions.modes)[-1]


def text_density(image: Image.Image, letters_a_token: float = LETTERS_A_TOKEN) -> TextDensity:
    """Estimate from a page's ink, taking for text whatever is not too long for it.

    Four fifths of the ink of letters lie in vertical runs of up to the height of an x, whatever the font: stems make
    most of it. So every cell of the page has a height of its own, and three quarters of the text are at least as large
    as the page's; a title does not hide the text below it. Measured on drawn pages of five Latin fonts, 9 to 24 pt, 100
    and 200 dpi, clean and worn: 0.95 of the true height, standard deviation 0.08; text tokens within a quarter (tests).
    Chinese characters count as two to three letters each, which is about how many text tokens they take.
    """
    whole = _ink(image.convert("L"))
    ink = whole & ~_long_runs(whole) & ~_long_runs(whole.T).T
    starts, ends = _runs(ink.T)
    if not len(starts):
        return TextDensity(float("inf"), 0.0)
    height, width = ink.shape
    column, row = numpy.divmod(starts, height + 1)
    letter_px = _letter_height((column * CELLS // width) * CELLS + row * CELLS // height, ends - starts)
    strokes = int(numpy.count_nonzero(ink[:, 1:] & ~ink[:, :-1]))
    return TextDensity(letter_px, strokes / (STROKES_OF_LETTER * letter_px) / letters_a_token)


def _letter_height(cells: NDArray[numpy.int64], runs: NDArray[numpy.int64]) -> float:
    """The height that three quarters of the text reach; cells, runs (n,): where a run lies, and its length. Pixels."""
    order = numpy.lexsort((runs, cells))
    parts = numpy.split(runs[order], numpy.flatnonzero(numpy.diff(cells[order])) + 1)
    heights = numpy.array([_quantile(part, part, 0.8) for part in parts])
    largest_last = numpy.argsort(heights)
    counts = numpy.array([len(part) for part in parts])
    return float(_quantile(heights[largest_last], counts[largest_last], 0.25))


def _quantile(ordered: NDArray[numpy.int64], weights: NDArray[numpy.int64], share: float) -> int:
    """The value up to which values have a share of all weight."""
    reached = numpy.cumsum(weights)
    return int(ordered[numpy.searchsorted(reached, reached[-1] * share)])


def _ink(grey: Image.Image) -> NDArray[numpy.bool_]:
    """Which pixels are ink: further from the paper than half way to what differs most from it."""
    shares = numpy.cumsum(grey.histogram()) / (grey.width * grey.height)
    darkest, paper, lightest = (int(numpy.searchsorted(shares, share)) for share in (0.0005, 0.5, 0.9995))
    pixels: NDArray[numpy.uint8] = numpy.asarray(grey)
    if max(paper - darkest, lightest - paper) < LEAST_CONTRAST:
        return numpy.zeros(pixels.shape, numpy.bool_)
    if paper - darkest >= lightest - paper:
        return pixels < (paper + darkest) / 2
    return pixels > (paper + lightest) / 2


def _long_runs(ink: NDArray[numpy.bool_]) -> NDArray[numpy.bool_]:
    """The ink of rules, bars and dark areas: what goes on for longer in a row than a letter can."""
    starts, ends = _runs(ink)
    long = ends - starts > ink.shape[1] / LETTERS_OF_PAGE
    changes = numpy.zeros(ink.shape[0] * (ink.shape[1] + 1) + 1, numpy.int8)
    changes[starts[long]], changes[ends[long]] = 1, -1
    covered = numpy.cumsum(changes[:-1], dtype=numpy.int8).reshape(ink.shape[0], -1)[:, :-1]
    return numpy.asarray(covered > 0)


def _runs(ink: NDArray[numpy.bool_]) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """Where runs along the rows start and end, as places in rows laid end to end with a blank pixel after each."""
    rows = numpy.zeros((ink.shape[0], ink.shape[1] + 1), numpy.int8)
    rows[:, :-1] = ink
    changes = numpy.diff(rows.ravel(), prepend=0)
    return numpy.flatnonzero(changes > 0), numpy.flatnonzero(changes < 0)
