"""Files become page images: what holds for every kind of file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from PIL import Image

from ocr_tasks.errors import BrokenSource, EmptySource, OcrError, PageTooLarge, SourceError, TooManyPages
from tests.documents import born_digital, encoded, multi_page, pdf_file, scan
from tests.pages import LIMITS, grain, halves, is_near, opened, stored
from workers.sources.documents import Limits, PageFailure, PageImage, inspect, rasterise
from workers.sources.limits import COUNTED_PAGES, parsing, require_countable

SAMPLE = Path(__file__).parents[2] / "workers" / "samples" / "sample.pdf"

TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
    "JPEG2000": "image/jp2",
    "HEIF": "image/heic",
    "PDF": "application/pdf",
}


@pytest.mark.parametrize(("kind", "media_type"), TYPES.items())
def test_every_accepted_kind_becomes_an_upright_colour_page(tmp_path: Path, kind: str, media_type: str) -> None:
    path = stored(tmp_path, encoded(halves(), kind))
    assert inspect(path, media_type, limits=LIMITS) == 1
    (page,) = rasterise(path, media_type, [1], limits=LIMITS)
    picture = opened(page)
    assert isinstance(page, PageImage)
    assert (page.page_no, page.media_type, (page.width, page.height)) == (1, "image/png", picture.size)
    assert picture.mode == "RGB"
    assert is_near(picture.getpixel((3, 10)), (255, 0, 0))
    assert is_near(picture.getpixel((picture.width - 4, 10)), (0, 0, 255))


@pytest.mark.parametrize(("kind", "media_type"), TYPES.items())
def test_a_grey_page_is_stored_as_grey(tmp_path: Path, kind: str, media_type: str) -> None:
    grey = Image.linear_gradient("L").convert("RGB")
    path = stored(tmp_path, encoded(grey, kind, **({"lossless": True} if kind == "WEBP" else {})))
    (page,) = rasterise(path, media_type, [1], limits=LIMITS)
    assert opened(page).mode == "L"


def test_one_coloured_pixel_keeps_a_page_in_colour(tmp_path: Path) -> None:
    page = Image.new("RGB", (500, 500), "white")
    page.putpixel((499, 499), (255, 254, 255))
    (made,) = rasterise(stored(tmp_path, encoded(page, "PNG")), "image/png", [1], limits=LIMITS)
    assert opened(made).getpixel((499, 499)) == (255, 254, 255)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(("kind", "media_type"), TYPES.items())
def test_a_file_cut_off_is_damaged_and_never_half_a_page(
    tmp_path: Path, kind: str, media_type: str, share: float
) -> None:
    whole = encoded(grain(), kind)
    path = stored(tmp_path, whole[: int(len(whole) * share)])
    try:
        inspect(path, media_type, limits=LIMITS)
        (page,) = rasterise(path, media_type, [1], limits=LIMITS)
    except SourceError as error:
        failure: OcrError = error
    else:
        assert isinstance(page, PageFailure)
        failure = page.error
    assert isinstance(failure, BrokenSource)
    assert str(path) not in failure.detail


def test_what_the_content_is_wins_over_what_it_was_sent_as(tmp_path: Path) -> None:
    path = stored(tmp_path, encoded(halves(), "JPEG"))
    assert inspect(path, "image/png", limits=LIMITS) == 1
    (page,) = rasterise(path, "application/pdf", [1], limits=LIMITS)
    assert opened(page).size == (64, 48)


@pytest.mark.parametrize(
    "content", [b"no picture at all", b"PK\x03\x04" + bytes(60), b"%PDF-1.7 and then nothing", b"\xff\xd8\xff\xe0"]
)
@pytest.mark.parametrize("claimed", ["application/pdf", "image/png", "image/x-unheard-of"])
def test_content_of_no_known_kind_is_a_broken_source(tmp_path: Path, content: bytes, claimed: str) -> None:
    path = stored(tmp_path, content)
    with pytest.raises(BrokenSource):
        inspect(path, claimed, limits=LIMITS)
    with pytest.raises(BrokenSource):
        next(rasterise(path, claimed, [1], limits=LIMITS))


def test_no_bytes_are_an_empty_source(tmp_path: Path) -> None:
    with pytest.raises(EmptySource):
        inspect(stored(tmp_path, b""), "application/pdf", limits=LIMITS)


def test_a_missing_file_is_no_fault_of_the_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspect(tmp_path / "gone", "application/pdf", limits=LIMITS)


@pytest.mark.parametrize("page_no", [0, -1, 4])
@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (pdf_file([born_digital(["a"])] * 3), "application/pdf"),
        (multi_page([halves(), halves(), halves()], "TIFF"), "image/tiff"),
        (multi_page([halves(), grain((64, 48)), halves()], "GIF"), "image/gif"),
    ],
)
def test_a_page_that_is_not_there_fails_and_the_others_come_in_the_order_asked(
    tmp_path: Path, content: bytes, media_type: str, page_no: int
) -> None:
    made = list(rasterise(stored(tmp_path, content), media_type, [3, page_no, 1], limits=LIMITS))
    assert [page.page_no for page in made] == [3, page_no, 1]
    assert isinstance(made[1], PageFailure)
    assert str(page_no) in made[1].error.detail
    assert made[1].error.extensions["limit"] == 3
    assert opened(made[0]).size == opened(made[2]).size


class Recorded(list[int]):
    """Page numbers that note which of them were taken."""

    def __init__(self, page_nos: Sequence[int]) -> None:
        super().__init__(page_nos)
        self.taken: list[int] = []

    def __iter__(self) -> Iterator[int]:
        for page_no in super().__iter__():
            self.taken.append(page_no)
            yield page_no


@pytest.mark.parametrize("kind", ["PDF", "TIFF", "GIF"])
def test_pages_are_made_one_at_a_time(tmp_path: Path, kind: str) -> None:
    path = stored(tmp_path, multi_page([halves(), grain((64, 48)), halves()], kind))
    asked = Recorded([1, 2, 3])
    pages = rasterise(path, TYPES[kind], asked, limits=LIMITS)
    assert asked.taken == []
    next(pages)
    assert asked.taken == [1]


def test_a_soft_time_limit_is_not_taken_for_a_broken_file() -> None:
    with pytest.raises(SoftTimeLimitExceeded), parsing("The file", LIMITS):
        raise SoftTimeLimitExceeded


def test_a_full_disk_is_not_taken_for_a_broken_file() -> None:
    with pytest.raises(OSError, match="No space"), parsing("The file", LIMITS):
        raise OSError(28, "No space left on device")


def test_running_out_of_memory_is_a_page_too_large() -> None:
    with pytest.raises(PageTooLarge, match="Page 7"), parsing("Page 7", LIMITS):
        raise MemoryError


def test_an_absurd_number_of_pages_is_refused_with_value_and_limit() -> None:
    assert require_countable(COUNTED_PAGES) == COUNTED_PAGES
    with pytest.raises(TooManyPages) as caught:
        require_countable(COUNTED_PAGES + 1)
    assert caught.value.extensions == {"value": COUNTED_PAGES + 1, "limit": COUNTED_PAGES}


def test_the_sample_is_three_a4_pages_scanned_in_colour_and_comes_with_its_text() -> None:
    limits = Limits(1000, 100_000_000, 200)
    assert inspect(SAMPLE, "application/pdf", limits=limits) == 3
    for page in rasterise(SAMPLE, "application/pdf", [1, 2, 3], limits=limits):
        picture = opened(page)
        assert (picture.mode, picture.size) == ("RGB", (1654, 2339))
    assert SAMPLE.stat().st_size < 700_000
    letter, invoice, article = SAMPLE.with_suffix(".txt").read_text(encoding="utf-8").split("\f")
    assert "harbour registers" in letter
    assert "Toner cartridge black\t6\t61.50\t369.00" in invoice
    assert article.index("never at rest") < article.index("Vegetation slows")


def test_a_scan_inside_a_pdf_keeps_its_pixels(tmp_path: Path) -> None:
    picture = Image.linear_gradient("L").resize((300, 400))
    path = stored(tmp_path, pdf_file([scan(encoded(picture, "JPEG", quality=95), size=(216, 288))]))
    (page,) = rasterise(path, "application/pdf", [1], limits=LIMITS)
    made = opened(page)
    assert (made.mode, made.size) == ("L", (300, 400))
    for at in ((150, 20), (150, 200), (150, 380)):
        found, expected = made.getpixel(at), picture.getpixel(at)
        assert isinstance(found, int)
        assert isinstance(expected, int)
        assert abs(found - expected) < 8
