"""A file becomes page images: how many pages it has, and each of them.

Parses untrusted input: run it in a child process with a time and a memory limit, one thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ocr_tasks.errors import BrokenSource, EmptySource
from ocr_tasks.media import ACCEPTED, HEAD_BYTES, PDF, sniff
from workers.sources import images, pdf
from workers.sources.encode import PageFailure, PageImage
from workers.sources.limits import Limits

__all__ = ["Limits", "PageFailure", "PageImage", "inspect", "rasterise", "unlock"]


def inspect(path: Path, media_type: str, *, limits: Limits, password: str | None = None) -> int:
    """How many pages a file has, from 1; decodes none of them.

    Raises SourceError: EmptySource, BrokenSource, EncryptedSource, WrongPassword, NoPages, TooManyPages (only above
    what anyone could want: `max_pages` is for the caller, who knows which pages were selected), PageTooLarge (a single
    image).
    """
    found = _media_type(path, media_type)
    return pdf.count(path, limits, password) if found == PDF else images.count(path, found, limits)


def unlock(path: Path, media_type: str, target: BinaryIO, *, limits: Limits, password: str) -> bool:
    """Write a file that needs a password to `target` without its encryption; False if it needs none.

    Raises SourceError, as `inspect` does.
    """
    return _media_type(path, media_type) == PDF and pdf.unlock(path, target, limits, password)


def rasterise(
    path: Path, media_type: str, page_nos: Sequence[int], *, limits: Limits, password: str | None = None
) -> Iterator[PageImage | PageFailure]:
    """The pages asked for, in that order, lazily: one is in memory at a time.

    A page that cannot be made is a PageFailure and the others go on.
    Raises SourceError, at the first page, when the file as a whole cannot be opened.
    """
    found = _media_type(path, media_type)
    if found == PDF:
        yield from pdf.rasterise(path, page_nos, limits, password)
    else:
        yield from images.rasterise(path, found, page_nos, limits)


def _media_type(path: Path, claimed: str) -> str:
    """What the file is by its content, whatever it was sent as."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise EmptySource("The file has 0 bytes.")
    found = sniff(head)
    if found not in ACCEPTED:
        looks = f" and looks like {found}" if found else ""
        raise BrokenSource(f"The file was sent as {claimed[:100]}{looks}; it cannot be read as that.")
    return str(found)
