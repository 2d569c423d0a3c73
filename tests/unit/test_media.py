"""What the first bytes say a file is."""

from __future__ import annotations

import pytest
from PIL import Image

from ocr_tasks.errors import EmptySource, UnsupportedMediaType
from ocr_tasks.media import ACCEPTED, HEAD_BYTES, require_accepted, sniff
from tests.documents import born_digital, encoded, pdf_file
from workers.sources import images  # noqa: F401 - teaches Pillow to write HEIF

WRITTEN = {
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


def head_of(kind: str, **options: object) -> bytes:
    return encoded(Image.new("RGB", (40, 30), "teal"), kind, **options)[:HEAD_BYTES]


@pytest.mark.parametrize(("kind", "media_type"), WRITTEN.items())
def test_a_written_file_is_recognised_and_accepted(kind: str, media_type: str) -> None:
    assert sniff(head_of(kind)) == media_type
    assert require_accepted(head_of(kind), "page") == media_type


def test_what_can_be_written_and_the_rest_is_all_that_is_accepted() -> None:
    assert set(WRITTEN.values()) | {"image/j2c", "image/heif"} == ACCEPTED


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (head_of("JPEG2000", no_jp2=True), "image/j2c"),
        (head_of("TIFF", big_tiff=True), "image/tiff"),
        (b"MM\x00*\x00\x00\x00\x08" + bytes(20), "image/tiff"),
        (b"MM\x00+\x00\x08\x00\x00" + bytes(20), "image/tiff"),
        (b"\x00\x00\x00\x18ftypheix\x00\x00\x00\x00mif1heix", "image/heic"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", "image/heic"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", "image/avif"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1miaf", "image/heif"),
        (b"\x00\x00\x00\x1cftypavis\x00\x00\x00\x00avifmsf1miaf", "image/avif"),
    ],
)
def test_rarer_forms_are_recognised(head: bytes, media_type: str) -> None:
    assert sniff(head) == media_type


@pytest.mark.parametrize("before", [0, 1, 900, 1019])
def test_a_pdf_may_begin_late_in_the_first_kilobyte(before: int) -> None:
    assert sniff(b"\n" * before + pdf_file([born_digital(["late"])])) == "application/pdf"


def test_a_pdf_marker_after_the_first_kilobyte_does_not_count() -> None:
    assert sniff(b"\n" * 1020 + b"%PDF-1.7") is None


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"PK\x03\x04" + bytes(40), "application/zip"),
        (b"  <!DOCTYPE html><p>how %PDF-1.4 begins", "text/html"),
        (b'<?xml version="1.0"?><svg/>', "text/xml"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2mp41" + bytes(20), "video/mp4"),
    ],
)
def test_what_is_not_accepted_is_named(head: bytes, media_type: str) -> None:
    with pytest.raises(UnsupportedMediaType) as caught:
        require_accepted(head, "thing.bin")
    assert media_type in caught.value.detail
    assert "thing.bin" in caught.value.detail
    assert "TIFF" in caught.value.detail
    assert caught.value.extensions["value"] == media_type


@pytest.mark.parametrize(
    "head", [b"BMore than a bitmap, this is text", b"GIFT", b"\xff\xd8", b"RIFF0000WAVE", b"%PD", b"a"]
)
def test_a_magic_number_cut_short_or_by_chance_is_not_believed(head: bytes) -> None:
    assert sniff(head) not in ACCEPTED
    with pytest.raises(UnsupportedMediaType):
        require_accepted(head, None)


def test_the_name_says_nothing_about_the_kind() -> None:
    assert require_accepted(head_of("JPEG"), "scan.png") == "image/jpeg"


def test_no_bytes_are_an_empty_file() -> None:
    with pytest.raises(EmptySource) as caught:
        require_accepted(b"", "nothing.pdf")
    assert "nothing.pdf" in caught.value.detail
