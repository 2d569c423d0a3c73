"""The pages of a TIFF file: where each one's directory lies, so that any can be opened as if it were the first."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ocr_tasks.errors import BrokenSource, NoPages
from workers.sources.limits import COUNTED_PAGES

NEW_SUBFILE_TYPE = 254
REDUCED_OR_MASK = 0b101  # bits of that tag: a thumbnail or zoom level, a transparency mask
MAX_ENTRIES = 4096


def page_offsets(path: Path) -> list[int]:
    """Where the directory of each page begins, in bytes from the start of the file, in the order of the pages.

    Thumbnails and masks are no pages. A directory that cannot be read counts as a page, so that a file that was cut
    off does not pass for a shorter one. A chain that leads back into itself ends there.
    Raises NoPages or BrokenSource.
    """
    with path.open("rb") as file:
        found = list(_directories(file))
    pages = [offset for offset, is_page in found if is_page] or [offset for offset, _ in found]
    if not pages:
        raise NoPages("The TIFF file has 0 images.")
    return pages


def opened_at(path: Path, offset: int) -> BinaryIO:
    """The TIFF file with the directory at `offset` as its first one."""
    return io.BufferedReader(_StartingAt(path, offset))


class _StartingAt(io.FileIO):
    """A TIFF file whose header is read as pointing to another first directory.

    Pillow's own `seek` reads the directories of all pages before, and sets each of them up.
    """

    def __init__(self, path: Path, offset: int) -> None:
        super().__init__(path, "rb")
        header = super().read(16) or b""
        layout = _Layout(header)
        at = layout.header_bytes - layout.offset_bytes
        self._header = header[:at] + struct.pack(layout.order + layout.offset_code, offset)
        super().seek(0)

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        start = self.tell()
        size = super().readinto(buffer) or 0
        patch = self._header[start : start + size]
        memoryview(buffer).cast("B")[: len(patch)] = patch
        return size


class _Layout:
    """Byte order and field sizes of a TIFF (32-bit offsets) or BigTIFF (64-bit)."""

    def __init__(self, header: bytes) -> None:
        self.order = {b"II": "<", b"MM": ">"}.get(header[:2], "")
        if not self.order or len(header) < 8:
            raise BrokenSource("The file is no TIFF: its header is damaged or cut off.")
        big = struct.unpack(self.order + "H", header[2:4])[0] == 43
        self.header_bytes = 16 if big else 8
        self.count_code, self.count_bytes = ("Q", 8) if big else ("H", 2)
        self.offset_code, self.offset_bytes = ("Q", 8) if big else ("I", 4)
        self.entry_bytes = 20 if big else 12
        if len(header) < self.header_bytes:
            raise BrokenSource("The file is no TIFF: its header is cut off.")

    def offset(self, data: bytes) -> int:
        return int(struct.unpack(self.order + self.offset_code, data)[0])


def _directories(file: BinaryIO) -> Iterator[tuple[int, bool]]:
    """Offset of each directory, and whether it is a page."""
    header = file.read(16)
    layout = _Layout(header)
    offset = layout.offset(header[layout.header_bytes - layout.offset_bytes : layout.header_bytes])
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) <= COUNTED_PAGES:
        seen.add(offset)
        directory = _read_directory(file, offset, layout)
        yield offset, directory is None or not _is_reduced_or_mask(directory, layout)
        if directory is None:
            return
        offset = layout.offset(directory[-layout.offset_bytes :])


def _read_directory(file: BinaryIO, offset: int, layout: _Layout) -> bytes | None:
    """The entries of a directory and the offset of the next one; None if they are not all there."""
    if offset >= 2**63:
        return None
    file.seek(offset)
    head = file.read(layout.count_bytes)
    if len(head) < layout.count_bytes:
        return None
    (entries,) = struct.unpack(layout.order + layout.count_code, head)
    if not 0 < entries <= MAX_ENTRIES:
        return None
    size = entries * layout.entry_bytes + layout.offset_bytes
    body = file.read(size)
    return body if len(body) == size else None


def _is_reduced_or_mask(directory: bytes, layout: _Layout) -> bool:
    for at in range(0, len(directory) - layout.offset_bytes, layout.entry_bytes):
        tag, kind = struct.unpack_from(layout.order + "HH", directory, at)
        if tag == NEW_SUBFILE_TYPE:
            code = "H" if kind == 3 else "I"  # SHORT is not allowed by the standard, and written all the same
            value = struct.unpack_from(layout.order + code, directory, at + layout.entry_bytes - layout.offset_bytes)[0]
            return bool(value & REDUCED_OR_MASK)
    return False
