"""What stands in a region: tables cut out, the rest as the label says it is, or as its markdown does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ocr_tasks.contract import BlockKind
from workers.engine.answers import inline, tables

HEADING = re.compile(r"[ ]{0,3}(#{1,6})(?:[ \t]+(.*))?\Z")
FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})[ \t]*([\w+-]{0,20})[ \t]*\Z")
WRAPPERS = ("markdown", "md", "html", "latex")  # a fence around an answer in its own language is none of the page's
CODE = ("code", "algorithm")
FORMULA = re.compile(r"\\[(\[]|\$")
LEVELS = {"title": 1, "doc_title": 1, "heading": 1}  # others 2, where the answer shows none


@dataclass(frozen=True)
class Piece:
    """A block before it is placed: its plain text, and its markdown."""

    kind: BlockKind
    text: str
    markdown: str


def pieces(body: str, kind: BlockKind | None, *, label: str = "", wanted: bool = True) -> list[Piece]:
    """The pieces of a region's body; kind: None where only its markdown tells. wanted: whether tables are."""
    return [piece for piece in _pieces(body, kind, label, wanted=wanted) if piece.text or piece.kind == "table"]


def _pieces(body: str, kind: BlockKind | None, label: str, *, wanted: bool) -> Iterator[Piece]:
    for part, is_table in tables.cut_out(body):
        if is_table:
            yield from _table(tables.parse_html(part), wanted=wanted)
        elif part.strip():
            yield from _labelled(inline.clean(part), kind, label, wanted=wanted)


def _labelled(text: str, kind: BlockKind | None, label: str, *, wanted: bool) -> Iterator[Piece]:
    if kind is None:
        yield from _free(text, wanted=wanted)
    elif kind == "heading":
        yield from _heading(text, label)
    elif kind == "formula":
        yield _formula(text)
    elif label in CODE:
        yield Piece(kind, text, inline.code(text))
    elif kind == "table":
        found = list(_free(text, wanted=wanted))
        is_one = len(found) == 1 and found[0].kind != "table" and wanted
        yield from [Piece("table", found[0].text, found[0].markdown)] if is_one else found
    elif kind == "paragraph" and inline.only_lists(text):
        yield _paragraph(text, "list")
    else:
        yield _paragraph(text, kind)


def _table(table: tables.Table, *, wanted: bool) -> Iterator[Piece]:
    if table.rows and wanted:
        yield Piece("table", table.text(), table.markdown())
    elif table.rows:
        text = table.text(" ")
        yield _paragraph("\n".join(" ".join(line.split()) for line in text.split("\n")), "paragraph")


def _paragraph(text: str, kind: BlockKind) -> Piece:
    return Piece(kind, inline.plain(text), inline.paragraph(text))


def _heading(text: str, label: str) -> Iterator[Piece]:
    """A heading is a paragraph at most; what comes after an empty line is none of it."""
    first, _, rest = text.strip().partition("\n\n")
    found = HEADING.match(first.split("\n", 1)[0])
    level = len(found[1]) if found else LEVELS.get(label, 2)
    bare = inline.plain(re.sub(r"^[ ]{0,3}#{1,6}(?:[ \t]+|$)", "", first, flags=re.MULTILINE))
    if bare:
        yield Piece("heading", bare, inline.heading(bare, level))
    if rest.strip():
        yield _paragraph(rest, "list" if inline.only_lists(rest) else "paragraph")


def _formula(text: str) -> Piece:
    text = text.strip()
    return Piece("formula", text, inline.harmless(text if FORMULA.search(text) else rf"\[ {text} \]"))


def _free(text: str, *, wanted: bool) -> Iterator[Piece]:
    """Text without labels, as far as markdown itself tells: headings, lists, tables, code, paragraphs."""
    held: list[str] = []
    lines = text.split("\n")
    at, wrapper = 0, ""
    while at < len(lines):
        line = lines[at]
        fence, end_of_pipes = FENCE.match(line), _end_of_pipes(lines, at)
        if not (fence or HEADING.match(line) or end_of_pipes) and line.strip() and _goes_on(held, line):
            held.append(line)
            at += 1
            continue
        yield from _held(held)
        held = []
        if fence and fence[2].lower() in WRAPPERS:
            at, wrapper = at + 1, fence[1]
        elif fence and not fence[2] and (wrapper or not _closes(lines, at, fence[1])):
            at, wrapper = at + 1, ""  # the end of a wrapper, or of nothing
        elif fence:
            code, at = _fenced(lines, at, fence[1])
            if code.strip():
                yield Piece("other", code.strip("\n"), inline.code(code))
        elif end_of_pipes:
            yield from _table(tables.parse_pipes(lines[at:end_of_pipes]), wanted=wanted)
            at = end_of_pipes
        elif HEADING.match(line):
            yield from _heading(line, "")
            at += 1
        else:
            held = [line] if line.strip() else []
            at += 1
    yield from _held(held)


def _goes_on(held: list[str], line: str) -> bool:
    """Whether a line belongs to the lines before: a list begins anew, and ends where a line is set flush left."""
    if not held:
        return False
    listed, was = bool(inline.MARKER.match(line.strip())), bool(inline.MARKER.match(held[0].strip()))
    return listed == was or (was and line[:1].isspace())


def _held(lines: list[str]) -> Iterator[Piece]:
    if lines:
        text = "\n".join(lines)
        yield _paragraph(text, "list" if inline.MARKER.match(lines[0].strip()) else "paragraph")


def _end_of_pipes(lines: list[str], at: int) -> int:
    """After which line a table with pipes ends that begins at `at`; 0 for none."""
    if at + 1 >= len(lines) or "|" not in lines[at] or not tables.is_delimiter(lines[at + 1]):
        return 0
    end = at + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    return end


def _closes(lines: list[str], at: int, fence: str) -> bool:
    """Whether a bare fence has another below: else it is the end of one that was left out."""
    return any(lines[below].strip() == fence for below in range(at + 1, len(lines)))


def _fenced(lines: list[str], at: int, fence: str) -> tuple[str, int]:
    """The code after a fence, and where the text goes on; to the end when nothing closes it."""
    end = at + 1
    while end < len(lines) and not (lines[end].strip().startswith(fence) and not lines[end].strip(" `~")):
        end += 1
    return "\n".join(lines[at + 1 : end]), end + 1
