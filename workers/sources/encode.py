"""How a page image is stored: grey as grey, lossless, quick to write, shown by every browser."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

from ocr_tasks.errors import OcrError


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
    page.save(buffer, "PNG", compress_level=1, icc_profile=None, transparency=None)
    return buffer.getvalue()


def as_grey_if_grey(page: Image.Image) -> Image.Image:
    """The page as L if every pixel is grey, else as it is."""
    if page.mode != "RGB":
        return page
    colours = page.getcolors(256)  # counts no further than 256: a colour page is left early
    if colours is None or any(len(set(colour)) > 1 for _, colour in colours if isinstance(colour, tuple)):
        return page
    return page.getchannel(0)
