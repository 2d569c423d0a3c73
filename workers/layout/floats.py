"""What text flows around: a box or a picture at the right, under which the lines of the text get wider."""

from __future__ import annotations

from collections.abc import Sequence

from workers.layout.bands import Bands
from workers.layout.columns import wraps
from workers.layout.lines import Line
from workers.layout.pieces import Piece, Row, hull, lines_of, pieces_of

HIGHER = 2.5  # lines
PARAGRAPH = 1.9  # ems from the last line of a paragraph to the first of the next, at least
LEAST = 2  # lines beside it
TALL = 3.0  # ems
WIDTH = 15.0  # ems
NEXT = 2.8  # ems from line to line of text, paragraphs included
SAME_EDGE = 0.5  # ems
SAME_TYPE = 1.12  # of the type size
OVER = 2.0  # ems that a wider line reaches at least into what was beside the text
NEAR = 4  # layers under the band among which one must be wide: the last line of a paragraph is short


def floating(bands: Bands, band: list[Row], under: list[Row]) -> list[Piece] | None:
    """The pieces at the right of a band that its text flows around; None when it does not."""
    pieces = pieces_of(band)
    for low, high in bands.gutters(band):
        left = lines_of([piece for piece in pieces if piece.box.x2 <= low + 1])
        right = [piece for piece in pieces if piece.box.x1 >= high - 1]
        if not right or len(left) + len(right) < len(pieces) or not _is_text(left):
            continue
        box, last = hull(right), max(line.box.y2 for line in left)
        beside = box.height > TALL * bands.em and abs(box.y2 - last) < NEXT * bands.em
        if beside and _goes_on(left, high, under):
            return right
    return None


def over(text: Sequence[Piece], aside: Sequence[Piece]) -> list[Piece]:
    """The pieces of text that are read before what it flows around: what starts beside that comes after it.

    A line or two may stand a little higher than it, where a frame or a bar has room for itself.
    """
    top = hull(aside).y1
    ordered = sorted(text, key=lambda piece: piece.box.middle[1])
    count = sum(piece.box.middle[1] < top for piece in ordered)
    lowest, edge = top - HIGHER * (ordered[0].box.height if ordered else 0.0), hull(aside).x1
    start = count
    for at in range(count - 1, 0, -1):
        line, above = ordered[at], ordered[at - 1]
        if not isinstance(line, Line) or line.box.y1 < lowest or line.box.x2 > edge:
            break
        if line.box.middle[1] - above.box.middle[1] > PARAGRAPH * line.em:
            start = at
    return ordered[:start]


def _is_text(lines: Sequence[Line]) -> bool:
    """Whether lines are those of running text, flush at the left."""
    if len(lines) < LEAST or not (len(lines) == LEAST or wraps(lines)):
        return False
    start, em = min(line.box.x1 for line in lines), lines[0].em
    flush = sum(line.box.x1 - start < SAME_EDGE * em for line in lines)
    return 4 * flush >= 3 * len(lines) and max(line.box.x2 for line in lines) - start > WIDTH * em


def _goes_on(text: Sequence[Line], edge: float, under: list[Row]) -> bool:
    """Whether text goes on under itself and gets wider there, beyond an edge."""
    start = min(line.box.x1 for line in text)
    last = max(text, key=lambda line: line.box.y2)
    for row in under[:NEAR]:
        line = row[0]
        if len(row) > 1 or not isinstance(line, Line) or abs(line.box.x1 - start) > SAME_EDGE * line.em:
            return False
        alike = max(line.em, last.em) < SAME_TYPE * min(line.em, last.em)
        if not alike or line.box.middle[1] - last.box.middle[1] > NEXT * line.em:
            return False
        if line.box.x2 > edge + OVER * line.em:
            return True
        last = line
    return False
