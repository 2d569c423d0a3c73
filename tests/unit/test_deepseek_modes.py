"""Modes: how a page is cut, how many vision tokens that gives, and which mode a page needs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import get_optimal_tiled_canvas
from transformers.models.deepseek_ocr2.processing_deepseek_ocr2 import DeepseekOcr2Processor
from transformers.models.unlimited_ocr.processing_unlimited_ocr import UnlimitedOcrProcessor

from ocr_tasks.contract import Mode
from tests.drawing import Style, article, screenshot, table_page, worn
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.modes import auto_mode, better_mode, grid_of, layout_of, mode_for_ratio, text_density
from workers.engine.deepseek.resolutions import RESOLUTIONS

ALL_MODES: tuple[Mode, ...] = ("tiny", "small", "base", "large", "gundam")
FAMILY, MODE = st.sampled_from(list(Family)), st.sampled_from(ALL_MODES)
SIZE = st.tuples(st.integers(1, 6000), st.integers(1, 6000))
A4 = (1654, 2339)


@pytest.mark.parametrize(
    ("family", "mode", "size", "tokens"),
    [
        (Family.DEEPSEEK_OCR, "tiny", A4, 73),
        (Family.DEEPSEEK_OCR, "small", A4, 111),
        (Family.DEEPSEEK_OCR, "base", A4, 273),
        (Family.DEEPSEEK_OCR, "large", A4, 421),
        (Family.DEEPSEEK_OCR, "gundam", A4, 273 + 30 * 21),  # 2 x 3 tiles
        (Family.DEEPSEEK_OCR, "gundam", (640, 640), 273),
        (Family.DEEPSEEK_OCR, "gundam", (641, 640), 273 + 20 * 21),  # 2 x 2: never 1 x 1
        (Family.UNLIMITED_OCR, "gundam", (100, 4000), 273 + 320 * 11),  # 1 x 32
        (Family.DEEPSEEK_OCR2, "small", A4, 145),
        (Family.DEEPSEEK_OCR2, "base", A4, 257),
        (Family.DEEPSEEK_OCR2, "gundam", A4, 257 + 6 * 144),
        (Family.DEEPSEEK_OCR2, "gundam", (768, 700), 257),
    ],
)
def test_vision_tokens_are_those_of_the_papers(family: Family, mode: Mode, size: tuple[int, int], tokens: int) -> None:
    assert layout_of(size, mode, RESOLUTIONS[family]).vision_tokens == tokens


@given(size=SIZE, tiles=st.sampled_from([(640, 9), (640, 32), (768, 6)]))
def test_grids_are_those_of_the_library(size: tuple[int, int], tiles: tuple[int, int]) -> None:
    side, most = tiles
    assert grid_of(size, side, most) == get_optimal_tiled_canvas(size[::-1], (side, side), 2, most)


@given(size=SIZE, mode=MODE, family=FAMILY)
def test_placeholders_are_as_many_as_the_library_makes(size: tuple[int, int], mode: Mode, family: Family) -> None:
    layout = layout_of(size, mode, RESOLUTIONS[family])
    kind: Any = DeepseekOcr2Processor if family is Family.DEEPSEEK_OCR2 else UnlimitedOcrProcessor
    processor = object.__new__(kind)  # its constructor wants a tokenizer, of which nothing is needed here
    processor.image_token, processor.patch_size, processor.downsample_ratio = "i", 16, 4
    cut = {"num_local_patches": [layout.tiles], "patches_grid": [layout.grid]}
    side = {"height": layout.side, "width": layout.side}
    assert layout.vision_tokens == len(
        processor.replace_image_token(cut, 0, size=side, tile_size=layout.tile_side or 1)
    )


@given(size=SIZE, mode=MODE)
def test_placeholders_are_as_many_as_the_published_code_of_v1_makes(size: tuple[int, int], mode: Mode) -> None:
    layout = layout_of(size, mode, RESOLUTIONS[Family.DEEPSEEK_OCR])
    whole, tile, (columns, rows) = layout.side // 64, layout.tile_side // 64, layout.grid
    made = (["i"] * whole + ["newline"]) * whole + ["separator"]
    if columns > 1 or rows > 1:
        made += (["i"] * (tile * columns) + ["newline"]) * (tile * rows)
    assert layout.vision_tokens == len(made)


@given(size=SIZE, mode=MODE, family=FAMILY)
def test_tiles_appear_only_where_they_show_more(size: tuple[int, int], mode: Mode, family: Family) -> None:
    layout = layout_of(size, mode, RESOLUTIONS[family])
    resolution = RESOLUTIONS[family].of(mode)
    assert bool(layout.tiles) == (max(size) > resolution.tile_side > 0)
    assert layout.tiles == 0 or 2 <= layout.tiles <= resolution.most_tiles


@pytest.mark.parametrize("family", Family)
def test_better_modes_lead_to_the_best_without_a_standstill(family: Family) -> None:
    def climbed(mode: Mode) -> Iterator[Mode]:
        following = better_mode(mode, RESOLUTIONS[family])
        while following is not None:
            yield following
            following = better_mode(following, RESOLUTIONS[family])

    for mode in ALL_MODES:
        counts = [layout_of(A4, step, RESOLUTIONS[family]).vision_tokens for step in (mode, *climbed(mode))]
        assert counts == sorted(set(counts))
        assert counts[-1] == layout_of(A4, "gundam", RESOLUTIONS[family]).vision_tokens


@given(size=SIZE, family=FAMILY, text_tokens=st.integers(0, 20_000), ratio=st.floats(0.1, 100))
def test_the_mode_for_a_ratio_comes_closest_to_it_from_below(
    size: tuple[int, int], family: Family, text_tokens: int, ratio: float
) -> None:
    modes = RESOLUTIONS[family]
    reached = {mode: text_tokens / layout_of(size, mode, modes).vision_tokens for mode in modes.modes}
    below = [found for found in reached.values() if found <= ratio * (1 - 1e-9)]
    chosen = reached[mode_for_ratio(text_tokens, ratio, size, modes)]
    assert chosen >= max(below, default=0)
    assert chosen <= ratio * (1 + 1e-9) or chosen == min(reached.values())


@pytest.mark.parametrize(
    ("text_tokens", "ratio", "mode"),
    [
        (0, 10, "tiny"),
        (730, 10, "tiny"),
        (731, 10, "small"),
        (2000, 10, "base"),
        (2731, 10, "large"),
        (500, 0.5, "gundam"),
    ],
)
def test_a_lower_ratio_asks_for_more_vision_tokens(text_tokens: int, ratio: float, mode: Mode) -> None:
    assert mode_for_ratio(text_tokens, ratio, A4, RESOLUTIONS[Family.DEEPSEEK_OCR]) == mode


# -- auto ---------------------------------------------


@pytest.mark.parametrize("dpi", [100, 200])
@pytest.mark.parametrize("size_pt", [9, 11, 24])
def test_letters_and_text_are_estimated_within_a_quarter(dpi: int, size_pt: float) -> None:
    page = article(random.Random(4), Style(dpi, size_pt))
    _, top, _, bottom = page.style.font().getbbox("x")
    for image in (page.image, worn(random.Random(4), page).image, page.image.convert("L")):
        found = text_density(image)
        assert found.letter_px == pytest.approx(bottom - top, rel=0.25)
        assert found.text_tokens == pytest.approx(len(page.text) / 4, rel=0.25)


def test_a_large_title_does_not_hide_small_text() -> None:
    page = article(random.Random(1), Style(size_pt=8))
    before = text_density(page.image).letter_px
    page.write(100, 1500, "GREAT BIG TITLE HERE", factor=7)
    assert text_density(page.image).letter_px == before


def test_rules_bars_and_dark_paper_are_not_taken_for_letters() -> None:
    ruled, plain = (text_density(table_page(random.Random(1), Style(), ruled=rules).image) for rules in (True, False))
    assert ruled.letter_px == pytest.approx(plain.letter_px, rel=0.2)
    page = article(random.Random(1), Style(dpi=100)).image
    assert text_density(ImageOps.invert(page)) == pytest.approx(text_density(page), rel=0.1)
    assert 5 < text_density(screenshot(random.Random(1)).image).letter_px < 15


@pytest.mark.parametrize("family", Family)
def test_smaller_letters_ask_for_a_better_mode(family: Family) -> None:
    modes = list(RESOLUTIONS[family].modes)
    chosen = [
        modes.index(auto_mode(article(random.Random(2), Style(size_pt=pt)).image, RESOLUTIONS[family]))
        for pt in (24, 11, 6)
    ]
    assert chosen == sorted(chosen)
    assert (chosen[0], chosen[-1]) == (0, len(modes) - 1)


def test_an_ordinary_page_is_read_in_base() -> None:
    assert auto_mode(article(random.Random(3), Style(size_pt=11)).image, RESOLUTIONS[Family.DEEPSEEK_OCR]) == "base"


def test_more_text_than_tokens_can_hold_asks_for_a_better_mode() -> None:
    page = article(random.Random(3), Style(size_pt=24)).image
    assert auto_mode(page, RESOLUTIONS[Family.DEEPSEEK_OCR]) == "tiny"
    assert auto_mode(page, RESOLUTIONS[Family.DEEPSEEK_OCR], most_ratio=1) == "base"


@pytest.mark.parametrize("image", [Image.new("RGB", A4, "white"), Image.new("L", (1, 1)), Image.new("L", (3000, 1), 9)])
def test_an_empty_page_is_read_in_the_smallest_mode(image: Image.Image) -> None:
    assert auto_mode(image, RESOLUTIONS[Family.DEEPSEEK_OCR]) == "tiny"


def test_no_mode_is_asked_to_show_more_than_a_page_has() -> None:
    page = article(random.Random(2), Style(size_pt=6)).image.crop((0, 0, 500, 400))
    assert auto_mode(page, RESOLUTIONS[Family.DEEPSEEK_OCR]) == "tiny"


@settings(max_examples=30, deadline=None)
@given(size=st.tuples(st.integers(1, 400), st.integers(1, 400)), seed=st.integers(0, 9))
def test_any_picture_has_a_mode(size: tuple[int, int], seed: int) -> None:
    noise = Image.frombytes("L", size, random.Random(seed).randbytes(size[0] * size[1]))
    assert auto_mode(noise, RESOLUTIONS[Family.DEEPSEEK_OCR2]) in RESOLUTIONS[Family.DEEPSEEK_OCR2].modes
