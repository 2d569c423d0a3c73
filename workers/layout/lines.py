"""A line of text on an upright page, and the measures that the rest of the layout is built on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


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

    def holds(self, point: tuple[float, float]) -> bool:
        return self.x1 <= point[0] <= self.x2 and self.y1 <= point[1] <= self.y2


@dataclass(frozen=True)
class Line:
    """What was read in one box. `places`: the middle of each character, in pixels of the page; may be empty."""

    box: Box
    text: str
    score: float = 1.0
    places: tuple[float, ...] = ()


def around(boxes: Sequence[Box]) -> Box:
    """The smallest box around boxes; raises ValueError for none."""
    return Box(
        min(box.x1 for box in boxes),
        min(box.y1 for box in boxes),
        max(box.x2 for box in boxes),
        max(box.y2 for box in boxes),
    )


def line_height(lines: Sequence[Line]) -> float:
    """The height of a usual line, in pixels; long lines count for more."""
    return median(height for line in lines for height in [line.box.height] * (1 + len(line.text) // 20))


def in_rows(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines that stand beside each other, as rows from the top, each from the left."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: line.box.middle[1]):
        row = next((row for row in reversed(rows[-4:]) if _beside(row, line)), None)
        if row is None:
            rows.append([line])
        else:
            row.append(line)
    return [sorted(row, key=lambda line: line.box.x1) for row in rows]


def _beside(row: Sequence[Line], line: Line) -> bool:
    return all(
        line.box.overlap_y(other.box) > 0.5 * min(line.box.height, other.box.height)
        and line.box.overlap_x(other.box) < 0.5 * min(line.box.width, other.box.width)
        for other in row
    )
