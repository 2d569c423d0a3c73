"""PDF pages as images: rotation, annotations, fields, passwords, sizes that lie."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from ocr_tasks.errors import BrokenSource, EncryptedSource, NoPages, PageTooLarge
from tests.documents import PdfPage, born_digital, encrypted_pdf, pdf_file, stream
from tests.pages import LIMITS, is_near, opened, stored
from workers.sources.documents import Limits, PageFailure, PageImage, inspect, rasterise

PDF = "application/pdf"


def ink(picture: Image.Image, box: tuple[int, int, int, int] | None = None) -> int:
    """Dark pixels in a box."""
    part = picture.convert("L").crop(box) if box else picture.convert("L")
    return sum(part.histogram()[:128])


def test_text_of_a_born_digital_page_is_drawn_at_the_wanted_resolution(tmp_path: Path) -> None:
    path = stored(tmp_path, pdf_file([born_digital(["Hello"], size=(300, 200))]))
    assert inspect(path, PDF, limits=LIMITS) == 1
    (page,) = rasterise(path, PDF, [1], limits=LIMITS)
    picture = opened(page)
    assert isinstance(page, PageImage)
    assert page.dpi == 100
    assert picture.size == (math.ceil(300 * 100 / 72), math.ceil(200 * 100 / 72))
    assert picture.mode == "L"
    assert ink(picture) > 100
    box = ImageOps.invert(picture).getbbox()
    assert box is not None
    assert abs(box[0] - 50 * 100 / 72) < 4


@pytest.mark.parametrize(
    ("rotate", "corner"), [(0, "top left"), (90, "top right"), (180, "bottom right"), (270, "bottom left")]
)
def test_a_rotated_page_is_turned_as_a_reader_shows_it(tmp_path: Path, rotate: int, corner: str) -> None:
    top_left = b"0 0 0 rg 0 150 50 50 re f"
    path = stored(tmp_path, pdf_file([PdfPage(top_left, size=(300, 200), rotate=rotate)]))
    (page,) = rasterise(path, PDF, [1], limits=LIMITS)
    picture = opened(page)
    assert picture.size == ((417, 278) if rotate in (0, 180) else (278, 417))
    x = 10 if "left" in corner else picture.width - 10
    y = 10 if "top" in corner else picture.height - 10
    assert picture.getpixel((x, y)) == 0
    assert picture.getpixel((picture.width - x, picture.height - y)) == 255


APPEARANCE = stream(b"1 0 0 rg 0 0 50 50 re f", "/Type/XObject/Subtype/Form/BBox[0 0 50 50]")


def test_annotations_are_drawn(tmp_path: Path) -> None:
    annotation = b"<</Type/Annot/Subtype/Stamp/F 4/Rect[100 100 150 150]/AP<</N 4 0 R>>>>"
    page = PdfPage(size=(200, 200), entries="/Annots[5 0 R]")
    (made,) = rasterise(stored(tmp_path, pdf_file([page], objects=[APPEARANCE, annotation])), PDF, [1], limits=LIMITS)
    assert is_near(opened(made).getpixel((174, 104)), (255, 0, 0))


def test_form_fields_are_drawn_without_a_highlight(tmp_path: Path) -> None:
    field = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(name)/F 4/Rect[100 100 150 150]/AP<</N 4 0 R>>>>"
    empty = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(other)/F 4/Rect[0 0 50 50]>>"
    page = PdfPage(size=(200, 200), entries="/Annots[5 0 R 6 0 R]")
    catalog = "/AcroForm<</Fields[5 0 R 6 0 R]>>"
    content = pdf_file([page], objects=[APPEARANCE, field, empty], catalog=catalog)
    (made,) = rasterise(stored(tmp_path, content), PDF, [1], limits=LIMITS)
    picture = opened(made)
    assert is_near(picture.getpixel((174, 104)), (255, 0, 0))
    assert picture.getpixel((30, 240)) == (255, 255, 255)


def test_an_encrypted_document_needs_its_password(tmp_path: Path) -> None:
    path = stored(tmp_path, encrypted_pdf([born_digital(["secret"])], user="Rosebud", owner="Kane"))
    with pytest.raises(EncryptedSource, match="none was given"):
        inspect(path, PDF, limits=LIMITS)
    with pytest.raises(EncryptedSource, match="does not open it"):
        inspect(path, PDF, limits=LIMITS, password="rosebud")
    with pytest.raises(EncryptedSource):
        next(rasterise(path, PDF, [1], limits=LIMITS))
    for password in ("Rosebud", "Kane"):
        assert inspect(path, PDF, limits=LIMITS, password=password) == 1
        (page,) = rasterise(path, PDF, [1], limits=LIMITS, password=password)
        assert ink(opened(page)) > 100


def test_a_document_that_is_only_protected_against_changes_opens_without_a_password(tmp_path: Path) -> None:
    path = stored(tmp_path, encrypted_pdf([born_digital(["open"])], user="", owner="Kane"))
    (page,) = rasterise(path, PDF, [1], limits=LIMITS)
    assert ink(opened(page)) > 100


def test_a_document_without_pages_is_told_from_a_broken_one_whatever_failed_before(tmp_path: Path) -> None:
    with pytest.raises(EncryptedSource):
        inspect(stored(tmp_path, encrypted_pdf([born_digital(["x"])], user="a", owner="b")), PDF, limits=LIMITS)
    with pytest.raises(NoPages):
        inspect(stored(tmp_path, pdf_file([])), PDF, limits=LIMITS)


def test_a_huge_page_fails_alone_and_names_value_and_limit(tmp_path: Path) -> None:
    path = stored(tmp_path, pdf_file([PdfPage(size=(200_000, 200_000)), born_digital(["next"], size=(300, 200))]))
    assert inspect(path, PDF, limits=LIMITS) == 2
    huge, following = rasterise(path, PDF, [1, 2], limits=LIMITS)
    assert isinstance(huge, PageFailure)
    assert isinstance(huge.error, PageTooLarge)
    assert huge.error.extensions == {"value": 200_000**2, "limit": 2_000_000}
    assert "200000 x 200000 pt" in huge.error.detail
    assert ink(opened(following)) > 50


@pytest.mark.parametrize(("size", "dpi"), [((1200, 1200), 84), ((1400, 1400), 72), ((1414, 1414), 72)])
def test_a_large_page_is_made_at_a_lower_resolution_while_that_can_still_be_read(
    tmp_path: Path, size: tuple[float, float], dpi: int
) -> None:
    (page,) = rasterise(stored(tmp_path, pdf_file([PdfPage(size=size)])), PDF, [1], limits=LIMITS)
    assert isinstance(page, PageImage)
    assert page.dpi == dpi
    assert page.width == math.ceil(size[0] * dpi / 72)
    assert page.width * page.height <= LIMITS.max_page_pixels


def test_a_page_just_too_large_for_the_least_resolution_is_refused(tmp_path: Path) -> None:
    (page,) = rasterise(stored(tmp_path, pdf_file([PdfPage(size=(1415, 1415))])), PDF, [1], limits=LIMITS)
    assert isinstance(page, PageFailure)
    assert page.error.extensions["value"] == 1415**2


def test_a_wanted_resolution_below_the_least_one_is_kept(tmp_path: Path) -> None:
    low = Limits(1000, 2_000_000, 50)
    (page,) = rasterise(stored(tmp_path, pdf_file([PdfPage(size=(720, 720))])), PDF, [1], limits=low)
    assert isinstance(page, PageImage)
    assert (page.dpi, page.width) == (50, 500)


def test_a_page_of_endless_length_is_refused_for_its_side(tmp_path: Path) -> None:
    wide = Limits(1000, 100_000_000, 200)
    (page,) = rasterise(stored(tmp_path, pdf_file([PdfPage(size=(10, 200_000))])), PDF, [1], limits=wide)
    assert isinstance(page, PageFailure)
    assert isinstance(page.error, PageTooLarge)
    assert page.error.extensions == {"value": 200_000, "limit": 65_535}


def test_pages_that_the_tree_only_claims_fail_alone(tmp_path: Path) -> None:
    path = stored(tmp_path, pdf_file([born_digital(["one"])], count=3))
    pages = list(rasterise(path, PDF, range(1, inspect(path, PDF, limits=LIMITS) + 1), limits=LIMITS))
    assert ink(opened(pages[0])) > 50
    assert len(pages) == 3
    for page in pages[1:]:
        assert isinstance(page, PageFailure)
        assert isinstance(page.error, BrokenSource)
        assert f"Page {page.page_no}" in page.error.detail


def test_a_page_tree_that_leads_back_into_itself_ends(tmp_path: Path) -> None:
    content = pdf_file([born_digital(["one"])]).replace(b"/Kids[4 0 R]", b"/Kids[2 0 R]")
    path = stored(tmp_path, content)
    pages = list(rasterise(path, PDF, range(1, inspect(path, PDF, limits=LIMITS) + 1), limits=LIMITS))
    assert all(isinstance(page, PageFailure) for page in pages)


def test_a_pdf_that_begins_late_is_read(tmp_path: Path) -> None:
    path = stored(tmp_path, b"junk before\n" * 40 + pdf_file([born_digital(["late"])]))
    (page,) = rasterise(path, PDF, [1], limits=LIMITS)
    assert ink(opened(page)) > 50
