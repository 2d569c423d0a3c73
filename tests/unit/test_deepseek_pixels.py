"""Views of a page: equal to the library's and to those of the published code of v1, pixel for pixel.

The library's processor of Unlimited-OCR needs torchvision, which is not there. Its rules are those of DeepSeek-OCR 2
but for numbers and squashing: they are held against the Pillow processor of DeepSeek-OCR 2, given its numbers.
"""

from __future__ import annotations

import random
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import DeepseekOcr2ImageProcessorPil

from ocr_tasks.contract import Mode
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.modes import layout_of
from workers.engine.deepseek.pixels import Views, fitted, views_of
from workers.engine.deepseek.resolutions import RESOLUTIONS

FEW = [(1, 90), (333, 500), (1240, 1754), (1025, 7)]
SIZES = [*FEW, (1, 1), (640, 640), (641, 639), (769, 300), (150, 2000)]


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """A picture in which every pixel matters."""
    return Image.frombytes(mode, size, random.Random(str(size)).randbytes(size[0] * size[1] * len(mode)))


def levels(view: torch.Tensor) -> torch.Tensor:
    """The grey levels that a view was made of."""
    return ((view + 1) * 127.5).round().to(torch.uint8)


def assert_equal(view: torch.Tensor, other: torch.Tensor) -> None:
    """Equal in grey levels, and in floats but for the last bit."""
    assert torch.equal(levels(view), levels(other))
    assert float((view - other).abs().max()) < 1e-6


def assert_equal_to_the_library(views: Views, image: Image.Image, **changes: Any) -> None:
    made = DeepseekOcr2ImageProcessorPil(**changes)(images=image, return_tensors="pt")
    assert_equal(views.page, made["pixel_values"])
    assert int(made["num_local_patches"][0]) == views.layout.tiles
    if views.tiles is not None:
        assert_equal(views.tiles, made["pixel_values_local"].reshape(views.tiles.shape))


@pytest.mark.parametrize("size", SIZES)
def test_views_of_deepseek_ocr_2_are_those_of_the_library(size: tuple[int, int]) -> None:
    image = noise(size)
    assert_equal_to_the_library(views_of(image, "gundam", RESOLUTIONS[Family.DEEPSEEK_OCR2]), image)


@pytest.mark.parametrize("size", FEW)
@pytest.mark.parametrize("mode", ["small", "base"])
def test_single_views_of_deepseek_ocr_2_are_those_of_the_library(size: tuple[int, int], mode: Mode) -> None:
    image = noise(size)
    views = views_of(image, mode, RESOLUTIONS[Family.DEEPSEEK_OCR2])
    assert_equal_to_the_library(views, image, crop_to_patches=False, tile_size=views.layout.side)


@pytest.mark.parametrize("size", FEW)
def test_views_of_unlimited_ocr_follow_the_rules_of_the_library(size: tuple[int, int]) -> None:
    image = noise(size)
    gundam = views_of(image, "gundam", RESOLUTIONS[Family.UNLIMITED_OCR])
    assert_equal_to_the_library(gundam, image, tile_size=640, max_patches=32)


@pytest.mark.parametrize(("mode", "size"), [*[("base", size) for size in SIZES], ("large", FEW[1]), ("gundam", FEW[1])])
def test_whole_pages_of_v1_are_padded_as_imageops_does(mode: Mode, size: tuple[int, int]) -> None:
    image = noise(size)
    views = views_of(image, mode, RESOLUTIONS[Family.DEEPSEEK_OCR])
    side = views.layout.side
    padded = ImageOps.pad(image, (side, side), color=(127, 127, 127))
    assert torch.equal(levels(views.page)[0].permute(1, 2, 0), torch.from_numpy(numpy.array(padded)))


@pytest.mark.parametrize("family", [Family.DEEPSEEK_OCR, Family.UNLIMITED_OCR])
@pytest.mark.parametrize(("mode", "side"), [("tiny", 512), ("small", 640)])
def test_small_modes_squash_the_page(family: Family, mode: Mode, side: int) -> None:
    image = noise((333, 500))
    squashed = torch.from_numpy(numpy.array(image.resize((side, side))))
    assert torch.equal(levels(views_of(image, mode, RESOLUTIONS[family]).page)[0].permute(1, 2, 0), squashed)


@pytest.mark.parametrize("size", [(641, 639), (1240, 1754)])
def test_tiles_of_v1_are_cut_as_the_library_cuts(size: tuple[int, int]) -> None:
    image = noise(size)
    views = views_of(image, "gundam", RESOLUTIONS[Family.DEEPSEEK_OCR])
    made = DeepseekOcr2ImageProcessorPil(tile_size=640, max_patches=9)(images=image, return_tensors="pt")
    assert views.tiles is not None
    assert_equal(views.tiles, made["pixel_values_local"].reshape(views.tiles.shape))


def test_tiles_come_row_by_row() -> None:
    sheet = Image.new("RGB", (1280, 1920))
    for at in range(6):
        sheet.paste((at * 40, 0, 0), (at % 2 * 640, at // 2 * 640, at % 2 * 640 + 640, at // 2 * 640 + 640))
    views = views_of(sheet, "gundam", RESOLUTIONS[Family.DEEPSEEK_OCR])
    assert views.tiles is not None
    assert views.layout.grid == (2, 3)
    assert levels(views.tiles)[:, 0, 320, 320].tolist() == [at * 40 for at in range(6)]


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("mode", ["small", "gundam"])
def test_grey_pages_give_what_they_give_in_colour(family: Family, mode: Mode) -> None:
    grey = noise((900, 700), "L")
    views, coloured = (views_of(image, mode, RESOLUTIONS[family]) for image in (grey, grey.convert("RGB")))
    assert torch.equal(views.page, coloured.page)
    assert (views.tiles is None) == (coloured.tiles is None)
    if views.tiles is not None and coloured.tiles is not None:
        assert torch.equal(views.tiles, coloured.tiles)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_pages_of_any_kind_have_views(mode: str) -> None:
    views = views_of(Image.new(mode, (70, 50)), "tiny", RESOLUTIONS[Family.DEEPSEEK_OCR])
    assert (tuple(views.page.shape), views.page.dtype) == ((1, 3, 512, 512), torch.float32)


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(1, 1500), st.integers(1, 1500)),
    family=st.sampled_from(list(Family)),
    data=st.data(),
)
def test_views_have_the_shapes_that_their_layout_says(size: tuple[int, int], family: Family, data: Any) -> None:
    mode = data.draw(st.sampled_from(list(RESOLUTIONS[family].modes)))
    views = views_of(Image.new("L", size, 200), mode, RESOLUTIONS[family])
    layout = layout_of(size, mode, RESOLUTIONS[family])
    assert views.layout == layout
    assert tuple(views.page.shape) == (1, 3, layout.side, layout.side)
    tiles = None if views.tiles is None else tuple(views.tiles.shape)
    assert tiles == ((layout.tiles, 3, layout.tile_side, layout.tile_side) if layout.tiles else None)
    assert float(views.page.abs().max()) <= 1


@pytest.mark.parametrize("family", Family)
def test_a_page_as_thin_as_a_hair_keeps_a_pixel(family: Family) -> None:
    assert fitted((1, 5000), 1024, family) == (1, 1024)
    assert fitted((5000, 1), 1024, family) == (1024, 1)
    assert views_of(Image.new("RGB", (1, 5000)), "base", RESOLUTIONS[family]).page.min() == -1
