"""How a page image is stored: PNG, level 1, run lengths for grey; grey as grey.

Lossless, since a page is read by machines; shown by every browser; no limit to its sides (WebP ends at 16,383). Written
anew and never passed on as it came: what comes after this reads only bytes that were made here.

`tests/benchmarks/page_formats.py`, best of 2 rounds, ratios to PNG level 6 (write / read / bytes), two cores of a busy
Xeon server, Pillow 13 with zlib-ng:

                    scan, grey       scan, colour     born digital     screenshot
    png 6           1.00 1.00 1.00   1.00 1.00 1.00   1.00 1.00 1.00   1.00 1.00 1.00
    png 3           0.42 1.03 1.13   0.48 1.03 1.03   0.74 1.12 1.23   0.70 0.97 1.17
    png 1           0.31 1.08 1.22   0.37 1.10 1.15   0.69 0.86 1.27   0.69 1.00 1.18
    png 1, RLE      0.28 1.06 0.98   0.34 1.18 1.22   0.75 1.03 1.52   0.62 1.03 1.20
    png 1, Huffman  0.27 1.09 0.99   0.36 1.42 1.51   1.08 2.35 6.08   0.91 2.03 2.41
    webp lossless   0.64 1.30 1.27   0.39 1.06 0.74   2.18 4.28 4.18   0.54 2.30 1.54
    tiff lzw        0.17 0.39 1.50   0.29 0.59 1.80   0.42 0.30 1.54   0.43 0.68 2.02
    tiff zstd       0.23 0.15 1.15   0.33 0.21 1.16   0.27 0.25 0.80   0.22 0.23 1.35
    jpeg 95, lossy  0.02 0.21 0.44   0.03 0.24 0.27   0.18 0.71 4.55   0.10 0.55 0.91
    1.00 is         321 ms, 1.2 MB   518 ms, 2.3 MB   35 ms, 0.1 MB    219 ms, 1.4 MB

TIFF with zstd is better at everything but being shown. Looking whether a page is grey costs 0.00 to 0.25.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from ocr_tasks.errors import OcrError

DEFAULT_STRATEGY, RLE = 0, 3  # of zlib


@dataclass(frozen=True)
class PageImage:
    """One page as an encoded image, upright, without transparency. `width` and `height` in pixels."""

    page_no: int
    content: bytes
    media_type: str
    width: int
    height: int
    dpi: float | None


@dataclass(frozen=True)
class PageFailure:
    """A page that could not be turned into an image, and why."""

    page_no: int
    error: OcrError


def page_image(page_no: int, page: Image.Image, dpi: float | None) -> PageImage:
    """Encode an L or RGB page; colour that is in truth grey becomes L."""
    page = as_grey_if_grey(page)
    return PageImage(page_no, encode(page), "image/png", page.width, page.height, dpi)


def encode(page: Image.Image) -> bytes:
    """An L or RGB image as PNG, without profile, transparency or other metadata."""
    buffer = io.BytesIO()
    strategy = RLE if page.mode == "L" else DEFAULT_STRATEGY
    page.save(buffer, "PNG", compress_level=1, compress_type=strategy, icc_profile=None, transparency=None)
    return buffer.getvalue()


def as_grey_if_grey(page: Image.Image) -> Image.Image:
    """The page as L if every pixel is grey, else as it is."""
    if page.mode != "RGB":
        return page
    colours = page.getcolors(256)  # counts no further than 256: a colour page is left early
    if colours is None or any(len(set(colour)) > 1 for _, colour in colours if isinstance(colour, tuple)):
        return page
    return page.getchannel(0)
