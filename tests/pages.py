"""Page images in tests: small pictures, files to make pages of, pages to look at."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from workers.sources.documents import Limits, PageFailure, PageImage

LIMITS = Limits(max_pages=1000, max_page_pixels=2_000_000, pdf_dpi=100)


def stored(folder: Path, content: bytes) -> Path:
    """A file of these bytes, named like no kind of file."""
    path = folder / "source"
    path.write_bytes(content)
    return path


def halves(size: tuple[int, int] = (64, 48)) -> Image.Image:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", size, "red")
    picture.paste("blue", (size[0] // 2, 0, *size))
    return picture


def grain(size: tuple[int, int] = (200, 300)) -> Image.Image:
    """Grey noise, which no format can make small."""
    return Image.effect_noise(size, 60).convert("RGB")


def opened(page: PageImage | PageFailure) -> Image.Image:
    """The picture of a page that was made, decoded."""
    assert isinstance(page, PageImage), page
    picture = Image.open(io.BytesIO(page.content))
    picture.load()
    return picture


def is_near(found: object, expected: tuple[int, ...]) -> bool:
    """Whether a colour is the expected one but for what lossy formats change."""
    assert isinstance(found, tuple), found
    return all(abs(a - b) < 40 for a, b in zip(found, expected, strict=True))
