"""A page as the tensors that the vision towers take. Pillow resizes, as in the published code; no torchvision.

Equal, pixel for pixel, to the library's Pillow processor of DeepSeek-OCR 2 and, with their numbers, to its rules for
Unlimited-OCR; the views of DeepSeek-OCR are those of `infer` in its modeling_deepseekocr.py, which uses ImageOps.pad.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import torch
from PIL import Image
from torch import Tensor

from ocr_tasks.contract import Mode
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.modes import ViewLayout, layout_of
from workers.engine.deepseek.resolutions import Resolutions

PAPER = 127  # grey of what is added beside a page


@dataclass(frozen=True)
class Views:
    """A page cut up: `page` (1, 3, side, side), `tiles` (n, 3, tile_side, tile_side) row by row; float32 in [-1, 1]."""

    page: Tensor
    tiles: Tensor | None
    layout: ViewLayout


def views_of(image: Image.Image, mode: Mode, resolutions: Resolutions) -> Views:
    """Cut a page (any Pillow mode; what is transparent loses that) as a checkpoint takes it in a mode."""
    layout = layout_of(image.size, mode, resolutions)
    # A grey page gives three equal channels in any case: resize one.
    page = image if image.mode == "L" else image.convert("RGB")
    tiles = _tiles(page, layout) if layout.tiles else None
    square = (layout.side, layout.side)
    squashed = resolutions.squashes(resolutions.of(mode))
    whole = _resized(page, square) if squashed else padded(page, layout.side, resolutions.family)
    return Views(_normalised([whole]), tiles, layout)


def _resized(page: Image.Image, size: tuple[int, int]) -> Image.Image:
    return page.resize(size, Image.Resampling.BICUBIC)


def padded(page: Image.Image, side: int, family: Family) -> Image.Image:
    """The page in the middle of a square, its shape kept."""
    width, height = fitted(page.size, side, family)
    square = Image.new(page.mode, (side, side), PAPER if page.mode == "L" else (PAPER,) * 3)
    if family is Family.DEEPSEEK_OCR:
        place = round((side - width) * 0.5), round((side - height) * 0.5)
    else:
        place = (side - width) // 2, (side - height) // 2
    square.paste(_resized(page, (width, height)), place)
    return square


def fitted(size: tuple[int, int], side: int, family: Family) -> tuple[int, int]:
    """The (width, height) of a page whose longer side is made `side` pixels; at least one pixel each.

    Sources: ImageOps.contain for DeepSeek-OCR, the library's processors for the others; they round differently.
    """
    width, height = size
    if family is not Family.DEEPSEEK_OCR:
        scale = side / max(size)
        return max(1, round(width * scale)), max(1, round(height * scale))
    if width > height:
        return side, max(1, round(height / width * side))
    return max(1, round(width / height * side)), side


def _tiles(page: Image.Image, layout: ViewLayout) -> Tensor:
    """The page, squashed into its grid and cut, row by row: (n, 3, tile_side, tile_side)."""
    (columns, rows), side = layout.grid, layout.tile_side
    sheet = _resized(page, (columns * side, rows * side))
    corners = [(column * side, row * side) for row in range(rows) for column in range(columns)]
    return _normalised([sheet.crop((x, y, x + side, y + side)) for x, y in corners])


def _normalised(squares: list[Image.Image]) -> Tensor:
    """Squares of one size as (n, 3, side, side), grey values 0 to 255 made -1 to 1."""
    stacked = torch.from_numpy(numpy.stack([numpy.asarray(square) for square in squares]))
    values = stacked.to(torch.float32).div_(255).sub_(0.5).div_(0.5)
    if values.ndim == 3:
        return values[:, None].expand(-1, 3, -1, -1).contiguous()  # (n, 3, side, side)
    return values.permute(0, 3, 1, 2).contiguous()
