"""Image files as page images, with Pillow and pillow-heif.

Every frame of a file with several is a page: TIFF, GIF, animated WebP, PNG and AVIF, HEIF collections. A JPEG is one
page whatever it carries along (phones append previews and gain maps as further frames).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pillow_heif
from PIL import AvifImagePlugin, Image

from ocr_tasks.errors import BrokenSource, NoPages, SourceError
from ocr_tasks.media import TIFF
from workers.sources.encode import PageFailure, PageImage, page_image
from workers.sources.limits import Limits, parsing, require_countable, require_size
from workers.sources.pixels import as_page, orientation
from workers.sources.tiff import opened_at, page_offsets

# Each type is opened by its own plugin and no other: Pillow knows forty formats, some of which start programs.
PLUGINS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    TIFF: "TIFF",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/avif": "AVIF",
    "image/jp2": "JPEG2000",
    "image/j2c": "JPEG2000",
    "image/heic": "HEIF",
    "image/heif": "HEIF",
}

# A parsing process is one of several on the machine, and every thread's heap counts against its memory limit.
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def count(path: Path, media_type: str, limits: Limits) -> int:
    """The pages of an image file, without decoding any.

    Raises BrokenSource, NoPages, TooManyPages, or PageTooLarge when the only page is too large.
    """
    with parsing("The file", limits):
        if media_type == TIFF:
            return require_countable(len(page_offsets(path)))
        with _open(path, media_type) as image:
            frames = _frames(image, media_type)
            if frames == 1:
                require_size("The image", *image.size, limits)
            return require_countable(frames)


def rasterise(
    path: Path, media_type: str, page_nos: Sequence[int], limits: Limits
) -> Iterator[PageImage | PageFailure]:
    """The pages asked for, one in memory at a time."""
    with parsing("The file", limits):
        source: _Tiff | _Frames = _Tiff(path) if media_type == TIFF else _Frames(path, media_type)
    with closing(source):
        for page_no in page_nos:
            try:
                with parsing(f"Page {page_no}", limits):
                    made = _page(source, page_no, limits)
            except SourceError as error:
                source.reset()
                yield PageFailure(page_no, error)
            else:
                yield made


def _page(source: _Tiff | _Frames, page_no: int, limits: Limits) -> PageImage:
    if not 1 <= page_no <= source.page_count:
        raise BrokenSource(
            f"Page {page_no} is not in the file; it has {source.page_count}.", value=page_no, limit=source.page_count
        )
    frame = source.frame(page_no)
    require_size(f"Page {page_no}", *frame.size, limits)
    frame.load()
    require_size(f"Page {page_no}", *frame.size, limits)  # some headers lie
    turn = orientation(frame)
    page = as_page(frame)
    return page_image(page_no, page if turn is None else page.transpose(turn), _dpi(frame))


class _Tiff:
    """A TIFF file; each page is opened by itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offsets = page_offsets(path)
        self._image: Image.Image | None = None

    @property
    def page_count(self) -> int:
        return len(self._offsets)

    def frame(self, page_no: int) -> Image.Image:
        self.reset()
        file = opened_at(self._path, self._offsets[page_no - 1])
        try:
            self._image = Image.open(file, formats=["TIFF"])
        except BaseException:
            file.close()
            raise
        self._file = file
        return self._image

    def reset(self) -> None:
        """Let go of the current page."""
        if self._image is not None:
            self._image.close()
            self._file.close()
            self._image = None

    close = reset


class _Frames:
    """Any other image file; animations are played from where the last page stood."""

    def __init__(self, path: Path, media_type: str) -> None:
        self._path = path
        self._media_type = media_type
        self._image: Image.Image | None = _open(path, media_type)
        self.page_count = _frames(self._image, media_type)

    def frame(self, page_no: int) -> Image.Image:
        if self._image is None:
            self._image = _open(self._path, self._media_type)
        if self.page_count > 1:
            self._image.seek(page_no - 1)
        return self._image

    def reset(self) -> None:
        """Begin anew with the next page: what a failed frame leaves behind is not to be trusted."""
        if self._image is not None:
            self._image.close()
            self._image = None

    close = reset


def _open(path: Path, media_type: str) -> Image.Image:
    # Opening reads headers only; the size is checked, with a better message, before anything is decoded.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        return Image.open(path, formats=[PLUGINS[media_type]])
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _frames(image: Image.Image, media_type: str) -> int:
    frames = 1 if media_type == "image/jpeg" else int(getattr(image, "n_frames", 1))
    if frames < 1:
        raise NoPages("The file has 0 images.")
    return frames


def _dpi(frame: Image.Image) -> float | None:
    """The resolution that the file claims, in dots per inch, if it can be true."""
    try:
        dpi = float(frame.info["dpi"][0])
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return dpi if 10 <= dpi <= 10_000 else None
