"""Pages drawn with known text: what a reader of pages is measured on.

Every page comes from a random generator and a font, so that no test leans on one lucky page.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageFont

PROSE = (
    "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which one"
    " were all their there when we him been has would more if no out so said what up its about into than them can only"
    " other new some could time these two may then do first any my now such like our over man me even most made after"
    " also did many before must through back years where much your way well down should because each just those people"
    " how too little state good very make world still own see men work long get here between both life being under"
    " never day same another know while last might us great old year off come since against go came right used take"
    " three invoice payment customer delivery quantity agreement quarterly temperature pressure measurement analysis"
    " section committee university government development information available international different economic"
    " programme performance environment responsibility knowledge technology structure significant"
)
SURNAMES = "Miller Garcia Novak Okafor Lindqvist Tanaka Fischer Rossi Kowalski O'Brien Dubois Yilmaz Hansen Pereira"
WORDS, NAMES = PROSE.split(), SURNAMES.split()
CHINESE = (  # two characters a word
    "系统数据处理文字识别服务页面结果时间用户公司合同付款发票数量价格中国北京上海研究技术发展国家经济社会文化"
    "学生老师问题方法工作生活世界历史科学环境城市农村市场企业管理信息网络安全质量标准报告分析测量温度压力"
)

LATIN_FONTS = ("DejaVuSans", "DejaVuSerif", "LiberationSans-Regular", "LiberationSerif-Regular", "Carlito-Regular")
CHINESE_FONTS = ("NotoSansCJK-Regular", "NotoSerifCJK-Regular", "wqy-zenhei", "wqy-microhei", "uming")
FONT_FOLDERS = (Path("/usr/share/fonts"), Path.home() / ".local/share/fonts")


@cache
def installed_fonts(names: tuple[str, ...]) -> list[Path]:
    """Those of the named font files that this machine has."""
    files = {file.stem: file for folder in FONT_FOLDERS for file in folder.rglob("*.tt[fc]")}
    return [files[name] for name in names if name in files]


def font(size_px: float, path: Path | None = None) -> ImageFont.FreeTypeFont:
    """A font file at a size; without one the font inside Pillow (Latin only)."""
    if path is not None:
        return ImageFont.truetype(
            str(path), round(size_px), index=2 if path.suffix == ".ttc" and "CJK" in path.stem else 0
        )
    inside = ImageFont.load_default(size_px)
    assert isinstance(inside, ImageFont.FreeTypeFont)
    return inside


@dataclass(frozen=True)
class Style:
    """How a page looks. Sizes in points, resolution in dots per inch."""

    dpi: int = 200
    size_pt: float = 11
    font_file: Path | None = None
    paper: str = "white"
    ink: str = "black"

    def px(self, points: float) -> float:
        return points * self.dpi / 72

    def font(self, factor: float = 1.0) -> ImageFont.FreeTypeFont:
        return font(self.px(self.size_pt) * factor, self.font_file)

    @property
    def pitch(self) -> int:
        """From one line to the next, in pixels."""
        return round(self.px(self.size_pt) * 1.45)


@dataclass
class Page:
    """A drawn page and the truth about it. `lines` in reading order; a table is its rows of cells."""

    image: Image.Image
    style: Style
    lines: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    tables: list[list[list[str]]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def write(self, x: float, y: float, text: str, factor: float = 1.0, ink: str | None = None) -> float:
        """Write a line of text, its top left corner at x, y; returns the y of the next line."""
        ImageDraw.Draw(self.image).text((x, y), text, font=self.style.font(factor), fill=ink or self.style.ink)
        self.lines.append(text)
        return y + self.style.pitch * factor

    def write_all(self, x: float, y: float, width: float, words: Sequence[str], gap: str = " ") -> float:
        """Write words as a paragraph of a width; returns the y of the next line."""
        for text in wrap(words, self.style.font(), width, gap):
            y = self.write(x, y, text)
        return y


def blank(style: Style, width_pt: float = 595, height_pt: float = 842) -> Page:
    """An empty page, A4 unless told otherwise."""
    size = (round(style.px(width_pt)), round(style.px(height_pt)))
    return Page(Image.new("RGB", size, style.paper), style)


def wrap(words: Sequence[str], face: ImageFont.FreeTypeFont, width: float, gap: str = " ") -> list[str]:
    """Break words into lines no wider than `width` pixels."""
    lines = [words[0]]
    for word in words[1:]:
        longer = lines[-1] + gap + word
        if face.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def sentence(rng: random.Random, words: int = 12) -> list[str]:
    """Words with a capital, commas, numbers, a name here and there, and a full stop."""
    chosen = [rng.choice(WORDS) for _ in range(words)]
    for at in range(1, words - 1):
        chance = rng.random()
        if chance < 0.06:
            chosen[at] += ","
        elif chance < 0.10:
            chosen[at] = rng.choice(
                [f"{rng.randint(2, 9999)}", f"{rng.uniform(1, 99):.1f}%", f"({rng.randint(1, 40)})"]
            )
        elif chance < 0.13:
            chosen[at] = rng.choice(NAMES)
        elif chance < 0.15:
            chosen[at] = f"{chosen[at]}-{rng.choice(WORDS)}"
    return [chosen[0].capitalize(), *chosen[1:-1], chosen[-1] + rng.choice(".....?;")]


def prose(rng: random.Random, words: int) -> list[str]:
    """About that many words of sentences."""
    told: list[str] = []
    while len(told) < words:
        told += sentence(rng, rng.randint(6, 16))
    return told


def title(rng: random.Random, words: int = 4) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)).capitalize()


def article(rng: random.Random, style: Style, columns: int = 1, height_pt: float = 842) -> Page:
    """A title and paragraphs under headings, in one or more columns."""
    page = blank(style, height_pt=height_pt)
    margin, gutter = style.px(54), style.px(22)
    top = write_heading(page, margin, style.px(50), title(rng), 2.0) + style.pitch
    width = (page.image.width - 2 * margin - gutter * (columns - 1)) / columns
    for column in range(columns):
        x, y = margin + column * (width + gutter), top
        while y < page.image.height - style.px(min(150, height_pt / 4)):
            if rng.random() < 0.3:
                y = write_heading(page, x, y, title(rng, 3 if columns < 3 else 2), 1.35)
            y = page.write_all(x, y, width, prose(rng, rng.randint(15, 90 // columns))) + style.pitch * 0.6
            if rng.random() < 0.1:
                break
    return page


def write_heading(page: Page, x: float, y: float, text: str, factor: float) -> float:
    """Write a heading `factor` times the size of the text; returns the y of the next line."""
    page.headings.append(text)
    return page.write(x, y, text, factor)


def cell_text(rng: random.Random, column: int) -> str:
    """A table cell: words in the first columns, numbers in the later ones."""
    if column == 0:
        return title(rng, rng.randint(1, 3))
    if column == 1:
        return rng.choice([rng.choice(NAMES), title(rng, 1), title(rng, 2)])
    return rng.choice(
        [
            str(rng.randint(1, 999)),
            f"{rng.uniform(1, 9999):,.2f}",
            f"{rng.randint(1, 99)}%",
            f"${rng.uniform(1, 500):.2f}",
        ]
    )


def random_table(rng: random.Random, rows: int, columns: int, empty: float = 0.1) -> list[list[str]]:
    """A header row and rows of cells, some of them empty (never a whole row, nor the first column)."""
    header = [title(rng, 1) for _ in range(columns)]
    body = [[cell_text(rng, column) for column in range(columns)] for _ in range(rows)]
    for row in body:
        for column in range(1, columns):
            if rng.random() < empty and sum(map(bool, row)) > 2:
                row[column] = ""
    return [header, *body]


def draw_table(
    page: Page, x: float, y: float, width: float, rows: list[list[str]], ruled: bool, numbers_right: bool
) -> float:
    """Draw a table, wrapping what is wider than its cell; returns the y below it."""
    style, pen = page.style, ImageDraw.Draw(page.image)
    face, pad = style.font(), style.px(5)
    shares = [1.8 if column == 0 else 1.0 for column in range(len(rows[0]))]
    edges = [x + width * sum(shares[:column]) / sum(shares) for column in range(len(shares) + 1)]
    tops = [y]
    for row in rows:
        wrapped = [
            wrap(text.split(" "), face, right - left - 2 * pad)
            for text, left, right in zip(row, edges, edges[1:], strict=False)
        ]
        for column, lines in enumerate(wrapped):
            for at, line in enumerate(lines):
                right = numbers_right and column > 1
                start = edges[column + 1] - pad - face.getlength(line) if right else edges[column] + pad
                pen.text((start, tops[-1] + pad + at * style.pitch), line, font=face, fill=style.ink)
        page.lines.append(" ".join(text for text in row if text))
        tops.append(tops[-1] + 2 * pad + style.pitch * max(map(len, wrapped)))
    if ruled:
        for edge in edges:
            pen.line((edge, y, edge, tops[-1]), fill=style.ink, width=max(1, round(style.px(0.6))))
        for top in tops:
            pen.line((x, top, edges[-1], top), fill=style.ink, width=max(1, round(style.px(0.6))))
    page.tables.append(rows)
    return tops[-1]


def table_page(rng: random.Random, style: Style, ruled: bool) -> Page:
    """A heading, some text, and two tables between paragraphs."""
    page = blank(style)
    x, width = style.px(54), style.px(487)
    y = write_heading(page, x, style.px(50), title(rng), 1.8) + style.pitch
    for _ in range(2):
        y = page.write_all(x, y, width, prose(rng, 40)) + style.pitch
        rows = random_table(rng, rng.randint(3, 8), rng.randint(3, 5))
        y = draw_table(page, x, y, width, rows, ruled, rng.random() < 0.5) + style.pitch
    page.write_all(x, y, width, prose(rng, 30))
    return page


def invoice(rng: random.Random, style: Style) -> Page:
    """Sender, number and date in a block on the right, the positions, the total."""
    page = blank(style)
    x, right = style.px(54), style.px(400)
    top = write_heading(page, x, style.px(50), "INVOICE", 2.0) + style.pitch
    sender = (
        f"{rng.choice(NAMES)} & {rng.choice(NAMES)} Ltd.",
        f"{rng.randint(1, 300)} {title(rng, 1)} Street",
        f"{rng.randint(10000, 99999)} {title(rng, 1)}",
    )
    facts = (
        f"Invoice No. {rng.randint(1000, 99999)}",
        f"Date: 20{rng.randint(10, 29)}-0{rng.randint(1, 9)}-{rng.randint(10, 28)}",
        f"Customer: {rng.randint(100, 999)}/{rng.randint(10, 99)}",
    )
    for left, texts in ((x, sender), (right, facts)):
        y = top
        for text in texts:
            y = page.write(left, y, text)
    rows = [["Description", "Qty", "Unit price", "Amount"]]
    total = 0.0
    for _ in range(rng.randint(4, 9)):
        quantity, price = rng.randint(1, 40), rng.randint(100, 90000) / 100
        total += quantity * price
        rows.append([title(rng, rng.randint(2, 6)), str(quantity), f"{price:,.2f}", f"{quantity * price:,.2f}"])
    y = draw_table(page, x, y + style.pitch, style.px(487), rows, rng.random() < 0.5, True) + style.pitch
    for name, sum_of in (("Subtotal", total), ("VAT 19%", total * 0.19), ("Total EUR", total * 1.19)):
        page.write(style.px(360), y, name)
        y = page.write(style.px(460), y, f"{sum_of:,.2f}")
    page.write_all(x, y + style.pitch, style.px(487), prose(rng, 30))
    return page


def chinese_word(rng: random.Random) -> str:
    at = 2 * rng.randrange(len(CHINESE) // 2)
    return CHINESE[at : at + 2]


def mixed_chinese(rng: random.Random, style: Style) -> Page:
    """Paragraphs of Chinese with English words and numbers in them; `style` must name a Chinese font."""
    page = blank(style)
    x, y, width = style.px(54), style.px(60), style.px(487)
    space = rng.choice(["", " "])  # both ways of setting Latin among Chinese are usual
    while y < page.image.height - style.px(200):
        text = chinese_word(rng)
        for _ in range(rng.randint(20, 45)):
            mark = rng.random()
            if mark < 0.12 and text[-1] not in "，、；":
                text += rng.choice("，，，、；")
            elif mark < 0.24 and not text[-1].isascii():
                text += f"{'' if text[-1] in '，、；' else space}{rng.choice([*WORDS, str(rng.randint(2, 2026))])}"
            else:
                text += (space if text[-1].isascii() else "") + chinese_word(rng)
        for line in _wrap_characters(text + "。", style.font(), width):
            y = page.write(x, y, line)
        y += style.pitch * 0.7
    return page


def _wrap_characters(text: str, face: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines, line = [], ""
    for piece in _unbreakable(text):
        if face.getlength(line + piece) > width and piece not in "，、；。":
            lines.append(line.strip())
            line = ""
        line += piece
    return [*lines, line.strip()]


def _unbreakable(text: str) -> list[str]:
    pieces: list[str] = []
    for character in text:
        if pieces and character.isascii() and character != " " and pieces[-1].isascii() and pieces[-1] != " ":
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces


def screenshot(rng: random.Random, dark: bool = False) -> Page:
    """A web page: navigation on top, a side bar, an article, three cards, a footer."""
    paper, ink, panel, faint = (
        ("#16181d", "#e6e6e6", "#22262e", "#9aa0aa") if dark else ("white", "#222222", "#f2f3f5", "#666666")
    )
    style = Style(dpi=96, size_pt=12, font_file=rng.choice([None, *installed_fonts(LATIN_FONTS)]), paper=paper, ink=ink)
    page = Page(Image.new("RGB", (1280, 1400), paper), style)
    pen = ImageDraw.Draw(page.image)
    pen.rectangle((0, 0, 1280, 64), fill="#0b3d91")
    x = 40.0
    for entry in [title(rng, 1) for _ in range(6)]:
        page.write(x, 22, entry, ink="white")
        x += style.font().getlength(entry) + 50
    pen.rectangle((0, 64, 260, 1280), fill=panel)
    y = 100.0
    for _ in range(rng.randint(8, 14)):
        y = page.write(30, y, title(rng, rng.randint(1, 2)), ink=faint) + 14
    y = write_heading(page, 310, 100, title(rng), 1.9) + 10
    for _ in range(3):
        y = page.write_all(310, y, 900, prose(rng, rng.randint(30, 60))) + 16
    y = write_heading(page, 310, y + 10, title(rng, 2), 1.4) + 16
    for card in range(3):
        left = 310 + card * 310
        pen.rectangle((left, y, left + 280, y + 230), fill=panel, outline=faint)
        below = page.write(left + 20, y + 18, title(rng, 2), 1.15) + 8
        page.write_all(left + 20, below, 240, prose(rng, 12))
    page.write_all(310, y + 270, 900, prose(rng, 40))
    pen.rectangle((0, 1330, 1280, 1400), fill="#0b3d91")
    page.write(40, 1355, f"© 20{rng.randint(10, 26)} {rng.choice(NAMES)} Inc. All rights reserved.", ink="white")
    return page


def worn(rng: random.Random, page: Page, strength: float = 1.0) -> Page:
    """The page as a bad scan: blurred, noisy, speckled."""
    image = page.image.filter(ImageFilter.GaussianBlur(0.7 * strength))
    noise = Image.effect_noise(image.size, 60 * strength).convert("RGB")
    image = Image.blend(image, noise, 0.18 * strength)
    pen = ImageDraw.Draw(image)
    for _ in range(round(400 * strength)):
        x, y = rng.randrange(image.width), rng.randrange(image.height)
        pen.point((x, y), fill=rng.choice(["black", "white", "#555555"]))
    return replace(page, image=image)


def turned(page: Page, degrees: float) -> Page:
    """The page turned counter-clockwise: by quarters without loss, else on paper of its own colour."""
    if degrees % 90 == 0:
        return replace(page, image=page.image.rotate(degrees, expand=True))
    image = page.image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=page.style.paper)
    return replace(page, image=image)


def distance(read: str, truth: str) -> int:
    """Levenshtein's distance, by Myers' bit vectors: insertions, deletions and substitutions count 1 each."""
    if not truth:
        return len(read)
    places: dict[str, int] = {}
    for at, character in enumerate(truth):
        places[character] = places.get(character, 0) | 1 << at
    plus, minus, score, last = (1 << len(truth)) - 1, 0, len(truth), 1 << (len(truth) - 1)
    for character in read:
        match = places.get(character, 0)
        vertical = match | minus
        horizontal = (((match & plus) + plus) ^ plus) | match
        up, down = minus | ~(horizontal | plus), plus & horizontal
        score += bool(up & last) - bool(down & last)
        up, down = up << 1 | 1, down << 1
        plus, minus = down | ~(vertical | up), up & vertical
        mask = (1 << len(truth)) - 1
        plus, minus = plus & mask, minus & mask
    return score


def error_rate(read: str, truth: str) -> float:
    """Character errors per true character, white space of any kind and length counted as one space."""
    read, truth = " ".join(read.split()), " ".join(truth.split())
    return distance(read, truth) / max(1, len(truth))


def tables_in(markdown: str) -> list[list[list[str]]]:
    """The tables of a markdown text, as rows of cells."""
    tables: list[list[list[str]]] = []
    inside = False
    for line in markdown.splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        if not inside:
            tables.append([])
        inside = True
        cells = [cell.strip().replace("\\|", "|") for cell in line.replace("\\|", "\0").strip("|").split("|")]
        if not all(set(cell) <= set("-: ") and cell for cell in cells):
            tables[-1].append([cell.replace("\0", "|") for cell in cells])
    return tables


def cells_right(read: Sequence[list[list[str]]], truth: Sequence[list[list[str]]]) -> float:
    """The share of true cells that stand in their row and column; tables pair up in order."""
    total = sum(len(row) for table in truth for row in table)
    right = 0
    for table, true in zip(read, truth, strict=False):
        for row, true_row in zip(table, true, strict=False):
            right += sum(cell == true_cell for cell, true_cell in zip(row, true_row, strict=False))
    return right / total if total else 1.0
