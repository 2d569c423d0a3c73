"""Rows of a table that are told apart by their background: their edges are no rules and frame nothing."""

from __future__ import annotations

from collections.abc import Sequence

from workers.layout.lines import Box
from workers.layout.pieces import Piece
from workers.layout.rules import NEAR, Rule, Rules


def stripes(frames: Sequence[Box], pieces: Sequence[Piece], em: float) -> list[Box]:
    """The frames that are striped rows: as wide as another, with rows between the two that keep to their columns."""
    found: list[Box] = []
    for upper in frames:
        for lower in frames:
            as_wide = abs(upper.x1 - lower.x1) + abs(upper.x2 - lower.x2) <= 4 * NEAR
            if as_wide and 0 < lower.y1 - upper.y2 < 3 * max(upper.height, lower.height):
                between = Box(upper.x1, upper.y2, upper.x2, lower.y1)
                inside, outside = ([piece for piece in pieces if box.holds(piece.box)] for box in (upper, between))
                if columns_of_both(inside, outside, em) >= 2:
                    found += [box for box in (upper, lower) if box not in found]
    return found


def columns_of_both(some: Sequence[Piece], others: Sequence[Piece], em: float) -> int:
    """How many columns, by their left edges, their right ones or their middles, pieces of both stand in."""

    def places(pieces: Sequence[Piece]) -> list[list[float]]:
        boxes = [piece.box for piece in pieces]
        return [[box.x1 for box in boxes], [box.x2 for box in boxes], [box.middle[0] for box in boxes]]

    return max(_shared(*both, em) for both in zip(places(some), places(others), strict=True))


def _shared(edges: Sequence[float], others: Sequence[float], em: float) -> int:
    """How many edges have one of the others at the same place; those at one place count once."""
    count, last = 0, float("-inf")
    for edge in sorted(edges):
        if edge - last > em and any(abs(edge - other) < 0.5 * em for other in others):
            count, last = count + 1, edge
    return count


def without(rules: Rules, boxes: Sequence[Box]) -> Rules:
    """Rules that are not edges of these boxes, but for the upper edge of the first and the lower of the last."""
    top, bottom = min((box.y1 for box in boxes), default=0.0), max((box.y2 for box in boxes), default=0.0)

    def edge(rule: Rule, low: float, high: float) -> bool:
        return abs(rule.at - low) <= NEAR or abs(rule.at - high) <= NEAR

    def side(rule: Rule, box: Box) -> bool:
        return edge(rule, box.x1, box.x2) and box.y1 - NEAR <= rule.start and rule.end <= box.y2 + NEAR

    across = [
        rule for rule in rules.across if edge(rule, top, bottom) or not any(edge(rule, box.y1, box.y2) for box in boxes)
    ]
    down = [rule for rule in rules.down if not any(side(rule, box) for box in boxes)]
    return Rules(across, down)
