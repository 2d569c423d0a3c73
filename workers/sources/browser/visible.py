"""The visible text of a snapshot, with the place of each run: pure, no browser needed.

A snapshot (DOMSnapshot.captureSnapshot) lists the nodes of each document in the order of the flat tree, and of those
that have a layout their bounds and some computed styles, and for each line of text where it stands.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ocr_tasks.contract import Box
from ocr_tasks.errors import storable
from workers.sources.browser.controls import Controls
from workers.sources.browser.harvest import TextRun
from workers.sources.browser.lines import Lines
from workers.sources.browser.tree import STYLES, Document, Node, Rect

__all__ = ["STYLES", "visible"]

SEEN = 0.5
"""Share of a line's height that must be inside of what clips it; less is no text that one could read."""
NOTHING_LEFT = re.compile(
    r"rect\(0px,? 0px,? 0px,? 0px\)|rect\(1px,? 1px,? 1px,? 1px\)|inset\((50|100)%.*\)|circle\(0.*\)"
)
TRANSPARENT = re.compile(r"rgba\(.*, 0\)")
RTL = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")


class Sight(NamedTuple):
    """Through what the descendants of a node are seen: what clips those in the flow, absolute and fixed ones."""

    flow: Rect
    absolute: Rect
    fixed: Rect
    hidden: bool


@dataclass(frozen=True)
class Place:
    """Where a document lies in the page: CSS pixels of its origin there, and how far it is scaled."""

    x: float = 0
    y: float = 0
    scale_x: float = 1
    scale_y: float = 1

    def of(self, rect: Rect) -> Rect:
        x, y = self.x, self.y
        left, top = rect.left * self.scale_x + x, rect.top * self.scale_y + y
        return Rect(left, top, rect.right * self.scale_x + x, rect.bottom * self.scale_y + y)


class Reading:
    """Goes through the documents of a snapshot in order."""

    def __init__(self, snapshot: dict[str, Any], shown: Rect, pixels: float) -> None:
        self._documents = [Document(document, snapshot["strings"]) for document in snapshot["documents"]]
        self._shown, self._pixels = shown, pixels
        self.runs: list[TextRun] = []
        self.lines = Lines()

    def read(self, number: int, place: Place, sight: Rect) -> None:
        """Note what is visible of a document and of those inside it."""
        document = self._documents[number]
        controls = Controls(document)
        sights: dict[int, Sight] = {-1: Sight(sight, sight, sight, hidden=False)}
        self.lines.begin()
        for node in document.nodes():
            seen = sights[node.number] = _sight(node, sights[node.parent], place)
            self.lines.enter(node)
            if seen.hidden or node.bounds is None or node.style("visibility") != "visible":
                self._note_space(document, node, sights[node.parent])
            elif (inner := document.content_of(node)) is not None:
                self._read_frame(inner, node, place, seen.flow)
            elif value := controls.shown(node):
                self._note(node, [(" ", value, node.bounds)], place, seen.flow)
                self.lines.gap(" ")
            else:
                self._note(node, document.boxes(node), place, seen.flow)
                self.lines.gap(document.rest(node))
        self.lines.end()

    def _note_space(self, document: Document, node: Node, above: Sight) -> None:
        """White space between two elements has no layout of its own where a line ends."""
        if node.is_text and node.bounds is None and not above.hidden:
            self.lines.gap(document.value(node))

    def _read_frame(self, number: int, node: Node, place: Place, sight: Rect) -> None:
        inside, content = self._documents[number], place.of(node.content())
        scale_x, scale_y = place.scale_x * node.scale[0], place.scale_y * node.scale[1]
        x, y = content.left - inside.scroll[0] * scale_x, content.top - inside.scroll[1] * scale_y
        self.read(number, Place(x, y, scale_x, scale_y), sight.cut(content))

    def _note(self, node: Node, boxes: list[tuple[str, str, Rect]], place: Place, sight: Rect) -> None:
        """Add what can be seen of the boxes of one text node."""
        last: Rect | None = None
        for gap, text, bounds in boxes:
            whole = place.of(bounds)
            seen = whole.cut(sight).cut(self._shown)
            kept = text if text == "\n" else _seen_part(text, whole, seen)
            self.lines.gap(gap)
            self.lines.add(kept)
            if not kept.strip():
                continue
            run = TextRun(storable(kept), self._box(seen))
            if last is not None and last.top == whole.top and last.bottom == whole.bottom:
                run = _joined(self.runs.pop(), run)  # a line is in several boxes where spaces were collapsed
            self.runs.append(run)
            last = whole

    def _box(self, rect: Rect) -> Box:
        left, top = (math.floor(value * self._pixels + 0.01) for value in (rect.left, rect.top))
        right, bottom = (math.ceil(value * self._pixels - 0.01) for value in (rect.right, rect.bottom))
        return left, top, max(right, left + 1), max(bottom, top + 1)


def visible(snapshot: dict[str, Any], *, width: float, height: float, pixels: float) -> tuple[tuple[TextRun, ...], str]:
    """Runs and text of what a screenshot of `width` x `height` CSS pixels shows, at `pixels` a CSS pixel."""
    shown = Rect(0, 0, width, height)
    reading = Reading(snapshot, shown, pixels)
    reading.read(0, Place(), shown)
    runs = tuple(replace(run, text=run.text.strip()) for run in reading.runs)
    return runs, storable(reading.lines.text())


def _joined(one: TextRun, other: TextRun) -> TextRun:
    (left, top, right, bottom), (left_2, top_2, right_2, bottom_2) = one.box, other.box
    box = (min(left, left_2), min(top, top_2), max(right, right_2), max(bottom, bottom_2))
    return TextRun(one.text + other.text, box)


def _sight(node: Node, above: Sight, place: Place) -> Sight:
    """How a node's descendants are seen, by that of its parent."""
    if node.bounds is None:
        return above
    position, moved = node.style("position"), node.style("transform") not in ("none", "")
    flow = {"absolute": above.absolute, "fixed": above.fixed}.get(position, above.flow)
    hidden = above.hidden or _hides(node)
    clips = node.style("display") not in ("inline", "contents") and node.name not in ("HTML", "BODY")
    inside = place.of(node.bounds)
    if clips and node.style("overflow-x") not in ("visible", ""):
        flow = flow.cut(replace(flow, left=inside.left, right=inside.right))
    if clips and node.style("overflow-y") not in ("visible", ""):
        flow = flow.cut(replace(flow, top=inside.top, bottom=inside.bottom))
    contains = moved or position not in ("static", "")
    return Sight(flow, flow if contains else above.absolute, flow if moved else above.fixed, hidden)


def _hides(node: Node) -> bool:
    if float(node.style("opacity") or 1) < 0.01:
        return True
    if NOTHING_LEFT.fullmatch(node.style("clip-path")):
        return True
    if node.style("position") in ("absolute", "fixed") and NOTHING_LEFT.fullmatch(node.style("clip")):
        return True
    filled = node.style("-webkit-text-fill-color")
    return bool(TRANSPARENT.fullmatch(filled)) and node.style("background-clip") != "text" and node.is_text


def _seen_part(text: str, whole: Rect, seen: Rect) -> str:
    """The characters of a line that can be seen, taken to be equally wide."""
    if whole.width <= 0 or whole.height <= 0 or seen.height < SEEN * whole.height:
        return ""
    share = seen.width / whole.width
    if share > 0.98:
        return text
    before = round((seen.left - whole.left) / whole.width * len(text))
    after = round((whole.right - seen.right) / whole.width * len(text))
    if RTL.search(text):
        before, after = after, before
    return text[before : len(text) - after] if seen.width > 0 else ""
