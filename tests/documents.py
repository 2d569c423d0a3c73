"""Documents made by hand for tests and for the sample: PDFs byte by byte, images through Pillow."""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

A4_PT = (595.28, 841.89)
"""Width and height of an A4 page, in points."""


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as the bytes of a file of Pillow's format `kind`."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def multi_page(images: Sequence[Image.Image], kind: str, **options: object) -> bytes:
    """Several images as one TIFF, GIF, WebP, PNG, AVIF or HEIF file."""
    return encoded(images[0], kind, save_all=True, append_images=list(images[1:]), **options)


@dataclass(frozen=True)
class PdfPage:
    """A page of a PDF: size in points, content stream, a JPEG that the content may draw as /Im, more entries."""

    content: bytes = b""
    size: tuple[float, float] = A4_PT
    rotate: int = 0
    jpeg: bytes | None = None
    entries: str = ""


def scan(jpeg: bytes, size: tuple[float, float] = A4_PT, rotate: int = 0) -> PdfPage:
    """A page that is one JPEG from edge to edge, as a scanner makes it."""
    return PdfPage(f"q {size[0]} 0 0 {size[1]} 0 0 cm /Im Do Q".encode(), size, rotate, jpeg)


def born_digital(lines: Sequence[str], size: tuple[float, float] = A4_PT, rotate: int = 0) -> PdfPage:
    """A page of text lines in Helvetica, 14 pt, from the top."""
    shown = "\n".join(f"({line}) Tj T*" for line in lines)
    return PdfPage(f"BT /F1 14 Tf 18 TL 50 {size[1] - 60} Td\n{shown}\nET".encode(), size, rotate)


def pdf_file(
    pages: Sequence[PdfPage],
    *,
    count: int | None = None,
    catalog: str = "",
    objects: Sequence[bytes] = (),
    trailer: str = "",
    cipher: Callable[[int, bytes], bytes] = lambda number, content: content,
) -> bytes:
    """A PDF of these pages.

    `count` is what the page tree claims; `objects` are added from number 4 on, for `catalog`, `trailer` and the
    pages' own entries to refer to. `cipher` encrypts a stream, given the number of its object.
    """
    first = 4 + len(objects)
    bodies = [b"", b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>", *objects]
    kids: list[str] = []
    for page in pages:
        number = first + len(kids) * 3
        kids.append(f"{number} 0 R")
        bodies += _page_objects(page, number, cipher)
    claimed = len(pages) if count is None else count
    bodies[0] = f"<</Type/Catalog/Pages 2 0 R{catalog}>>".encode()
    bodies[1] = f"<</Type/Pages/Kids[{' '.join(kids)}]/Count {claimed}>>".encode()
    return _assembled(bodies, trailer)


def _page_objects(page: PdfPage, number: int, cipher: Callable[[int, bytes], bytes]) -> list[bytes]:
    """The page, its content and its picture."""
    width, height = page.size
    images = f"/XObject<</Im {number + 2} 0 R>>" if page.jpeg else ""
    entry = (
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {width} {height}]/Rotate {page.rotate}/Contents {number + 1} 0 R"
        f"/Resources<</Font<</F1 3 0 R>>{images}>>{page.entries}>>"
    )
    return [entry.encode(), stream(cipher(number + 1, page.content)), _picture(page.jpeg) if page.jpeg else b"null"]


def _picture(jpeg: bytes) -> bytes:
    with Image.open(io.BytesIO(jpeg)) as image:
        space = {"L": "DeviceGray", "RGB": "DeviceRGB", "CMYK": "DeviceCMYK"}[image.mode]
        width, height = image.size
    entries = f"/Type/XObject/Subtype/Image/Width {width}/Height {height}/ColorSpace/{space}/BitsPerComponent 8"
    return stream(jpeg, entries + "/Filter/DCTDecode")


def stream(content: bytes, entries: str = "") -> bytes:
    """A PDF stream object's body."""
    return f"<<{entries}/Length {len(content)}>>\nstream\n".encode() + content + b"\nendstream"


def _assembled(bodies: Sequence[bytes], trailer: str) -> bytes:
    out = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    out += f"xref\n0 {len(bodies) + 1}\n0000000000 65535 f \n{table}".encode()
    out += f"trailer\n<</Size {len(bodies) + 1}/Root 1 0 R{trailer}>>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


PADDING = bytes.fromhex("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a")


def encrypted_pdf(pages: Sequence[PdfPage], *, user: str, owner: str) -> bytes:
    """A PDF of pages without pictures, encrypted with RC4 of 40 bits.

    Source: PDF 1.7, section 7.6, the standard handler, revision 2.
    """
    user_key, owner_key = ((word.encode() + PADDING)[:32] for word in (user, owner))
    permissions, file_id = -4, bytes(16)
    of_owner = rc4(hashlib.md5(owner_key).digest()[:5], user_key)
    key = hashlib.md5(user_key + of_owner + struct.pack("<i", permissions) + file_id).digest()[:5]

    def cipher(number: int, content: bytes) -> bytes:
        return rc4(hashlib.md5(key + struct.pack("<I", number)[:3] + bytes(2)).digest()[:10], content)

    entries = f"/Filter/Standard/V 1/R 2/P {permissions}/O<{of_owner.hex()}>/U<{rc4(key, PADDING).hex()}>"
    trailer = f"/Encrypt<<{entries}>>/ID[<{file_id.hex()}><{file_id.hex()}>]"
    return pdf_file(pages, trailer=trailer, cipher=cipher)


def rc4(key: bytes, content: bytes) -> bytes:
    box = list(range(256))
    swap = 0
    for at in range(256):
        swap = (swap + box[at] + key[at % len(key)]) % 256
        box[at], box[swap] = box[swap], box[at]
    out = bytearray()
    left = right = 0
    for byte in content:
        left = (left + 1) % 256
        right = (right + box[left]) % 256
        box[left], box[right] = box[right], box[left]
        out.append(byte ^ box[(box[left] + box[right]) % 256])
    return bytes(out)
