"""What kind of file the first bytes say it is, before anything parses it."""

from __future__ import annotations

import filetype

from ocr_tasks.errors import EmptySource, UnsupportedMediaType

HEAD_BYTES = 4096
"""How many bytes from the start of a file `sniff` needs."""

PDF = "application/pdf"
TIFF = "image/tiff"

NAMES = {
    PDF: "PDF",
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WebP",
    TIFF: "TIFF",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/avif": "AVIF",
    "image/jp2": "JPEG 2000",
    "image/j2c": "JPEG 2000 codestream",
    "image/heic": "HEIC",
    "image/heif": "HEIF",
}
ACCEPTED = frozenset(NAMES)
"""The media types that become pages."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II+\x00", TIFF),  # BigTIFF
    (b"MM\x00+", TIFF),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
    (b"\xff\x4f\xff\x51\x00", "image/j2c"),
)
_BMP_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF_BRANDS = {b"mif1", b"mif2", b"msf1", b"miaf"}
_MARKUP = (
    (b"<!doctype html", "text/html"),
    (b"<html", "text/html"),
    (b"<svg", "image/svg+xml"),
    (b"<?xml", "text/xml"),
)


def sniff(head: bytes) -> str | None:
    """The media type that the first `HEAD_BYTES` of a file speak of, accepted or not; None if they say nothing."""
    for magic, media_type in _MAGIC:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "image/bmp"
    # A PDF may begin with up to 1 KB of something else (mail headers, a byte order mark).
    return _isobmff(head) or _markup(head) or _other(head) or (PDF if b"%PDF-" in head[:1024] else None)


def require_accepted(head: bytes, filename: str | None) -> str:
    """The media type of a file that can become pages.

    Raises EmptySource for no bytes, UnsupportedMediaType for everything that is not in `ACCEPTED`.
    """
    name = repr(filename[:100]) if filename else "The file"
    if not head:
        raise EmptySource(f"{name} has no bytes.")
    found = sniff(head)
    if found in NAMES:
        return found
    looks = f"looks like {found}" if found else "is of no kind that is known here"
    accepted = ", ".join(NAMES.values())
    raise UnsupportedMediaType(f"{name} {looks}. Accepted: {accepted}.", value=found, accepted=sorted(ACCEPTED))


def _isobmff(head: bytes) -> str | None:
    """AVIF, HEIC or HEIF by the brands of an ISO media file's `ftyp` box."""
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
    if head[8:12] in _HEIC_BRANDS:
        return "image/heic"
    if brands & _AVIF_BRANDS:
        return "image/avif"
    if brands & _HEIC_BRANDS:
        return "image/heic"
    return "image/heif" if brands & _HEIF_BRANDS else None


def _markup(head: bytes) -> str | None:
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((media_type for opening, media_type in _MARKUP if start.startswith(opening)), None)


def _other(head: bytes) -> str | None:
    """What the `filetype` library makes of it; its own loose rules for BMP and GIF are not believed."""
    guess = filetype.guess(head)
    if guess is None or (guess.mime in NAMES and guess.mime not in (PDF, TIFF)):
        return None
    return str(guess.mime)
