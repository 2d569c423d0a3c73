"""A model's own markdown made harmless: emphasis, lists and formulas stay; HTML, links and images become text.

Formulas are `\\( \\)` and `\\[ \\]`, as the models write them. A backslash would change them: there, a blank, which
LaTeX does not see, parts what must not stand together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

CLOSERS = {r"\(": r"\)", r"\[": r"\]"}
OPENER = re.compile(r"\\[(\[]")
# After an even number of backslashes: the next one would not escape it already.
LIVE = re.compile(r"(?<!\\)((?:\\\\)*)(<(?=[A-Za-z/!?])|!(?=\[)|\](?=[(\[:]))")
LIVE_IN_FORMULA = re.compile(r"<(?=[A-Za-z/!?])|!(?=\[)|\](?=[(\[:])")
BOLD = re.compile(r"\*\*(?=\S)([^*\n]+)(?<=\S)\*\*")
SPACING = re.compile(r"</?center>", re.IGNORECASE)
BREAK = re.compile(r"<br\s{0,3}/?>", re.IGNORECASE)

MARKER = re.compile(r"(?:[-*+•·]|\d{1,9}[.)])[ \t]+(?=\S)")
STARTS_BLOCK = re.compile(r"#{1,6}(?=\s|\Z)|>|[`~]{3}|={1,}(?=\s*\Z)|-{1,}(?=\s*\Z)|[*_](?=(?:[ \t]*[*_])+\s*\Z)")


def formulas(text: str) -> Iterator[tuple[str, bool]]:
    """A text cut into (part, whether it is a formula); one that is never closed is none."""
    start, hopeless = 0, set[str]()
    for opener in OPENER.finditer(text):
        closer = CLOSERS[opener[0]]
        if opener.start() < start or closer in hopeless or _escaped(text, opener.start()):
            continue
        end = text.find(closer, opener.end())
        if end < 0:
            hopeless.add(closer)
            continue
        yield text[start : opener.start()], False
        yield text[opener.start() : end + 2], True
        start = end + 2
    yield text[start:], False


def _escaped(text: str, at: int) -> bool:
    return at > 0 and text[at - 1] == "\\" and not (at > 1 and text[at - 2] == "\\")


def clean(text: str) -> str:
    """A text without what only places it, every line without blanks at its end."""
    text = BREAK.sub("\n", SPACING.sub("", text))
    return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")


def plain(text: str) -> str:
    """A cleaned text without the marks of bold print, for reading without markdown."""
    return BOLD.sub(r"\1", text).strip()


def harmless(text: str) -> str:
    """A text whose markdown can make neither HTML nor links nor images."""
    return "".join(_formula(part) if is_formula else LIVE.sub(r"\1\\\2", part) for part, is_formula in formulas(text))


def _formula(text: str) -> str:
    return LIVE_IN_FORMULA.sub(r"\g<0> ", " ".join(text.split()))


def paragraph(text: str) -> str:
    """The markdown of a cleaned text that is neither heading nor code: lists stay, other lines end where they did."""
    out: list[str] = []
    gap = False
    for line in harmless(text).split("\n"):
        bare = line.strip()
        if bare:
            listed = MARKER.match(bare)
            if out:
                out.append("\n\n" if gap else "\n" if listed else "  \n")
            indent = min(len(line) - len(line.lstrip()), 12) if listed and out else 0
            out.append(" " * indent + (_entry(bare, listed) if listed else _started(bare)))
        gap = not bare
    return "".join(out)


def _entry(line: str, marker: re.Match[str]) -> str:
    sign = "-" if line[0] in "•·" else marker[0].strip()
    return f"{sign} {_started(line[marker.end() :])}"


def _started(line: str) -> str:
    """A line that does not begin like a heading, a quotation, a rule or code."""
    return f"\\{line}" if STARTS_BLOCK.match(line) else line


def only_lists(text: str) -> bool:
    """Whether every line of a text begins with the mark of a list entry."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return bool(lines) and all(MARKER.match(line) for line in lines)


def heading(text: str, level: int) -> str:
    """A heading on one line."""
    return f"{'#' * level} {' '.join(harmless(text).split())}"


def code(text: str) -> str:
    """Text as it is, in a fence longer than any inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
