"""Image files as page images: orientation, kinds of pixels, sizes that lie, files of several frames."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy
import pytest
from PIL import ExifTags, Image, ImageColor

from ocr_tasks.errors import BrokenSource, NoPages, PageTooLarge
from tests.documents import encoded, multi_page
from tests.pages import LIMITS, grain, halves, is_near, opened, stored
from workers.sources.documents import Limits, PageFailure, PageImage, inspect, rasterise

COLOURS = {"top left": "red", "top right": "lime", "bottom left": "blue", "bottom right": "white"}


def quadrants() -> Image.Image:
    """Four colours, 96 x 64, upright."""
    picture = Image.new("RGB", (96, 64))
    for name, colour in COLOURS.items():
        x, y = 48 * ("right" in name), 32 * ("bottom" in name)
        picture.paste(colour, (x, y, x + 48, y + 32))
    return picture


# EXIF 2.3, tag 274: which side of the upright picture the stored first row and first column are.
FIRST_ROW_AND_COLUMN = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def as_stored(upright: Image.Image, orientation: int) -> Image.Image:
    """The picture as a camera stores it that was held in this orientation."""
    row, column = FIRST_ROW_AND_COLUMN[orientation]
    pixels = numpy.asarray(upright)
    if row in ("left", "right"):
        pixels = pixels.transpose(1, 0, 2)
    if row in ("bottom", "right"):
        pixels = pixels[::-1]
    if column in ("bottom", "right"):
        pixels = pixels[:, ::-1]
    return Image.fromarray(numpy.ascontiguousarray(pixels))


@pytest.mark.parametrize("orientation", FIRST_ROW_AND_COLUMN)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_a_page_stands_upright_however_the_camera_was_held(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture = as_stored(quadrants(), orientation)
    picture.info["exif"] = exif.tobytes()  # HEIF turns by a property of its own, which is written for this only
    content = encoded(picture, kind, **({} if kind == "HEIF" else {"exif": exif}))
    (page,) = rasterise(stored(tmp_path, content), "image/png", [1], limits=LIMITS)
    picture = opened(page)
    assert picture.size == (96, 64)
    for name, colour in COLOURS.items():
        at = (24 + 48 * ("right" in name), 16 + 32 * ("bottom" in name))
        assert is_near(picture.getpixel(at), ImageColor.getrgb(colour)), name


def test_a_damaged_exif_block_does_not_cost_the_page(tmp_path: Path) -> None:
    content = encoded(halves(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    (page,) = rasterise(stored(tmp_path, content), "image/jpeg", [1], limits=LIMITS)
    assert opened(page).size == (64, 48)


def ramp(bits: int, kind: type) -> Image.Image:
    """Black to white, 256 wide, in numbers of so many bits."""
    row = numpy.linspace(0, 2**bits - 1, 256)
    return Image.fromarray(numpy.tile(row, (20, 1)).astype(kind))


@pytest.mark.parametrize(
    ("kind", "picture"),
    [
        ("PNG", ramp(16, numpy.uint16)),
        ("TIFF", ramp(16, numpy.uint16)),
        ("TIFF", ramp(12, numpy.uint16)),
        ("TIFF", ramp(10, numpy.uint16)),
        ("TIFF", ramp(30, numpy.int32)),
        ("TIFF", Image.fromarray(numpy.tile(numpy.linspace(0, 1, 256, dtype=numpy.float32), (20, 1)))),
        ("TIFF", ramp(8, numpy.float32)),
        ("JPEG2000", ramp(16, numpy.uint16)),
    ],
)
def test_deep_grey_is_scaled_to_eight_bits_and_not_clipped(tmp_path: Path, kind: str, picture: Image.Image) -> None:
    (page,) = rasterise(stored(tmp_path, encoded(picture, kind)), "image/tiff", [1], limits=LIMITS)
    made = opened(page)
    assert made.mode == "L"
    darkest, brightest = made.getextrema()
    assert (darkest, brightest) == (0, 255)
    for x in (64, 128, 192):
        found = made.getpixel((x, 10))
        assert isinstance(found, int)
        assert abs(found - x) <= 2


def test_deep_grey_of_which_black_is_the_highest_value_is_turned_around(tmp_path: Path) -> None:
    content = encoded(ramp(16, numpy.uint16), "TIFF", tiffinfo={262: 0})
    (page,) = rasterise(stored(tmp_path, content), "image/tiff", [1], limits=LIMITS)
    assert opened(page).getpixel((0, 0)) == 255
    assert opened(page).getpixel((255, 0)) == 0


def test_a_deep_page_that_is_all_black_stays_black(tmp_path: Path) -> None:
    content = encoded(Image.new("I;16", (20, 10), 0), "TIFF")
    (page,) = rasterise(stored(tmp_path, content), "image/tiff", [1], limits=LIMITS)
    assert opened(page).getextrema() == (0, 0)


def test_pixels_that_are_no_numbers_are_a_broken_page(tmp_path: Path) -> None:
    picture = Image.fromarray(numpy.full((8, 8), numpy.nan, dtype=numpy.float32))
    (page,) = rasterise(stored(tmp_path, encoded(picture, "TIFF")), "image/tiff", [1], limits=LIMITS)
    assert isinstance(page, PageFailure)
    assert isinstance(page.error, BrokenSource)


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95}), ("TIFF", {}), ("TIFF", {"compression": "jpeg"})]
)
def test_four_inks_become_the_colours_they_print(tmp_path: Path, kind: str, options: dict[str, object]) -> None:
    content = encoded(halves().convert("CMYK"), kind, **options)
    (page,) = rasterise(stored(tmp_path, content), "image/jpeg", [1], limits=LIMITS)
    picture = opened(page)
    assert is_near(picture.getpixel((5, 5)), (255, 0, 0))
    assert is_near(picture.getpixel((60, 5)), (0, 0, 255))


def with_alpha(mode: str) -> Image.Image:
    """Black ink on the left, nothing (black, transparent) on the right."""
    picture = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 32, 48))
    return picture.convert(mode)


def palette_with_transparency() -> tuple[Image.Image, dict[str, object]]:
    picture = Image.new("P", (64, 48), 1)
    picture.putpalette([0, 0, 0, 0, 0, 0])
    picture.paste(0, (0, 0, 32, 48))
    return picture, {"transparency": 1}


def colour_key(mode: str) -> tuple[Image.Image, dict[str, object]]:
    """Black on the left; the one other colour stands for nothing."""
    key: int | tuple[int, int, int] = 77 if mode == "L" else (77, 77, 77)
    picture = Image.new(mode, (64, 48), key)
    picture.paste(0 if mode == "L" else (0, 0, 0), (0, 0, 32, 48))
    return picture, {"transparency": key}


@pytest.mark.parametrize(
    ("kind", "picture", "options"),
    [
        ("PNG", with_alpha("RGBA"), {}),
        ("PNG", with_alpha("LA"), {}),
        ("WEBP", with_alpha("RGBA"), {"lossless": True}),
        ("TIFF", with_alpha("RGBA"), {}),
        ("AVIF", with_alpha("RGBA"), {}),
        ("PNG", *palette_with_transparency()),
        ("GIF", *palette_with_transparency()),
        ("PNG", *colour_key("L")),
        ("PNG", *colour_key("RGB")),
    ],
)
def test_what_is_transparent_becomes_white(
    tmp_path: Path, kind: str, picture: Image.Image, options: dict[str, object]
) -> None:
    (page,) = rasterise(stored(tmp_path, encoded(picture, kind, **options)), "image/png", [1], limits=LIMITS)
    made = opened(page)
    assert made.mode == "L"
    assert "transparency" not in made.info
    assert made.getpixel((10, 10)) == 0
    assert made.getpixel((50, 10)) == 255


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "group4"}), ("BMP", {}), ("GIF", {})]
)
def test_one_bit_pages_become_black_on_white(tmp_path: Path, kind: str, options: dict[str, object]) -> None:
    picture = Image.new("1", (64, 48), 1)
    picture.paste(0, (0, 0, 32, 48))
    (page,) = rasterise(stored(tmp_path, encoded(picture, kind, **options)), "image/png", [1], limits=LIMITS)
    made = opened(page)
    assert (made.mode, made.getpixel((10, 10)), made.getpixel((50, 10))) == ("L", 0, 255)


def test_a_picture_in_lab_becomes_its_lightness(tmp_path: Path) -> None:
    content = encoded(Image.new("LAB", (20, 10), (180, 128, 128)), "TIFF")
    (page,) = rasterise(stored(tmp_path, content), "image/tiff", [1], limits=LIMITS)
    assert (opened(page).mode, opened(page).getpixel((5, 5))) == ("L", 180)


def test_nothing_of_the_file_but_its_pixels_is_stored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "somebody private"
    content = encoded(halves(), "JPEG", exif=exif, icc_profile=b"a profile", comment=b"a remark")
    (page,) = rasterise(stored(tmp_path, content), "image/jpeg", [1], limits=LIMITS)
    assert isinstance(page, PageImage)
    assert not any(word in page.content for word in (b"private", b"profile", b"remark", b"iCCP", b"eXIf"))


@pytest.mark.parametrize(("dpi", "found"), [((300, 300), 300), ((1, 1), None), (None, None)])
def test_the_resolution_a_file_claims_is_kept_if_it_can_be_true(
    tmp_path: Path, dpi: tuple[int, int] | None, found: float | None
) -> None:
    content = encoded(halves(), "JPEG", **({"dpi": dpi} if dpi else {}))
    (page,) = rasterise(stored(tmp_path, content), "image/jpeg", [1], limits=LIMITS)
    assert isinstance(page, PageImage)
    assert page.dpi == found


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(2_000_001, 1), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header_with_value_and_limit(tmp_path: Path, width: int, height: int) -> None:
    path = stored(tmp_path, png_header(width, height))
    with pytest.raises(PageTooLarge) as caught:
        inspect(path, "image/png", limits=LIMITS)
    assert caught.value.extensions == {"value": width * height, "limit": 2_000_000}
    (page,) = rasterise(path, "image/png", [1], limits=LIMITS)
    assert isinstance(page, PageFailure)
    assert isinstance(page.error, PageTooLarge)
    assert str(width * height) in page.error.detail
    assert "2000000" in page.error.detail


def test_the_limit_itself_is_allowed(tmp_path: Path) -> None:
    path = stored(tmp_path, encoded(Image.new("L", (2000, 1000)), "PNG"))
    assert inspect(path, "image/png", limits=LIMITS) == 1
    (page,) = rasterise(path, "image/png", [1], limits=LIMITS)
    assert opened(page).size == (2000, 1000)


def test_a_limit_above_that_of_the_image_library_is_honoured(tmp_path: Path) -> None:
    above = Limits(1000, 200_000_000, 100)
    path = stored(tmp_path, png_header(14_000, 14_000))
    assert inspect(path, "image/png", limits=above) == 1


def test_a_side_longer_than_image_libraries_can_take_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, encoded(Image.new("L", (70_000, 2)), "PNG"))
    with pytest.raises(PageTooLarge) as caught:
        inspect(path, "image/png", limits=LIMITS)
    assert caught.value.extensions == {"value": 70_000, "limit": 65_535}


# -- files of several frames ---------------------------------------------


def numbered(count: int) -> list[Image.Image]:
    """Pictures of which each shows its number, from 1, by its colour."""
    return [Image.new("RGB", (32, 24), (number * 7 % 256, number // 36 * 50, 90)) for number in range(1, count + 1)]


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG", "AVIF", "HEIF"])
def test_every_frame_is_a_page_and_any_order_can_be_asked_for(tmp_path: Path, kind: str) -> None:
    pictures = numbered(12)
    path = stored(tmp_path, multi_page(pictures, kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert inspect(path, "image/png", limits=LIMITS) == 12
    for page in rasterise(path, "image/png", [1, 7, 12, 2], limits=LIMITS):
        found = opened(page).convert("RGB").getpixel((10, 10))
        expected = pictures[page.page_no - 1].getpixel((10, 10))
        assert isinstance(found, tuple)
        assert isinstance(expected, tuple)
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 3, page.page_no


def test_a_frame_that_changes_a_part_of_the_last_one_is_a_whole_page(tmp_path: Path) -> None:
    first = Image.new("RGB", (64, 48), "white")
    second = first.copy()
    second.paste("black", (40, 30, 50, 40))
    path = stored(tmp_path, multi_page([first, second, first.copy()], "GIF"))
    (page,) = rasterise(path, "image/gif", [2], limits=LIMITS)
    assert opened(page).size == (64, 48)
    assert (opened(page).getpixel((45, 35)), opened(page).getpixel((5, 5))) == (0, 255)


def test_a_photo_that_carries_a_preview_is_one_page(tmp_path: Path) -> None:
    path = stored(tmp_path, multi_page([halves(), grain((32, 24))], "MPO"))
    assert inspect(path, "image/jpeg", limits=LIMITS) == 1
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 2
    (page,) = rasterise(path, "image/jpeg", [1], limits=LIMITS)
    assert opened(page).size == (64, 48)


def test_a_frame_that_grows_beyond_the_limit_fails(tmp_path: Path) -> None:
    content = bytearray(multi_page([halves(), grain((64, 48)), halves()], "GIF"))
    descriptors = [at for at in range(len(content)) if content[at : at + 9] == b"," + struct.pack("<4H", 0, 0, 64, 48)]
    content[descriptors[1] + 5 : descriptors[1] + 9] = struct.pack("<2H", 60_000, 60_000)
    path = stored(tmp_path, bytes(content))
    for page_no in (2, 3):
        (page,) = rasterise(path, "image/gif", [page_no], limits=LIMITS)
        assert isinstance(page, PageFailure)
        assert isinstance(page.error, PageTooLarge)
        assert page.error.extensions["limit"] == 2_000_000


# -- TIFF ---------------------------------------------


def directories(content: bytes | bytearray) -> list[int]:
    """Where each directory of a little-endian TIFF begins."""
    found, offset = [], struct.unpack_from("<I", content, 4)[0]
    while offset:
        found.append(offset)
        (entries,) = struct.unpack_from("<H", content, offset)
        (offset,) = struct.unpack_from("<I", content, offset + 2 + 12 * entries)
    return found


def set_next(content: bytearray, directory: int, offset: int) -> None:
    (entries,) = struct.unpack_from("<H", content, directory)
    struct.pack_into("<I", content, directory + 2 + 12 * entries, offset)


def set_tag(content: bytearray, directory: int, tag: int, value: int) -> None:
    (entries,) = struct.unpack_from("<H", content, directory)
    for at in range(directory + 2, directory + 2 + 12 * entries, 12):
        if struct.unpack_from("<H", content, at)[0] == tag:
            struct.pack_into("<I", content, at + 8, value)
            return
    raise AssertionError(f"tag {tag} is not there")


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}])
def test_a_range_deep_in_a_long_tiff_is_reached(tmp_path: Path, options: dict[str, object]) -> None:
    pictures = numbered(1100)
    path = stored(tmp_path, multi_page(pictures, "TIFF", **options))
    assert inspect(path, "image/tiff", limits=LIMITS) == 1100
    for page in rasterise(path, "image/tiff", range(1000, 1005), limits=LIMITS):
        expected = pictures[page.page_no - 1].getpixel((3, 3))
        assert isinstance(expected, tuple)
        assert is_near(opened(page).convert("RGB").getpixel((3, 3)), expected)


def test_a_broken_tiff_page_does_not_hinder_the_ones_behind_it(tmp_path: Path) -> None:
    content = bytearray(multi_page(numbered(3), "TIFF"))
    set_tag(content, directories(content)[1], 262, 999)  # no such photometric interpretation
    path = stored(tmp_path, bytes(content))
    assert inspect(path, "image/tiff", limits=LIMITS) == 3
    first, second, third = rasterise(path, "image/tiff", [1, 2, 3], limits=LIMITS)
    assert isinstance(second, PageFailure)
    assert opened(first).getpixel((0, 0)) == (7, 0, 90)
    assert opened(third).getpixel((0, 0)) == (21, 0, 90)


def test_a_chain_of_directories_that_leads_back_ends(tmp_path: Path) -> None:
    content = bytearray(multi_page(numbered(5), "TIFF"))
    offsets = directories(content)
    set_next(content, offsets[4], offsets[1])
    assert inspect(stored(tmp_path, bytes(content)), "image/tiff", limits=LIMITS) == 5


def test_a_tiff_that_was_cut_off_does_not_pass_for_a_shorter_one(tmp_path: Path) -> None:
    content = multi_page(numbered(4), "TIFF")
    path = stored(tmp_path, content[: directories(content)[2] + 7])
    assert inspect(path, "image/tiff", limits=LIMITS) == 3
    first, second, third = rasterise(path, "image/tiff", [1, 2, 3], limits=LIMITS)
    assert opened(first).size == opened(second).size
    assert isinstance(third, PageFailure)
    assert isinstance(third.error, BrokenSource)


def test_thumbnails_and_masks_in_a_tiff_are_no_pages(tmp_path: Path) -> None:
    pictures = numbered(4)
    content = bytearray(multi_page(pictures, "TIFF", tiffinfo={254: 2}))
    offsets = directories(content)
    set_tag(content, offsets[1], 254, 1)
    set_tag(content, offsets[2], 254, 4)
    path = stored(tmp_path, bytes(content))
    assert inspect(path, "image/tiff", limits=LIMITS) == 2
    (page,) = rasterise(path, "image/tiff", [2], limits=LIMITS)
    assert opened(page).getpixel((0, 0)) == pictures[3].getpixel((0, 0))


def test_a_tiff_without_images_has_no_pages(tmp_path: Path) -> None:
    with pytest.raises(NoPages):
        inspect(stored(tmp_path, b"II*\x00" + bytes(12)), "image/tiff", limits=LIMITS)
