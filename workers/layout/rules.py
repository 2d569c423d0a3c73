"""Ruled lines: the grids and frames that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from workers.layout.lines import Box

NEAR = 10.0  # pixels that two ends may be apart and still meet
INNER = 0.6  # of the height of a row
HALF = 0.5  # of the rows of a grid
INSET = 5.0  # pixels at both ends by which two sides of one frame never differ


@dataclass(frozen=True)
class Rule:
    """A straight line; `at` is its y and start..end its x when it lies, the other way round when it stands."""

    at: float
    start: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.start


@dataclass(frozen=True)
class Rules:
    """The lying and the standing rules of a page."""

    across: list[Rule] = field(default_factory=list)
    down: list[Rule] = field(default_factory=list)


@dataclass(frozen=True)
class Grid:
    """A ruled table: the edges of its columns and rows, ascending, and the inner edges that are really drawn."""

    xs: tuple[float, ...]
    ys: tuple[float, ...]
    rules: Rules

    @property
    def box(self) -> Box:
        return Box(self.xs[0], self.ys[0], self.xs[-1], self.ys[-1])


def connected(rules: Rules) -> list[Rules]:
    """Rules grouped by touching each other."""
    groups: list[Rules] = []
    for across in rules.across:
        _join(groups, Rules([across], [down for down in rules.down if _meet(across, down)]))
    return groups


def _join(groups: list[Rules], new: Rules) -> None:
    """Add a group, uniting it with those that it shares a standing rule with."""
    same = [group for group in groups if any(down in group.down for down in new.down)]
    for group in same:
        groups.remove(group)
        new = Rules(group.across + new.across, group.down + [down for down in new.down if down not in group.down])
    groups.append(new)


def _meet(across: Rule, down: Rule) -> bool:
    return across.start - NEAR <= down.at <= across.end + NEAR and down.start - NEAR <= across.at <= down.end + NEAR


def grids(rules: Rules) -> list[Grid]:
    """Ruled tables: groups of rules with at least two columns and two rows."""
    found = []
    for group in connected(rules):
        xs, ys = _edges(group.down), _edges(group.across)
        if len(xs) >= 3 and len(ys) >= 3 and _inner(group, xs, ys) > HALF:
            found.append(Grid(xs, ys, group))
    return found


def _inner(rules: Rules, xs: Sequence[float], ys: Sequence[float]) -> float:
    """The share of the rows of a grid that inner edges run along: the cells of a header alone may have such."""
    inner = [rule for rule in rules.down if xs[0] + NEAR < rule.at < xs[-1] - NEAR]
    parted = [
        any(min(rule.end, low) - max(rule.start, high) > INNER * (low - high) for rule in inner)
        for high, low in pairwise(ys)
    ]
    return sum(parted) / len(parted)


def parting(rules: Rules, box: Box) -> list[float]:
    """The y of rules along most of the width of a box, when at least three part it."""
    long = [
        rule.at
        for rule in rules.across
        if box.y1 < rule.at < box.y2 and min(rule.end, box.x2) - max(rule.start, box.x1) > 0.9 * box.width
    ]
    return long if len(long) > 2 else []


def frames(rules: Rules) -> list[Box]:
    """Rectangles drawn around something, without inner rules; also the edges of panels."""
    found = []
    for top in rules.across:
        for bottom in sorted(rules.across, key=lambda rule: rule.at):
            left, right = top.start - bottom.start, bottom.end - top.end
            if bottom.at < top.at + 3 * NEAR or abs(left) + abs(right) > 3 * NEAR:
                continue
            if min(left, right) > INSET or max(left, right) < -INSET:  # one stands in the other
                continue
            if all(_side(rules.down, x, top.at, bottom.at) for x in (top.start, top.end)):
                found.append(Box(min(top.start, bottom.start), top.at, max(top.end, bottom.end), bottom.at))
                break
    return found


def _side(rules: Sequence[Rule], x: float, top: float, bottom: float) -> bool:
    """Whether standing rules near x (corners may be round) fill most of the way from top to bottom."""
    near = [rule for rule in rules if abs(rule.at - x) <= 2 * NEAR]
    filled = sum(max(0.0, min(rule.end, bottom) - max(rule.start, top)) for rule in near)
    return filled > 0.75 * (bottom - top)


def _edges(rules: Sequence[Rule]) -> tuple[float, ...]:
    """The distinct places of rules, ascending."""
    places: list[list[float]] = []
    for at in sorted(rule.at for rule in rules):
        if places and at - places[-1][-1] <= NEAR:
            places[-1].append(at)
        else:
            places.append([at])
    return tuple(sum(near) / len(near) for near in places)
