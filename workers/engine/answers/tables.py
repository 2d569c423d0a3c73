"""Tables as models write them, in HTML or with pipes: cells in their order, whatever is broken around them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from workers.engine.answers.inline import harmless, plain

STRUCTURE = ("table", "thead", "tbody", "tfoot", "tr", "td", "th", "caption", "colgroup", "col")
# Other tags a cell may hold: they go, their text stays.
DRESS = ("br", "p", "div", "span", "center", "b", "i", "u", "em", "strong", "sub", "sup", "small", "font")
TABLE_TAG = re.compile(rf"<(/?)({'|'.join(STRUCTURE)})\b([^<>]*)>", re.IGNORECASE)
TAG = re.compile(rf"<(/?)({'|'.join(STRUCTURE + DRESS)})\b([^<>]*)>", re.IGNORECASE)
CUT_TAG = re.compile(r"</?(?P<name>[A-Za-z]{0,10})(?P<attributes>\s[^<>]*)?\Z")
SPAN = re.compile(r"\b(colspan|rowspan)\s{0,3}=[\s\\\"']{0,4}(\d{1,4})", re.IGNORECASE | re.ASCII)
LARGEST_SPAN = 100
MOST_COLUMNS = 200  # beyond, nothing spans


@dataclass(frozen=True)
class Cell:
    """A cell's text, and how many columns and rows it takes."""

    text: str
    columns: int = 1
    rows: int = 1


@dataclass
class Table:
    """Rows of cells."""

    rows: list[list[Cell]] = field(default_factory=list)

    def text(self, between: str = "\t") -> str:
        """A line for each row; cells stand in their columns."""
        return "\n".join(between.join(row).rstrip("\t") for row in self._columns())

    def markdown(self) -> str:
        """With pipes, the first row as header; in HTML if a cell spans several, or holds what pipes cannot.

        That is the norm of LaTeX: a backslash before a pipe.
        """
        if any(cell.columns > 1 or cell.rows > 1 or r"\|" in cell.text for row in self.rows for cell in row):
            return self._html()
        width = max(len(row) for row in self.rows)
        lines = [_piped([cell.text for cell in row] + [""] * (width - len(row))) for row in self.rows]
        return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])

    def _html(self) -> str:
        rows = "".join(f"<tr>{''.join(map(_cell_html, row))}</tr>" for row in self.rows)
        return f"<table>{rows}</table>"

    def _columns(self) -> Iterator[list[str]]:
        """Each row's texts, empty where a cell beside or above reaches."""
        taken = [0] * MOST_COLUMNS  # rows below for which a column is taken
        for row in self.rows:
            texts: list[str] = []
            for cell in row:
                _pass(taken, texts)
                texts.append(cell.text)
                for at in range(len(texts) - 1, min(len(texts) - 1 + cell.columns, MOST_COLUMNS)):
                    taken[at] = cell.rows
                texts += [""] * (min(len(texts) - 1 + cell.columns, MOST_COLUMNS) - len(texts))
            yield texts
            taken = [max(0, rows - 1) for rows in taken]


def _pass(taken: Sequence[int], texts: list[str]) -> None:
    """Leave columns empty that a cell of an earlier row reaches into."""
    while len(texts) < MOST_COLUMNS and taken[len(texts)]:
        texts.append("")


def _piped(cells: Sequence[str]) -> str:
    return "| " + " | ".join(harmless(cell).replace("|", r"\|") for cell in cells) + " |"


def _cell_html(cell: Cell) -> str:
    spans = f' colspan="{cell.columns}"' if cell.columns > 1 else ""
    spans += f' rowspan="{cell.rows}"' if cell.rows > 1 else ""
    return f"<td{spans}>{html.escape(cell.text, quote=False)}</td>"


def cut_out(body: str) -> Iterator[tuple[str, bool]]:
    """A body cut into (part, whether it is a table in HTML); one that was cut off reaches to the end."""
    start = at = 0
    while opening := TABLE_TAG.search(body, at):
        yield body[start : opening.start()], False
        start = at = _end_of_table(body, opening.start())
        yield body[opening.start() : at], True
    yield body[start:], False


def _end_of_table(body: str, start: int) -> int:
    """Where a table ends that begins with a tag at `start`."""
    depth, last = 0, None
    for last in TABLE_TAG.finditer(body, start):
        if last[2].lower() == "table":
            depth += -1 if last[1] else 1
            if depth <= 0:
                return last.end()
    assert last is not None
    rest = body[last.end() :]
    return last.end() if last[1] and _without_half_a_tag(rest).strip() else len(body)


def parse_html(fragment: str) -> Table:
    """The cells of a table in HTML."""
    reader = _Reader()
    at = 0
    for tag in TAG.finditer(fragment):
        reader.text(fragment[at : tag.start()])
        reader.tag(tag[2].lower(), tag[3], closing=bool(tag[1]))
        at = tag.end()
    reader.text(_without_half_a_tag(fragment[at:]))
    reader.end_row()
    return Table(_within(reader.rows))


class _Reader:
    """Takes tags and texts in, puts rows together. Text outside of cells becomes a cell."""

    def __init__(self) -> None:
        self.rows: list[list[Cell]] = []
        self.row: list[Cell] = []
        self.texts: list[str] | None = None  # of the open cell
        self.spans: dict[str, int] = {}

    def text(self, text: str) -> None:
        if self.texts is not None:
            self.texts.append(text)
        elif text.strip():
            self.row.append(Cell(_cell_text(text)))

    def tag(self, name: str, attributes: str, *, closing: bool) -> None:
        if name in ("td", "th"):
            self.end_cell()
            if not closing:
                self.texts = []
                self.spans = {attribute.lower(): int(number) for attribute, number in SPAN.findall(attributes)}
        elif name in ("br", "p", "div"):
            self.text(" ")
        elif name in STRUCTURE:
            self.end_row()

    def end_cell(self) -> None:
        if self.texts is not None:
            columns, rows = (min(max(self.spans.get(name, 1), 1), LARGEST_SPAN) for name in ("colspan", "rowspan"))
            self.row.append(Cell(_cell_text("".join(self.texts)), columns, rows))
        self.texts = None

    def end_row(self) -> None:
        self.end_cell()
        if self.row:
            self.rows.append(self.row)
        self.row = []


def _cell_text(text: str) -> str:
    return plain(" ".join(html.unescape(text).split()))


def _within(rows: list[list[Cell]]) -> list[list[Cell]]:
    """The rows, no cell reaching below the last."""
    left = range(len(rows), 0, -1)
    return [
        [Cell(cell.text, cell.columns, min(cell.rows, below)) for cell in row]
        for row, below in zip(rows, left, strict=True)
    ]


def _without_half_a_tag(text: str) -> str:
    """The end of a table that was cut inside a tag, without what is left of it."""
    start = text.rfind("<")
    cut = CUT_TAG.match(text.rstrip(), start) if start >= 0 else None
    if not cut:
        return text
    name = cut["name"].lower()
    known = name in STRUCTURE if cut["attributes"] else any(tag.startswith(name) for tag in STRUCTURE)
    return text[:start] if known else text


def is_delimiter(line: str) -> bool:
    """Whether a line parts the header of a table with pipes from its rows."""
    return "|" in line and "-" in line and not line.strip("|:- \t")


def parse_pipes(lines: Sequence[str]) -> Table:
    """The cells of a table with pipes; its second line is the delimiter."""
    return Table([[Cell(plain(cell)) for cell in _cells(line)] for n, line in enumerate(lines) if n != 1])


def _cells(line: str) -> list[str]:
    line = line.strip().removeprefix("|")
    cells = [cell.replace("\0", "|").strip() for cell in line.replace(r"\|", "\0").split("|")]
    return cells[:-1] if len(cells) > 1 and not cells[-1] else cells
