"""PDFs that mean harm, as corpora of broken files hold them: loops, bombs, absurd sizes, garbage in every decoder."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from tests.documents import PdfPage, born_digital, pdf_file, stream

LINE = b"BT /F1 14 Tf 50 700 Td (still here) Tj ET"
MEGA = 1024 * 1024


def deflated(unit: bytes, size: int, layers: int = 1) -> bytes:
    """A stream of `size` bytes of `unit`, compressed so many times."""
    packer = zlib.compressobj(9)
    block = unit * (MEGA // len(unit))
    packed = b"".join([packer.compress(block) for _ in range(size // len(block))] + [packer.flush()])
    for _ in range(layers - 1):
        packed = zlib.compress(packed, 9)
    return stream(packed, f"/Filter[{'/FlateDecode' * layers}]")


def with_content(content: bytes, *more: bytes, entries: str = "") -> bytes:
    """One page whose content is object 4, whatever that is; further objects from 5 on."""
    page = f"/Contents 4 0 R{entries}"
    return pdf_file([PdfPage(entries=page)], objects=[content, *more])


def drawing(form: bytes, *more: bytes) -> bytes:
    """One page that draws object 5 as /X0."""
    resources = "/Resources<</Font<</F1 3 0 R>>/XObject<</X0 5 0 R>>>>"
    return with_content(stream(LINE + b" /X0 Do"), form, *more, entries=resources)


def picture(data: bytes, how: str, width: int = 1000, height: int = 1000) -> bytes:
    size = f"/Type/XObject/Subtype/Image/Width {width}/Height {height}/ColorSpace/DeviceGray/BitsPerComponent 8"
    return drawing(stream(data, f"{size}/Filter{how}"))


def form(entries: str, content: bytes) -> bytes:
    return stream(content, f"/Type/XObject/Subtype/Form/BBox[0 0 600 800]{entries}")


def laughing(levels: int, times: int) -> bytes:
    """Forms that draw the next one so many times, level after level."""
    forms = [form(f"/Resources<</XObject<</X0 {5 + level + 1} 0 R>>>>", b"/X0 Do " * times) for level in range(levels)]
    return drawing(*forms, form("", b"0 0 600 800 re f " * 50))


def doubled_tree(levels: int) -> bytes:
    """A page tree whose nodes name the same kid eight times, level after level."""
    nodes = [f"<</Type/Pages/Kids[{f'{n + 1} 0 R ' * 8}]/Count {8 ** (levels - n + 4)}>>" for n in range(4, 4 + levels)]
    page = f"<</Type/Page/Parent {3 + levels} 0 R/MediaBox[0 0 200 200]>>"
    made = pdf_file([], objects=[node.encode() for node in nodes] + [page.encode()])
    return made.replace(b"/Kids[]/Count 0", b"/Kids[4 0 R]/Count %d" % 8**levels)


def looping_xref() -> bytes:
    whole = pdf_file([born_digital(["loop"])])
    start = int(whole.rsplit(b"startxref\n", 1)[1].split()[0])
    return whole.replace(b"trailer\n<<", b"trailer\n<</Prev %d" % start)


def boxed(box: str) -> bytes:
    return pdf_file([PdfPage(LINE)]).replace(b"/MediaBox[0 0 595.28 841.89]", box.encode())


PATTERN = (
    "/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep 0.001/YStep 0.001/Resources<</Font<</F1 3 0 R>>>>"
)

PDFS: dict[str, Callable[[], bytes]] = {
    "xref that leads back to itself": looping_xref,
    "xref far outside": lambda: pdf_file([born_digital(["x"])]).replace(b"startxref\n", b"startxref\n9999"),
    "nothing but a header": lambda: b"%PDF-1.7\n",
    "a header and a megabyte of brackets": lambda: b"%PDF-1.7\n" + b"<<" * (MEGA // 2),
    "page tree that doubles": lambda: doubled_tree(5),
    "page tree that doubles to millions": lambda: doubled_tree(8),
    "page tree that leads back": lambda: pdf_file([born_digital(["x"])]).replace(b"/Kids[4 0 R]", b"/Kids[2 0 R]"),
    "a count of billions": lambda: pdf_file([born_digital(["x"])], count=2_147_483_647),
    "a count below zero": lambda: pdf_file([born_digital(["x"])], count=-5),
    "no media box": lambda: boxed(""),
    "media box turned around": lambda: boxed("/MediaBox[595 841 0 0]"),
    "media box below zero": lambda: boxed("/MediaBox[-9e9 -9e9 -8e9 -8e9]"),
    "media box of no numbers": lambda: boxed("/MediaBox[nan inf -inf (x)]"),
    "media box of no size": lambda: boxed("/MediaBox[0 0 0 0]"),
    "a user unit of a million": lambda: pdf_file([PdfPage(LINE, entries="/UserUnit 1000000")]),
    "zlib bomb as content": lambda: with_content(deflated(b" ", 400 * MEGA)),
    "zlib bomb in a zlib bomb": lambda: with_content(deflated(b"q ", 200 * MEGA, layers=2)),
    "a million states": lambda: with_content(deflated(b"q ", 2 * MEGA)),
    "a million nested arrays": lambda: with_content(deflated(b"[", MEGA)),
    "a million paths": lambda: with_content(deflated(b"0 0 m 600 800 l S ", 18 * MEGA)),
    "object nested deeply": lambda: with_content(stream(LINE), b"[" * 300_000, entries="/Annots 5 0 R"),
    "a million annotations": lambda: pdf_file(
        [PdfPage(LINE, entries="/Annots 4 0 R")],
        objects=[b"[" + b"5 0 R " * 1_000_000 + b"]", b"<</Type/Annot/Subtype/Square/Rect[1 1 9 9]/F 4>>"],
    ),
    "form that draws itself": lambda: drawing(form("/Resources<</XObject<</X0 5 0 R>>>>", b"/X0 Do")),
    "forms that draw each other": lambda: drawing(
        form("/Resources<</XObject<</X0 6 0 R>>>>", b"/X0 Do /X0 Do"),
        form("/Resources<</XObject<</X0 5 0 R>>>>", b"/X0 Do /X0 Do"),
    ),
    "forms that multiply": lambda: laughing(9, 10),
    "content that names itself": lambda: with_content(b"[4 0 R 4 0 R]"),
    "stream whose length is itself": lambda: with_content(b"<</Length 4 0 R>>\nstream\n" + LINE + b"\nendstream"),
    "pattern of tiny steps": lambda: with_content(
        stream(b"/Pattern cs /P0 scn 0 0 600 800 re f"),
        stream(b"0 0 1 1 re f", f"/Type/Pattern{PATTERN}"),
        entries="/Resources<</Pattern<</P0 5 0 R>>>>",
    ),
    "JBIG2 of garbage": lambda: picture(bytes(range(256)) * 40, "/JBIG2Decode"),
    "JPEG 2000 of garbage": lambda: picture(b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(range(256)) * 40, "/JPXDecode"),
    "fax of garbage": lambda: picture(bytes(range(256)) * 40, "/CCITTFaxDecode/DecodeParms<</K -1/Columns 99999999>>"),
    "JPEG of garbage": lambda: picture(b"\xff\xd8\xff\xc0" + bytes(range(256)) * 40, "/DCTDecode"),
    "a picture of absurd size": lambda: picture(zlib.compress(bytes(MEGA)), "/FlateDecode", 2_000_000, 2_000_000),
    "a large picture with few bytes": lambda: picture(zlib.compress(bytes(9)), "/FlateDecode", 30_000, 30_000),
    "encrypted with an unheard-of cipher": lambda: pdf_file(
        [born_digital(["x"])], trailer="/Encrypt<</Filter/Standard/V 99/R 99/P -4/O<00>/U<00>>>/ID[<00><00>]"
    ),
    "encrypted by a handler that is not there": lambda: pdf_file(
        [born_digital(["x"])], trailer="/Encrypt<</Filter/Acme.Vault/V 1>>/ID[<00><00>]"
    ),
}
"""Name -> what makes the file; all stay below 8 MiB."""
