"""Lines that the detector took for one, cut into what stands beside each other in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median

from workers.layout.lines import Box, Line, around, split_at

TOO_WIDE = 0.75  # of an em: the widest space between two words
FARTHEST = 4.0  # of an em: the widest between words that the detector tells apart
STRETCHED = 2.5  # of an em: the widest in a line that was stretched to the width of its column
WIDE_SPACE = 1.6  # of the usual step from letter to letter
AROUND = 5.0  # ems from a line to those that are looked at beside it, three above and three below
FLUSH = 0.7  # of an em
SAME_TYPE = 1.25  # of the type size
ALIGNED = 0.3  # of an em
INDENT = 3.0  # ems
LONG_WORD = 15  # letters
REACH = 1.2  # ems from the end of a line that runs over a gutter to the next column

Gap = tuple[float, float]


def joined_again(lines: Sequence[Line]) -> list[Line]:
    """Lines, those put together that the detector took for several because their spaces are stretched so wide.

    Together they reach from edge to edge of a line near them that is in one piece.
    """
    whole: list[Line] = []
    rest = sorted(lines, key=lambda line: line.box.x1)
    while rest:
        chain = [rest.pop(0)]
        while (following := _right_of(chain[-1], rest)) is not None:
            chain.append(following)
        length = next((length for length in range(len(chain), 1, -1) if _one(chain[:length], lines)), 1)
        whole.append(_put_together(chain[:length]) if length > 1 else chain[0])
        rest = [line for line in rest if line not in chain[1:length]]
    return whole


def _right_of(line: Line, others: Sequence[Line]) -> Line | None:
    """The nearest of the others, from the left, that a space may part from a line."""
    for other in others:
        apart = other.box.x1 - line.box.x2
        if 0 < apart < FARTHEST * line.em and other.box.overlap_y(line.box) > 0.5 * line.box.height:
            return other
    return None


def _one(parts: Sequence[Line], lines: Sequence[Line]) -> bool:
    """Whether parts that stand in a row are one justified line, and not lines of columns beside each other."""
    whole = around([part.box for part in parts])
    return (
        _flush(whole, parts[0].em, lines) > 0
        and not any(_flush(part.box, part.em, lines) > 1 for part in (parts[0], parts[-1]))
        and not any(_starts(part, lines) > 1 for part in parts[1:])
    )


def _starts(line: Line, lines: Sequence[Line]) -> int:
    """How many of the lines near a line start where it does, as those of a column."""
    away = ((abs(line.box.middle[1] - other.box.middle[1]), abs(line.box.x1 - other.box.x1)) for other in lines)
    return sum(0.5 * line.em < down < AROUND * line.em and across < FLUSH * line.em for down, across in away)


def _flush(box: Box, em: float, lines: Sequence[Line]) -> int:
    """How many of the lines near a box it reaches along, from edge to edge."""
    return sum(
        0.5 * em < abs(box.middle[1] - other.box.middle[1]) < AROUND * em
        and abs(box.x1 - other.box.x1) < FLUSH * em
        and abs(box.x2 - other.box.x2) < FLUSH * em
        and max(em, other.em) < SAME_TYPE * min(em, other.em)
        for other in lines
    )


def _put_together(parts: Sequence[Line]) -> Line:
    places: list[float] = list(parts[0].places)
    gaps: list[Gap] = list(parts[0].gaps)
    for left, right in pairwise(parts):
        between = (left.box.x2, right.box.x1)
        places += [sum(between) / 2, *right.places]
        gaps += [between, *right.gaps]
    known = all(len(part.places) == len(part.text) for part in parts)
    return replace(
        max(parts, key=lambda part: len(part.text)),
        box=around([part.box for part in parts]),
        text=" ".join(part.text for part in parts),
        score=min(part.score for part in parts),
        places=tuple(places) if known else (),
        gaps=tuple(gaps),
    )


def within_columns(lines: Sequence[Line]) -> list[Line]:
    """Lines, those of one word too long for its column cut off at the column's edge: they run over the gutter."""
    return [_within(line, lines) for line in lines]


def _within(line: Line, lines: Sequence[Line]) -> Line:
    if " " in line.text or len(line.text) < LONG_WORD or not line.text.isascii():
        return line
    near = [
        other for other in lines if 0.5 * line.em < abs(line.box.middle[1] - other.box.middle[1]) < AROUND * line.em
    ]
    flush = [other.box.x2 for other in near if abs(line.box.x1 - other.box.x1) < FLUSH * line.em]
    edge = max(flush, default=0.0)
    over = any(edge + FLUSH * line.em < other.box.x1 < line.box.x2 + REACH * line.em for other in near)
    if len(flush) < 3 or edge > line.box.x2 - FLUSH * line.em or not over:
        return line
    return replace(line, box=replace(line.box, x2=edge))


def cut_apart(lines: Sequence[Line]) -> list[Line]:
    """Cut lines at every stretch too wide for a space between words.

    In justified text spaces are wider: there, only a stretch that lines up with those of the lines around is no space.
    """
    return [part for line in lines for part in _parts(line, lines)]


def _parts(line: Line, lines: Sequence[Line]) -> list[Line]:
    wide = wide_gaps(line)
    if any(high - low < STRETCHED * line.em for low, high in wide):
        beside = [other for other in lines if _justified_with(line, other)]
        if beside and len(line.text.split()) > 2:
            wide = [gap for gap in wide if _no_space(gap, line, beside)]
    return split_at(line, wide) if wide else [line]


def wide_gaps(line: Line) -> list[Gap]:
    """The stretches of a line that are wider than the space between words.

    Where all letters are as wide as an m, so are the spaces.
    """
    if len(line.places) != len(line.text):
        return []
    least = TOO_WIDE * line.em
    if line.text.isascii() and len(line.places) > 2:
        letters = pairwise(zip(line.text, line.places, strict=True))
        steps = [after - before for (left, before), (right, after) in letters if " " not in (left, right)]
        least = max(least, WIDE_SPACE * median(steps)) if steps else least
    return [gap for gap in line.gaps if gap[1] - gap[0] > least and line.box.x1 < gap[0] and gap[1] < line.box.x2]


def _justified_with(line: Line, other: Line) -> bool:
    """Whether another line stands near above or below this one, from the same edge to the same edge."""
    away = abs(line.box.middle[1] - other.box.middle[1])
    return (
        0.5 * line.em < away < AROUND * line.em
        and abs(line.box.x2 - other.box.x2) < FLUSH * line.em
        and abs(line.box.x1 - other.box.x1) < INDENT * line.em
    )


def _no_space(gap: Gap, line: Line, beside: Sequence[Line]) -> bool:
    """Whether a gap is too wide for any space, or starts or ends in one line with a gap of all lines around.

    One with nothing before it belongs to what stands there, which the box of the line reaches into.
    """
    before = line.text[: sum(place < gap[0] for place in line.places)]
    if gap[1] - gap[0] >= STRETCHED * line.em or not before.strip():
        return True
    near = ALIGNED * line.em
    return all(
        any(abs(gap[0] - low) < near or abs(gap[1] - high) < near for low, high in other.gaps) for other in beside
    )
