"""PDF pages as images, with PDFium. Not thread-safe: one document at a time in a process."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pypdfium2
import pypdfium2.raw as pdfium
import structlog
from PIL import Image

from ocr_tasks.errors import BrokenSource, EncryptedSource, NoPages, SourceError, WrongPassword
from workers.sources.encode import PageFailure, PageImage, page_image
from workers.sources.limits import MAX_SIDE, Limits, parsing, require_countable, require_size

log = structlog.get_logger()

POINTS_PER_INCH = 72
LEAST_DPI = 72
"""A page too large for the wanted resolution is rasterised at a lower one, but not below this, where a letter of 10 pt
is 10 pixels high: rather no text than wrong text."""


def count(path: Path, limits: Limits, password: str | None) -> int:
    """The pages of a PDF; raises BrokenSource, EncryptedSource, NoPages or TooManyPages."""
    with opened(path, limits, password) as pdf:
        return require_countable(len(pdf))


def rasterise(
    path: Path, page_nos: Sequence[int], limits: Limits, password: str | None
) -> Iterator[PageImage | PageFailure]:
    """The pages asked for, one in memory at a time, annotations and form fields drawn."""
    with opened(path, limits, password) as pdf:
        for page_no in page_nos:
            try:
                with parsing(f"Page {page_no}", limits):
                    rendered = _render(pdf, page_no, limits)
            except SourceError as error:
                yield PageFailure(page_no, error)
            else:
                yield rendered


def unlock(path: Path, target: BinaryIO, limits: Limits, password: str) -> bool:
    """Write a PDF that needs a password to `target` without its encryption; False if it needs none.

    Raises BrokenSource, WrongPassword or NoPages.
    """
    with parsing("The file", limits):
        document = pdfium.FPDF_LoadDocument(os.fsencode(path), None)
    if document:
        pdfium.FPDF_CloseDocument(document)
        return False
    with opened(path, limits, password) as pdf, parsing("The file", limits):
        pdf.save(target, flags=pdfium.FPDF_REMOVE_SECURITY)
    return True


@contextmanager
def opened(path: Path, limits: Limits, password: str | None) -> Iterator[pypdfium2.PdfDocument]:
    """An open PDF; raises BrokenSource, EncryptedSource or NoPages."""
    with parsing("The file", limits):
        pdf = _open(path, password)
    try:
        yield pdf
    finally:
        pdf.close()


def _open(path: Path, password: str | None) -> pypdfium2.PdfDocument:
    # By hand, because PdfDocument(path) asks for the reason of a failure also when a document without pages was opened,
    # and is then given that of an earlier file.
    document = pdfium.FPDF_LoadDocument(os.fsencode(path), None)
    if not document and password and pdfium.FPDF_GetLastError() == pdfium.FPDF_ERR_PASSWORD:
        document = pdfium.FPDF_LoadDocument(os.fsencode(path), password.encode(errors="replace"))
    if not document:
        raise _load_error(pdfium.FPDF_GetLastError(), password)
    pdf = pypdfium2.PdfDocument(document)
    if len(pdf) < 1:
        pdf.close()
        raise NoPages("The document has 0 pages.")
    try:
        pdf.init_forms()  # before any page is loaded, or its fields are not drawn
    except pypdfium2.PdfiumError as error:
        log.info("form_not_drawn", error=str(error))
    return pdf


def _load_error(code: int, password: str | None) -> SourceError:
    if code == pdfium.FPDF_ERR_PASSWORD:
        if password:
            return WrongPassword("The document needs a password, and the given one does not open it.")
        return EncryptedSource(
            "The document needs a password; none was given, or it was lost in a restart, as passwords are not stored. "
            "Submit it again with the option `password`."
        )
    if code == pdfium.FPDF_ERR_SECURITY:
        return SourceError("The document is encrypted in a way that cannot be opened here, whatever the password.")
    return BrokenSource("The file is no PDF that can be read: it is damaged or cut off.")


def _render(pdf: pypdfium2.PdfDocument, page_no: int, limits: Limits) -> PageImage:
    if not 1 <= page_no <= len(pdf):
        raise BrokenSource(f"Page {page_no} is not in the document; it has {len(pdf)}.", value=page_no, limit=len(pdf))
    width, height = pdf.get_page_size(page_no - 1)
    dpi = _dpi(page_no, width, height, limits)
    page = pdf[page_no - 1]
    try:
        # Four bytes a pixel: what Pillow can take over without a copy.
        bitmap = page.render(scale=dpi / POINTS_PER_INCH, rev_byteorder=True, prefer_bgrx=True)
        try:
            picture: Image.Image = bitmap.to_pil()
            return page_image(page_no, picture.convert("RGB"), dpi)
        finally:
            bitmap.close()
    finally:
        page.close()


def _dpi(page_no: int, width: float, height: float, limits: Limits) -> float:
    """The resolution for a page of this size in points: the wanted one, or the highest that stays within the limits.

    Raises PageTooLarge when that would be below `LEAST_DPI`.
    """
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise BrokenSource(f"Page {page_no} has no size: {width} x {height} pt.")
    wanted, least = limits.pdf_dpi, min(LEAST_DPI, limits.pdf_dpi)
    if _fits(width, height, wanted, limits):
        return wanted
    subject = f"Page {page_no} ({width:.0f} x {height:.0f} pt), at {least} dpi,"
    require_size(subject, *_pixels(width, height, least), limits)
    most = POINTS_PER_INCH * min(math.sqrt(limits.max_page_pixels / (width * height)), MAX_SIDE / max(width, height))
    lower = math.floor(most * 0.999)  # sides are rounded up to whole pixels
    dpi = lower if lower > least and _fits(width, height, lower, limits) else least
    log.info("page_at_lower_dpi", page_no=page_no, wanted=wanted, dpi=dpi)
    return dpi


def _fits(width: float, height: float, dpi: float, limits: Limits) -> bool:
    across, down = _pixels(width, height, dpi)
    return across * down <= limits.max_page_pixels and max(across, down) <= MAX_SIDE


def _pixels(width: float, height: float, dpi: float) -> tuple[int, int]:
    """Sides of a page image, as PDFium rounds them."""
    return math.ceil(width * dpi / POINTS_PER_INCH), math.ceil(height * dpi / POINTS_PER_INCH)
