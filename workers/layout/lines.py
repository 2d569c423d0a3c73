"""A line of text on an upright page, and the measures that the rest of the layout is built on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol, TypeVar

from workers.layout.words import letters_reach


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the upright page; x2 and y2 lie just outside."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def width(self) -> float:
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        return self.y2 - self.y1

    @property
    def middle(self) -> tuple[float, float]:
        return (self.x1 + self.x2) / 2, (self.y1 + self.y2) / 2

    def overlap_x(self, other: Box) -> float:
        """Pixels that both cover, left to right; negative: the gap between them."""
        return min(self.x2, other.x2) - max(self.x1, other.x1)

    def overlap_y(self, other: Box) -> float:
        """Pixels that both cover, top to bottom; negative: the gap between them."""
        return min(self.y2, other.y2) - max(self.y1, other.y1)

    def holds(self, other: Box) -> bool:
        """Whether the middle of another box lies inside."""
        x, y = other.middle
        return self.x1 <= x <= self.x2 and self.y1 <= y <= self.y2


@dataclass(frozen=True)
class Line:
    """What was read in one box, or in a part of it.

    `places` are the middles of the characters, `gaps` the stretches without ink, both in pixels of the page, left to
    right; `size` is that of the type, in pixels, and `weight` the width of its strokes in ems. Lines that were not
    read from an image may have none of these.
    """

    box: Box
    text: str
    score: float = 1.0
    places: tuple[float, ...] = ()
    gaps: tuple[tuple[float, float], ...] = ()
    size: float | None = None
    weight: float = 0.0

    @property
    def em(self) -> float:
        """The size of the type, in pixels; where nobody measured it, a box is about a quarter higher."""
        return self.size or self.box.height / 1.25


def baseline(line: Line) -> float:
    """The y of the line that letters stand on: the middle of a box depends on which of them there are."""
    over, under = letters_reach(line.text)
    return line.box.middle[1] + (over - under) / 2 * line.em


def step(above: Line, below: Line) -> float:
    """How far two lines stand apart, in pixels: of one type, from baseline to baseline."""
    if max(above.em, below.em) < 1.2 * min(above.em, below.em):
        return baseline(below) - baseline(above)
    return below.box.middle[1] - above.box.middle[1]


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box around boxes; raises ValueError for none."""
    return Box(
        min(box.x1 for box in boxes),
        min(box.y1 for box in boxes),
        max(box.x2 for box in boxes),
        max(box.y2 for box in boxes),
    )


def usual_em(lines: Sequence[Line]) -> float:
    """The type size of most of the text, in pixels; long lines count for more."""
    return median(em for line in lines for em in [line.em] * (1 + len(line.text) // 20))


class Boxed(Protocol):
    """Anything that has a box."""

    @property
    def box(self) -> Box: ...


Some = TypeVar("Some", bound=Boxed)


def in_rows(pieces: Sequence[Some]) -> list[list[Some]]:
    """What stands beside each other, as rows from the top, each from the left."""
    rows: list[list[Some]] = []
    for piece in sorted(pieces, key=lambda piece: piece.box.middle[1]):
        row = next((row for row in reversed(rows[-4:]) if _beside(row, piece)), None)
        if row is None:
            rows.append([piece])
        else:
            row.append(piece)
    return [sorted(row, key=lambda piece: piece.box.x1) for row in rows]


def layers(pieces: Sequence[Some]) -> list[list[Some]]:
    """What no level line parts, as layers from the top, each from the left; without the margins of lines' boxes."""
    found: list[list[Some]] = []
    bottom = float("-inf")
    for piece in sorted(pieces, key=lambda piece: core(piece)[0]):
        low, high = core(piece)
        if low < bottom:
            found[-1].append(piece)
        else:
            found.append([piece])
        bottom = max(bottom, high)
    return [sorted(layer, key=lambda piece: piece.box.x1) for layer in found]


def core(piece: Boxed) -> tuple[float, float]:
    """From where to where a piece reaches, top to bottom; the boxes of lines are higher than their letters."""
    margin = 0.2 * piece.box.height if isinstance(piece, Line) else 0.0
    return piece.box.y1 + margin, piece.box.y2 - margin


def _beside(row: Sequence[Boxed], new: Boxed) -> bool:
    return all(
        new.box.overlap_y(other.box) > 0.5 * min(new.box.height, other.box.height)
        and new.box.overlap_x(other.box) < 0.5 * min(new.box.width, other.box.width)
        for other in row
    )


def split_at(line: Line, cuts: Sequence[tuple[float, float]]) -> list[Line]:
    """Cut a line in two or more at the stretches given, between the characters on either side of each."""
    parts: list[Line] = []
    start, left = 0, line.box.x1
    for low, high in cuts:
        middle = (low + high) / 2
        end = start + sum(place < middle for place in line.places[start:])
        parts += _part(line, start, end, left, low)
        start, left = end, high
    return parts + _part(line, start, len(line.text), left, line.box.x2)


def _part(line: Line, start: int, end: int, left: float, right: float) -> list[Line]:
    text = line.text[start:end]
    if not text.strip() or right <= left:
        return []
    box = Box(left, line.box.y1, right, line.box.y2)
    before = len(text) - len(text.lstrip())
    places = line.places[start + before : start + len(text.rstrip())]
    gaps = tuple(gap for gap in line.gaps if left <= gap[0] and gap[1] <= right)
    return [Line(box, text.strip(), line.score, places, gaps, line.size, line.weight)]
