"""What a source may cost, and how a parser's failure becomes an error that a caller may see."""

from __future__ import annotations

import ctypes
import errno
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from PIL import Image

from ocr_tasks.errors import BrokenSource, PageTooLarge, TooManyPages
from ocr_tasks.settings import Settings

log = structlog.get_logger()

MAX_SIDE = 65_535
"""Longest side of a page image, in pixels: what a JPEG can hold, and far below what overflows in image libraries."""

COUNTED_PAGES = 100_000
"""Pages above which a source is refused unread; `max_pages` is for the pages that a job selects."""


@dataclass(frozen=True)
class Limits:
    """What a job's pages may cost: pages a job may select, pixels of one page image, dots per inch of a PDF page."""

    max_pages: int
    max_page_pixels: int
    pdf_dpi: int


def limits_of(settings: Settings) -> Limits:
    """The limits that parsers have to keep."""
    return Limits(max_pages=settings.max_pages, max_page_pixels=settings.max_page_pixels, pdf_dpi=settings.pdf_dpi)


# Everything parsers were seen to throw at bad input, PdfiumError (a RuntimeError) included. Not plain Exception:
# Celery's soft time limit and a caller's own errors must pass through.
PARSER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    ctypes.ArgumentError,
    re.error,
    struct.error,
    zlib.error,
)
# An OSError with one of these tells of this machine, not of the file.
MACHINE_ERRNOS = frozenset(
    {errno.EIO, errno.ENOSPC, errno.EACCES, errno.EPERM, errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.ESTALE}
)


@contextmanager
def parsing(subject: str, limits: Limits) -> Iterator[None]:
    """Turn what a parser throws inside into BrokenSource or PageTooLarge about `subject` ("The file", "Page 3").

    Also arms Pillow's own bomb check, which looks at frames that grow while an animation is played.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, limits.max_page_pixels
        try:
            yield
        except MemoryError:
            raise PageTooLarge(f"{subject} needs more memory than the parser is given.") from None
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            limit = limits.max_page_pixels
            raise PageTooLarge(f"{subject} has more than {limit} pixels, the limit.", limit=limit) from None
        except PARSER_ERRORS as error:
            if isinstance(error, OSError) and error.errno in MACHINE_ERRNOS:
                raise
            log.info("source_not_parsed", subject=subject, error=f"{type(error).__name__}: {error}"[:500])
            raise BrokenSource(f"{subject} is damaged, cut off or of a variant that cannot be read.") from None
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def require_size(subject: str, width: int, height: int, limits: Limits) -> None:
    """Raise PageTooLarge for a page image of more pixels, or with a longer side, than allowed."""
    pixels, limit = width * height, limits.max_page_pixels
    if pixels > limit:
        raise PageTooLarge(
            f"{subject} is {width} x {height} pixels, {pixels} in all; the limit is {limit}.", value=pixels, limit=limit
        )
    if max(width, height) > MAX_SIDE:
        raise PageTooLarge(
            f"{subject} is {width} x {height} pixels; the limit for a side is {MAX_SIDE}.",
            value=max(width, height),
            limit=MAX_SIDE,
        )


def require_countable(page_count: int) -> int:
    """The count, unless it is so high that no job could want it; raises TooManyPages."""
    if page_count > COUNTED_PAGES:
        raise TooManyPages(
            f"The file says it has {page_count} pages; the limit is {COUNTED_PAGES}.",
            value=page_count,
            limit=COUNTED_PAGES,
        )
    return page_count
