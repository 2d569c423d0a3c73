"""Visible text as `innerText` gives it: blocks on lines of their own, cells behind tabs, spaces collapsed.

Unlike `innerText` it has what the layout generates (list markers, `::before`), since that is seen as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.sources.browser.tree import Node

BLOCKS = frozenset(
    ("block", "flex", "grid", "list-item", "table", "flow-root", "table-caption", "table-row", "table-row-group")
) | {"table-header-group", "table-footer-group", "-webkit-box"}


@dataclass
class _Open:
    """A node that has begun; `breaks`: the line breaks it wants before and behind itself; `cells`: of a row, so far."""

    number: int
    breaks: int
    cells: int = 0


class Lines:
    """Takes nodes and their text in order."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._open: list[_Open] = []
        self._breaks = 0
        self._tab = self._space = False

    def begin(self) -> None:
        """What follows is a document inside the last node."""
        self._open.append(_Open(-1, 1))
        self._want(1)

    def end(self) -> None:
        """That document is over."""
        while self._open.pop().number != -1:
            pass
        self._want(1)

    def enter(self, node: Node) -> None:
        """A node begins, and with that those before it end that it does not lie in."""
        while self._open[-1].number not in (node.parent, -1):
            self._want(self._open.pop().breaks)
        display = node.style("display")
        if node.is_text or node.bounds is None:
            breaks = 0
        elif display == "table-cell":
            breaks = 0
            self._open[-1].cells += 1
            self._tab = self._tab or self._open[-1].cells > 1
        else:
            breaks = 0 if display not in BLOCKS else 2 if node.name == "P" else 1
        self._want(breaks)
        self._open.append(_Open(node.number, breaks))

    def gap(self, text: str) -> None:
        """Characters of the source that are not laid out: white space that was collapsed, or ends a line."""
        if text and text.isspace():
            self._space = True

    def add(self, text: str) -> None:
        """Text of the last node, as it is laid out."""
        if not text:
            return
        blank = text.isspace() and "\n" not in text
        if blank:
            self._space = True
            return
        self._parts.append(self._between(text))
        self._parts.append(text)
        self._breaks, self._tab = 0, False
        self._space = False

    def text(self) -> str:
        lines = "".join(self._parts).split("\n")
        return "\n".join(line.rstrip(" ") for line in lines).strip("\n")

    def _want(self, breaks: int) -> None:
        self._breaks = max(self._breaks, breaks)

    def _between(self, text: str) -> str:
        last = self._parts[-1][-1:] if self._parts else "\n"
        if self._breaks:
            ended = len(self._parts[-1]) - len(self._parts[-1].rstrip("\n")) if self._parts else self._breaks
            return "\n" * max(0, self._breaks - ended)
        if self._tab:
            return "\t"
        return " " if self._space and not last.isspace() and not text[0].isspace() else ""
