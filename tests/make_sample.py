"""Makes `workers/samples/sample.pdf` and the text it holds: python -m tests.make_sample

Three A4 pages as a scanner would give them at 200 dpi: a letter, an invoice with a ruled table, two columns. The same
fonts (DejaVu) and library versions give the same bytes.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from tests.documents import encoded, pdf_file, scan

DPI = 200
SIZE = (1654, 2339)
FONTS = Path("/usr/share/fonts/truetype/dejavu")
FOLDER = Path(__file__).parents[1] / "workers" / "samples"
INK = (38, 36, 44)
SKEW = (0.6, -0.4, 0.5)  # degrees, by page

LETTER_HEAD = ["Northgate Municipal Archive", "14 Weaver Lane, Northgate NG4 2TB", "Telephone 0555 014 220"]
LETTER_META = ["Dr. Ellen Marsh", "Institute for Regional History", "7 Castle Square, Millbrook", "", "12 March 2019"]
LETTER_HEADING = "Condition of the harbour registers"
LETTER = """\
Dear Dr. Marsh,

Thank you for your letter of 26 February, in which you ask about the state of the harbour registers from 1871 to
1903. All forty-two volumes have survived. They were kept in the cellar of the old customs house until 1958, and
nine of them show water damage along the lower edge.

We finished scanning the first eighteen volumes in January. Every page was captured in colour at 200 dots per
inch; the bindings were not opened further than 110 degrees. The remaining volumes will follow by the end of
September, provided that the second scanner is repaired in time.

The registers list each ship with its home port, master, cargo and tonnage. In 1884 alone we counted 3,127
arrivals, 41 percent of them carrying timber or coal. The handwriting of the clerk Josef Albrecht, who served
for nineteen years, is remarkably even and should be easy to read.

Copies for research are free of charge up to 250 pages a year; beyond that we ask for 0.15 per page. Please tell
us which volumes you would like to see first, and whether you need the loose sheets as well.

Yours sincerely,

Martin Osgood

Head of Conservation
"""

INVOICE_HEADING = "Invoice 2023-0817"
INVOICE_META = ["Brightwater Print Supplies Ltd.", "Date: 17 August 2023", "Customer: 40518", "Payment within 30 days"]
INVOICE = [
    ["No.", "Article", "Quantity", "Unit price", "Amount"],
    ["1", "Copy paper A4, 80 g", "40", "4.95", "198.00"],
    ["2", "Copy paper A3, 80 g", "12", "10.40", "124.80"],
    ["3", "Toner cartridge black", "6", "61.50", "369.00"],
    ["4", "Toner cartridge cyan", "2", "74.25", "148.50"],
    ["5", "Envelopes C5, box of 500", "8", "18.90", "151.20"],
    ["6", "Archive boxes, grey", "75", "2.36", "177.00"],
    ["7", "Label sheets, 24 per sheet", "30", "3.10", "93.00"],
    ["8", "Binding combs, 12 mm", "200", "0.18", "36.00"],
    ["9", "Stapler, heavy duty", "3", "32.75", "98.25"],
    ["10", "Delivery", "1", "15.00", "15.00"],
]
INVOICE_TOTALS = ["Net total: 1,410.75", "Value added tax 19 %: 268.04", "Total due: 1,678.79"]
INVOICE_FOOT = "Please quote the invoice number with your payment. Goods remain our property until paid in full."
COLUMN_LEFTS = (130, 240, 830, 1050, 1290, 1530)  # in pixels; the last is the right edge

ARTICLE_HEADING = "How rivers move their beds"
ARTICLE_LEFT = """\
A river that looks the same every summer is never at rest. Its current is fastest on the outside of each bend,
where it cuts into the bank, and slowest on the inside, where sand and gravel settle. Year after year the bend
grows wider and drifts downstream.

The surveyors of the Arlen valley measured this for the first time in 1912. They drove iron rods into the bank
every fifty metres and returned each spring. After ten years the outer bank had moved by 6.4 metres on average;
at the mill of Sandau it was more than twice as much.

When two bends come close together, a single flood can break through the neck between them. The old loop is cut
off and becomes a lake shaped like a horseshoe.
"""
ARTICLE_RIGHT = """\
Vegetation slows the process. The roots of willow and alder hold the soil, and where they were cleared for
pasture the river moved three times as fast. A strip of trees ten metres wide was enough to make a difference.

Dams change the balance in another way. They hold back the sediment, so that the water below them arrives hungry
and digs into its own bed. Between 1961 and 1988 the Arlen sank by 1.8 metres below the Holm weir.

Today the rods have been replaced by aerial photographs taken twice a year. The method is new, but the question
is the same one that the surveyors asked: not whether the river will move, but when, and how far.
"""


class Sheet:
    """A blank page that is written on from top to bottom, and remembers what was written."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", SIZE, (250, 246, 236))
        self.draw = ImageDraw.Draw(self.image)
        self.lines: list[str] = []

    def line(
        self, text: str, at: tuple[float, float], size: int, face: str = "DejaVuSerif", anchor: str = "la"
    ) -> None:
        self.draw.text(at, text, INK, ImageFont.truetype(FONTS / f"{face}.ttf", size), anchor)
        self.lines.append(text)

    def paragraphs(self, texts: str, left: int, top: int, chars: int, size: int, gap: int) -> int:
        """Texts, a blank line between two, wrapped at `chars` characters; returns where they end, in pixels."""
        for text in texts.split("\n\n"):
            for line in textwrap.wrap(text, chars):
                self.line(line, (left, top), size)
                top += round(size * 1.55)
            self.lines.append("")
            top += gap
        return top


def letter() -> Sheet:
    sheet = Sheet()
    sheet.line(LETTER_HEAD[0], (150, 130), 46, "DejaVuSans-Bold")
    for row, text in enumerate(LETTER_HEAD[1:]):
        sheet.line(text, (150, 205 + row * 42), 27, "DejaVuSans")
    sheet.draw.line((150, 305, 1500, 305), INK, 3)
    sheet.lines.append("")
    for row, text in enumerate(LETTER_META):
        sheet.line(text, (150, 390 + row * 45), 29)
    sheet.line(LETTER_HEADING, (150, 690), 38, "DejaVuSerif-Bold")
    sheet.lines.append("")
    sheet.paragraphs(LETTER, 150, 790, 76, 30, 28)
    return sheet


def invoice() -> Sheet:
    sheet = Sheet()
    sheet.line(INVOICE_HEADING, (130, 140), 52, "DejaVuSans-Bold")
    for row, text in enumerate(INVOICE_META):
        sheet.line(text, (130, 250 + row * 46), 29, "DejaVuSans")
    top, height = 500, 78
    for row, cells in enumerate(INVOICE):
        face = "DejaVuSans-Bold" if row == 0 else "DejaVuSans"
        middle = top + row * height + height // 2
        for column, cell in enumerate(cells):
            left, right = COLUMN_LEFTS[column] + 16, COLUMN_LEFTS[column + 1] - 16
            at, anchor = ((right, middle), "rm") if column >= 2 else ((left, middle), "lm")
            sheet.line(cell, at, 29, face, anchor)
        sheet.lines[-len(cells) :] = ["\t".join(cells)]
    bottom = top + len(INVOICE) * height
    for row in range(len(INVOICE) + 1):
        sheet.draw.line((130, top + row * height, 1530, top + row * height), INK, 4 if row < 2 else 2)
    for x in COLUMN_LEFTS:
        sheet.draw.line((x, top, x, bottom), INK, 3)
    for row, text in enumerate(INVOICE_TOTALS):
        face = "DejaVuSans-Bold" if row == 2 else "DejaVuSans"
        sheet.line(text, (1514, bottom + 70 + row * 52), 31, face, "ra")
    sheet.line(INVOICE_FOOT, (130, 1760), 25, "DejaVuSans")
    return sheet


def article() -> Sheet:
    sheet = Sheet()
    sheet.line(ARTICLE_HEADING, (140, 150), 54, "DejaVuSerif-Bold")
    sheet.draw.line((140, 245, 1514, 245), INK, 2)
    sheet.lines.append("")
    sheet.paragraphs(ARTICLE_LEFT, 140, 310, 37, 29, 34)
    sheet.paragraphs(ARTICLE_RIGHT, 870, 310, 37, 29, 34)
    return sheet


def scanned(sheet: Sheet, degrees: float, seed: int) -> Image.Image:
    """The sheet as it comes off a flatbed: askew, soft, unevenly lit, with grain."""
    random = numpy.random.default_rng(seed)
    paper = (250, 246, 236)
    askew = sheet.image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=paper)
    pixels = numpy.asarray(askew.filter(ImageFilter.GaussianBlur(0.7)), dtype=numpy.float32)
    down, across = numpy.mgrid[0 : SIZE[1], 0 : SIZE[0]].astype(numpy.float32)
    light = 1.0 - 0.07 * (across / SIZE[0]) ** 2 - 0.05 * (1 - down / SIZE[1]) ** 3
    light -= 0.28 * numpy.exp(-across / 18)  # the shadow of the spine at the left edge
    grain = random.normal(0, 2.2, (SIZE[1], SIZE[0], 1)).astype(numpy.float32)
    return Image.fromarray(numpy.clip(pixels * light[..., None] + grain, 0, 255).astype(numpy.uint8))


def main() -> None:
    sheets = [letter(), invoice(), article()]
    pages = [
        scanned(sheet, degrees, seed)
        for seed, (sheet, degrees) in enumerate(zip(sheets, (0.6, -0.4, 0.5), strict=True))
    ]
    jpegs = [encoded(page, "JPEG", quality=68, dpi=(DPI, DPI), optimize=True) for page in pages]
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "sample.pdf").write_bytes(pdf_file([scan(jpeg) for jpeg in jpegs]))
    texts = ["\n".join(sheet.lines).strip() + "\n" for sheet in sheets]
    (FOLDER / "sample.txt").write_text("\f".join(texts), encoding="utf-8")


if __name__ == "__main__":
    main()
