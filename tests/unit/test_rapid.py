"""The engine `rapid` with its real models, on pages drawn anew."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from ocr_tasks.contract import OcrOptions, PageResult
from tests.drawing import (
    Page,
    Style,
    article,
    blank,
    cells_right,
    error_rate,
    invoice,
    prose,
    screenshot,
    table_page,
    tables_in,
    title,
    turned,
    worn,
)
from workers.engine import PageWork, WorkId
from workers.engine.rapid import RapidEngine

SAMPLES = Path(__file__).parent.parent / "samples"


@pytest.fixture(scope="module")
def engine() -> Iterator[RapidEngine]:
    engine = RapidEngine()
    yield engine
    engine.close()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.node.name)


def work(image: Image.Image, options: OcrOptions | None = None) -> PageWork:
    return PageWork(WorkId(uuid4(), 1, 1), lambda: image, options or OcrOptions())


def read(engine: RapidEngine, image: Image.Image, options: OcrOptions | None = None) -> PageResult:
    engine.admit([work(image, options)])
    (done,) = engine.step()
    assert isinstance(done.outcome, PageResult)
    return done.outcome


def short(rng: random.Random, size_pt: float = 10, dpi: int = 200, columns: int = 1) -> Page:
    return article(rng, Style(dpi=dpi, size_pt=size_pt), columns, height_pt=300)


def errors(engine: RapidEngine, page: Page) -> float:
    return error_rate(read(engine, page.image).text, page.text)


@pytest.mark.parametrize("size_pt", [8, 12])
def test_clean_pages_are_read_without_errors(engine: RapidEngine, rng: random.Random, size_pt: float) -> None:
    assert errors(engine, short(rng, size_pt)) <= 0.003


def test_light_text_on_dark_paper_is_read(engine: RapidEngine, rng: random.Random) -> None:
    page = article(rng, Style(size_pt=10, paper="#16213e", ink="#f0f0f0"), height_pt=250)
    assert errors(engine, page) <= 0.003


def test_a_noisy_skewed_scan_is_read(engine: RapidEngine, rng: random.Random) -> None:
    assert errors(engine, turned(worn(rng, short(rng)), 2.3)) <= 0.003


@pytest.mark.parametrize("columns", [2, 3])
def test_columns_are_read_in_order(engine: RapidEngine, rng: random.Random, columns: int) -> None:
    assert errors(engine, short(rng, 8, columns=columns)) <= 0.01


def test_a_page_of_100_dpi_is_read(engine: RapidEngine, rng: random.Random) -> None:
    assert errors(engine, short(rng, 9, dpi=100)) <= 0.02


def test_a_screenshot_is_read_part_by_part(engine: RapidEngine, rng: random.Random) -> None:
    assert errors(engine, screenshot(rng)) <= 0.01


def test_link_columns_over_an_imprint_are_read_one_after_the_other(engine: RapidEngine, rng: random.Random) -> None:
    page = blank(Style(dpi=96, size_pt=12, paper="#1f2430", ink="#e6e6e6"), 900, 200)
    for column in range(4):
        y = 20.0
        for words in (1, 2, 2, 1, 2)[: 5 - column % 2]:
            y = page.write(40 + 290 * column, y, title(rng, words)) + 6
    page.write(40, 210, "© 2024 Novak Inc. All rights reserved.")
    assert errors(engine, page) <= 0.01


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_page_scanned_the_wrong_way_up_is_turned(engine: RapidEngine, rng: random.Random, degrees: int) -> None:
    assert errors(engine, turned(short(rng), degrees)) <= 0.003


def test_boxes_are_in_pixels_of_the_image_even_when_it_was_turned(engine: RapidEngine) -> None:
    page = blank(Style(size_pt=14), 400, 200)
    page.write(200, 100, "One line to be found again")
    upright = read(engine, page.image).blocks[0].box
    turned_box = read(engine, turned(page, 180).image).blocks[0].box
    width, height = page.image.size
    assert upright is not None
    expected = (width - upright[2], height - upright[3], width - upright[0], height - upright[1])
    assert turned_box == pytest.approx(expected, abs=6)
    assert upright[:2] == pytest.approx((200, 100), abs=16)


@pytest.mark.parametrize("ruled", [True, False])
def test_tables_keep_their_rows_and_columns(engine: RapidEngine, rng: random.Random, ruled: bool) -> None:
    page = table_page(rng, Style(size_pt=9), ruled)
    result = read(engine, page.image)
    assert cells_right(tables_in(result.markdown), page.tables) >= 0.95
    assert [block.kind for block in result.blocks].count("table") == 2


def test_an_invoice_is_read_block_by_block_and_its_table_row_by_row(engine: RapidEngine, rng: random.Random) -> None:
    page = invoice(rng, Style(size_pt=10))
    result = read(engine, page.image)
    assert error_rate(result.text, page.text) <= 0.003
    assert cells_right(tables_in(result.markdown), page.tables) >= 0.95


def test_chinese_with_english_in_it_keeps_spaces_and_marks(engine: RapidEngine) -> None:
    with Image.open(SAMPLES / "chinese.png") as image:
        result = read(engine, image.convert("RGB"))
    assert error_rate(result.text, (SAMPLES / "chinese.txt").read_text()) <= 0.003


def test_headings_are_found_by_their_size(engine: RapidEngine, rng: random.Random) -> None:
    page = short(rng)
    result = read(engine, page.image)
    assert [block.text for block in result.blocks if block.kind == "heading"] == page.headings


@pytest.mark.parametrize("size", [(1, 1), (40, 20), (3000, 30), (1240, 1754)])
def test_an_empty_page_of_any_size_is_flagged(engine: RapidEngine, size: tuple[int, int]) -> None:
    result = read(engine, Image.new("L", size, 255))
    assert (result.text, result.flags) == ("", ("empty",))


def test_a_very_tall_page_loses_no_line(engine: RapidEngine, rng: random.Random) -> None:
    page = blank(Style(dpi=96, size_pt=12), 450, 4500)
    y = 20.0
    for _ in range(14):
        y = page.write_all(20, y, 540, prose(rng, 20)) + 300
    assert page.image.height > 5000
    assert errors(engine, page) <= 0.003


def test_layout_and_tables_are_left_out_when_not_wanted(engine: RapidEngine, rng: random.Random) -> None:
    page = table_page(rng, Style(dpi=120), ruled=True)
    result = read(engine, page.image, OcrOptions(include_layout=False, extract_tables=False))
    assert result.blocks == ()
    assert tables_in(result.markdown) == []
    assert error_rate("".join(sorted(result.text)), "".join(sorted(page.text))) < 0.05


def test_an_evicted_page_never_comes_back(engine: RapidEngine) -> None:
    works = [work(Image.new("RGB", (64, 64), "white")) for _ in range(3)]
    engine.admit(works)
    engine.evict([works[0].id, works[2].id, WorkId(uuid4(), 9, 9)])
    assert [done.id for done in engine.step()] == [works[1].id]
    assert engine.step() == []


def test_the_engine_holds_nothing_after_an_error(engine: RapidEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    works = [work(Image.new("RGB", (64, 64), "white")) for _ in range(2)]
    engine.admit(works)
    with monkeypatch.context() as patch:
        patch.setattr(engine._reader, "read", lambda image: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.step()
    assert engine.step() == []


def test_the_revision_names_models_and_layout(engine: RapidEngine) -> None:
    assert engine.revision.startswith("rapidocr-")
    assert "det" in engine.revision
    assert "rec" in engine.revision
    assert "layout-" in engine.revision
