"""Every kind of file a caller may send, read by the real engine through the whole stack."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.documents import born_digital, encoded, multi_page, pdf_file, scan
from tests.stack import StackUnderTest, running_stack

pytestmark = pytest.mark.stack

SAMPLE = Path(__file__).resolve().parents[2] / "workers" / "samples" / "sample.pdf"
ORIENTATION = 0x0112  # the EXIF tag
TURNED_RIGHT = 6  # "rotate by 90 degrees clockwise to show"


@pytest.fixture(scope="module")
def stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, new_environment(OCR_LEASE_S="30"), "web", "prepare", "reconcile", "engine") as stack:
        yield stack


def page(*lines: str, mode: str = "RGB") -> Image.Image:
    """A small page with these lines in a plain font."""
    image = Image.new(mode, (720, 60 + 70 * len(lines)), "white")
    draw = ImageDraw.Draw(image)
    for n, line in enumerate(lines):
        draw.text((40, 40 + 70 * n), line, fill="black", font=ImageFont.load_default(36))
    return image


def heic(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer)
    return buffer.getvalue()


def turned_by_exif(image: Image.Image) -> bytes:
    """Stored lying on its side, with the note that it is to be turned."""
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    return encoded(image.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)


ONE = page("Invoice number 48215")
FILES: dict[str, Callable[[], bytes]] = {
    "page.png": lambda: encoded(ONE, "PNG"),
    "page.jpg": lambda: encoded(ONE, "JPEG", quality=90),
    "page.webp": lambda: encoded(ONE, "WEBP"),
    "page.gif": lambda: encoded(ONE.convert("P"), "GIF"),
    "page.bmp": lambda: encoded(ONE, "BMP"),
    "page.avif": lambda: encoded(ONE, "AVIF"),
    "page.jp2": lambda: encoded(ONE, "JPEG2000"),
    "page.heic": lambda: heic(ONE),
    "page.tiff": lambda: encoded(ONE.convert("1"), "TIFF", compression="group4"),
    "turned.jpg": lambda: turned_by_exif(ONE),
    "scan.pdf": lambda: pdf_file([scan(encoded(ONE, "JPEG", quality=90), size=(259.2, 46.8))]),
    "rotated.pdf": lambda: pdf_file([born_digital(["Invoice number 48215"], size=(300, 200), rotate=90)]),
    "digital.pdf": lambda: pdf_file([born_digital(["Invoice number 48215"])]),
}


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_every_kind_of_file_is_read(stack: StackUnderTest) -> None:
    jobs = {name: stack.submit(make(), name)["id"] for name, make in FILES.items()}
    read = {name: (stack.ended(job, 120)["status"], words(stack.text(job))) for name, job in jobs.items()}
    assert read == {name: ("succeeded", ["Invoice", "number", "48215"]) for name in FILES}


def test_a_multi_page_tiff_is_read_in_order(stack: StackUnderTest) -> None:
    frames = [page(f"Chapter {word}") for word in ("seven", "eight", "nine")]
    job = stack.ended(stack.submit(multi_page(frames, "TIFF"), "book.tiff")["id"])
    assert [words(text) for text in stack.text(job["id"]).split("\f")] == [
        ["Chapter", "seven"],
        ["Chapter", "eight"],
        ["Chapter", "nine"],
    ]


def test_the_sample_is_read_in_every_format(stack: StackUnderTest) -> None:
    job = stack.ended(stack.submit(SAMPLE.read_bytes(), "sample.pdf")["id"], 120)
    assert job["pages"] == {"total": 3, "succeeded": 3, "failed": 0}
    markdown = stack.result(job["id"], "markdown").text
    assert re.search(r"^#+ .*Invoice", markdown, re.MULTILINE)
    assert re.search(r"^\| *3 *\| *Toner cartridge black *\| *6 *\| *61.50 *\| *369.00 *\|$", markdown, re.MULTILINE)
    html = stack.result(job["id"], "html")
    assert html.headers["content-type"].startswith("text/html")
    assert "<td>Toner cartridge black</td>" in html.text
    assert stack.text(job["id"]).count("\f") == 2
    page_two = stack.result(job["id"]).json()["data"]["pages"][1]
    table = next(block for block in page_two["blocks"] if block["kind"] == "table")
    x1, y1, x2, y2 = table["box"]
    assert 0 <= x1 < x2 <= page_two["width"]
    assert 0 <= y1 < y2 <= page_two["height"]
    assert page_two["engine"] == "rapid"
