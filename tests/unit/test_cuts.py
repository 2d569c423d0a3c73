"""Pages out of a tall screenshot hold all of it, cut no text, and are about page-shaped."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ocr_tasks.contract import Box
from workers.sources.cuts import A4, SHORTEST, Cut, blank_rows, cut_pages, page_images


@st.composite
def pictures(draw: st.DrawFn) -> tuple[int, int, list[Box]]:
    """A width, a height, and boxes of which some overlap and some lie outside."""
    width, height = draw(st.integers(1, 300)), draw(st.integers(0, 4000))
    lines = st.tuples(st.integers(-20, height + 20), st.integers(1, 600))
    boxes = [(0, top, 10, top + size) for top, size in draw(st.lists(lines, max_size=40))]
    return width, height, boxes


@given(pictures(), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=300, deadline=None)
def test_pages_cover_the_whole_and_cut_no_text_that_fits_between_cuts(
    picture: tuple[int, int, list[Box]], seed: int, known: bool
) -> None:
    width, height, boxes = picture
    blank = np.random.default_rng(seed).random(height) < 0.5 if known else None
    cuts = cut_pages(width, height, boxes, blank=blank)
    most = round(width * A4)
    assert [cut.top for cut in cuts] == [0, *(cut.bottom for cut in cuts)][: len(cuts)]
    assert (cuts[-1].bottom if cuts else 0) == height
    assert all(0 < cut.height <= most for cut in cuts)
    for cut in cuts[:-1]:
        through = [box for box in boxes if box[1] < cut.bottom < box[3]]
        if through:  # only where there was no other way: no row of this page could have been its last one
            free = [row for row in range(cut.top + 1, cut.bottom) if not any(b[1] < row < b[3] for b in boxes)]
            assert free == []


@given(pictures())
@settings(deadline=None)
def test_boxes_map_to_their_page_and_back(picture: tuple[int, int, list[Box]]) -> None:
    width, height, boxes = picture
    for cut in cut_pages(width, height, boxes):
        for box in boxes:
            if cut.top <= box[1] and box[3] <= cut.bottom:
                assert cut.on_whole(cut.on_page(box)) == box


def test_pages_without_anything_in_the_way_are_page_shaped() -> None:
    cuts = cut_pages(1000, 20_000)
    assert all(cut.height >= SHORTEST * 1000 * A4 - 1 for cut in cuts)
    assert {cut.height for cut in cuts[:-2]} == {1414}


def test_what_fits_a_page_is_not_cut() -> None:
    assert cut_pages(1920, 2715) == [Cut(0, 2715)]
    assert cut_pages(1920, 0) == []
    assert len(cut_pages(1920, 2716)) == 2


def test_text_taller_than_a_page_is_cut_where_the_page_ends() -> None:
    assert cut_pages(100, 500, [(0, 0, 100, 500)], tallest=200)[0] == Cut(0, 200)


def test_a_cut_lies_in_the_middle_of_the_widest_blank_stripe() -> None:
    image = Image.new("RGB", (200, 600), "white")
    pen = ImageDraw.Draw(image)
    for row in range(0, 600, 4):
        if not 210 <= row < 250:
            pen.line((10, row, 190, row), "black")
    blank = blank_rows(image)
    assert blank[220]
    assert not blank[100]
    first = cut_pages(200, 600, blank=blank)[0]
    assert abs(first.bottom - 229) <= 2
    assert [page.size for page in page_images(image, [first])] == [(200, first.height)]


def test_a_page_of_30000_rows_needs_little_memory_beside_itself() -> None:
    image = Image.new("L", (1920, 30_000), 255)
    tracemalloc.start()
    cuts = cut_pages(1920, 30_000, [(0, n, 10, n + 20) for n in range(0, 30_000, 25)], blank=blank_rows(image))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20
    assert sum(cut.height for cut in cuts) == 30_000
