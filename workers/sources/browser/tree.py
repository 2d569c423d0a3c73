"""A document of a snapshot as nodes with their layout: what DOMSnapshot tells in columns, read by row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

STYLES = (
    "display",
    "visibility",
    "opacity",
    "overflow-x",
    "overflow-y",
    "position",
    "transform",
    "clip",
    "clip-path",
    "-webkit-text-fill-color",
    "background-clip",
    "border-left-width",
    "border-top-width",
    "border-right-width",
    "border-bottom-width",
    "padding-left",
    "padding-top",
    "padding-right",
    "padding-bottom",
    "white-space-collapse",
)
"""The computed styles that a snapshot is asked for."""
_BREAKS = re.compile(r"[\t\n\r]")
_COLUMN = {name: number for number, name in enumerate(STYLES)}


@dataclass(frozen=True, slots=True)
class Rect:
    """In CSS pixels; nothing when right or bottom are not beyond left or top."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return max(0.0, self.right - self.left)

    @property
    def height(self) -> float:
        return max(0.0, self.bottom - self.top)

    def cut(self, other: Rect) -> Rect:
        """What lies in both."""
        return Rect(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a document. `bounds` is None when it has no layout; a text's styles are those of its element."""

    number: int
    parent: int
    name: str
    is_text: bool
    bounds: Rect | None
    offset: tuple[float, float] | None
    styles: tuple[str, ...]

    def style(self, name: str) -> str:
        return self.styles[_COLUMN[name]] if self.styles else ""

    def _pixels(self, *names: str) -> list[float]:
        return [float(self.style(name).removesuffix("px") or 0) for name in names]

    @property
    def keeps_breaks(self) -> bool:
        """Whether a line break in the source is one on the screen."""
        return self.name == "BR" or self.style("white-space-collapse") in (
            "preserve",
            "preserve-breaks",
            "break-spaces",
        )

    @property
    def scale(self) -> tuple[float, float]:
        """How much larger a transformed box is than its layout has it."""
        if self.bounds is None or not self.offset or not all(self.offset):
            return 1, 1
        return self.bounds.width / self.offset[0], self.bounds.height / self.offset[1]

    def content(self) -> Rect:
        """The bounds less borders and padding."""
        assert self.bounds is not None
        left, top, right, bottom = (
            sum(self._pixels(f"border-{side}-width", f"padding-{side}")) for side in ("left", "top", "right", "bottom")
        )
        (scale_x, scale_y), bounds = self.scale, self.bounds
        return Rect(
            bounds.left + left * scale_x,
            bounds.top + top * scale_y,
            bounds.right - right * scale_x,
            bounds.bottom - bottom * scale_y,
        )


class Document:
    """The columns of one document."""

    def __init__(self, document: dict[str, Any], strings: list[str]) -> None:
        self._nodes, self._layout, self._strings = document["nodes"], document["layout"], strings
        self.scroll = (document.get("scrollOffsetX", 0), document.get("scrollOffsetY", 0))
        self._layout_of: dict[int, int] = {}
        for number, node in enumerate(self._layout["nodeIndex"]):
            self._layout_of.setdefault(node, number)
        self._boxes_of: dict[int, list[int]] = {}
        for number, layout in enumerate(document["textBoxes"]["layoutIndex"]):
            self._boxes_of.setdefault(self._layout["nodeIndex"][layout], []).append(number)
        self._text_boxes = document["textBoxes"]
        self._contents = self._rare("contentDocumentIndex")

    def _rare(self, name: str) -> dict[int, int]:
        column = self._nodes.get(name, {"index": []})
        return dict(zip(column["index"], column.get("value", [1] * len(column["index"])), strict=True))

    def text_of(self, number: int) -> str:
        """One of the snapshot's strings."""
        return self._strings[number] if number >= 0 else ""

    def rare_text(self, name: str) -> dict[int, str]:
        """A column that few nodes have, such as the value of an input."""
        return {node: self.text_of(value) for node, value in self._rare(name).items()}

    def selected(self) -> dict[int, str]:
        """The texts of the chosen options by their select, whose list is closed."""
        parents = self._nodes["parentIndex"]
        chosen = set(self._nodes.get("optionSelected", {"index": []})["index"])
        found: dict[int, str] = {}
        for number, parent in enumerate(parents):
            if parent not in chosen or self._nodes["nodeType"][number] != 3:
                continue
            select = parents[parent]
            if self.text_of(self._nodes["nodeName"][select]) == "OPTGROUP":
                select = parents[select]
            found.setdefault(select, self.text_of(self._nodes["nodeValue"][number]).strip())
        return found

    def nodes(self) -> Iterator[Node]:
        """All nodes, each behind its parent."""
        parents, names, kinds = self._nodes["parentIndex"], self._nodes["nodeName"], self._nodes["nodeType"]
        for number, (parent, name, kind) in enumerate(zip(parents, names, kinds, strict=True)):
            bounds, offset, styles = self._of_layout(self._layout_of.get(number))
            yield Node(number, parent, self.text_of(name), kind == 3, bounds, offset, styles)

    def _of_layout(self, number: int | None) -> tuple[Rect | None, tuple[float, float] | None, tuple[str, ...]]:
        if number is None:
            return None, None, ()
        x, y, width, height = self._layout["bounds"][number]
        offset = self._layout.get("offsetRects", [])[number] if self._layout.get("offsetRects") else []
        styles = tuple(self.text_of(style) for style in self._layout["styles"][number])
        return Rect(x, y, x + width, y + height), (offset[2], offset[3]) if len(offset) == 4 else None, styles

    def content_of(self, node: Node) -> int | None:
        """The number of the document that a frame shows."""
        return self._contents.get(node.number)

    def value(self, node: Node) -> str:
        """The characters of a text node, as the source has them."""
        return self.text_of(self._nodes["nodeValue"][node.number])

    def attribute(self, node: Node, name: str) -> str:
        pairs = self._nodes["attributes"][node.number]
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if self.text_of(key) == name:
                return self.text_of(value)
        return ""

    def boxes(self, node: Node) -> list[tuple[str, str, Rect]]:
        """The lines of a text node, as shown: what the layout left out before each, its text, where it stands."""
        found, end = [], 0
        for number in self._boxes_of.get(node.number, ()):
            text = self.text_of(self._layout["text"][self._text_boxes["layoutIndex"][number]])
            start, length = self._text_boxes["start"][number], self._text_boxes["length"][number]
            x, y, width, height = self._text_boxes["bounds"][number]
            gap = _units(text, end, start - end) if start > end else ""
            line = _units(text, start, length)
            if not node.keeps_breaks:
                line = _BREAKS.sub(" ", line)
            found.append((gap, line, Rect(x, y, x + width, y + height)))
            end = start + length
        return found

    def rest(self, node: Node) -> str:
        """What the layout left out behind the last line of a text node."""
        if not (numbers := self._boxes_of.get(node.number)):
            return self.value(node) if node.is_text else ""
        text = self.text_of(self._layout["text"][self._text_boxes["layoutIndex"][numbers[-1]]])
        end = self._text_boxes["start"][numbers[-1]] + self._text_boxes["length"][numbers[-1]]
        return _units(text, end, len(text) * 2)


def _units(text: str, start: int, length: int) -> str:
    """A part of a text whose place is given in UTF-16 units."""
    if text.isascii():
        return text[start : start + length]
    units = text.encode("utf-16-le", "surrogatepass")
    return units[start * 2 : (start + length) * 2].decode("utf-16-le", "replace")
