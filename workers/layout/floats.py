"""What text flows around: a box or a picture at the right, under which the lines of the text get wider."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from workers.layout.bands import Bands
from workers.layout.columns import wraps
from workers.layout.lines import Line
from workers.layout.pieces import Frame, Piece, Row, hull, lines_of, pieces_of

HIGHER = 2.5  # lines
PARAGRAPH = 1.9  # ems from the last line of a paragraph to the first of the next, at least
LEAST = 2  # lines beside it
TALL = 3.0  # ems
WIDTH = 15.0  # ems
NEXT = 2.8  # ems from line to line of text, paragraphs included
SAME_EDGE = 0.5  # ems
SAME_TYPE = 1.12  # of the type size
OVER = 2.0  # ems that a wider line reaches at least into what was beside the text
INDENT = 2.5  # ems
LARGER = 1.12  # of the type size of the text beside it: a quote's
LONGEST_QUOTE = 12  # lines
NEAR = 4  # layers under the band among which one must be wide: the last line of a paragraph is short


def around_aside(
    bands: Bands, rows: list[Row], start: int, end: int
) -> tuple[list[Piece], list[Piece], list[Piece]] | None:
    """What is before an aside that the text of a band flows around, the aside, and what is after it.

    The text may go on beside it along a narrower gutter than the band's.
    """
    for stop in range(end, len(rows) + 1):
        if not bands.gutters(rows[start:stop]):
            return None
        if (aside := floating(bands, rows, start, stop)) is not None:
            text = [piece for piece in pieces_of(rows) if piece not in aside]
            before = over(text, aside)
            return before, aside, [piece for piece in text if piece not in before]
    return None


def floating(bands: Bands, rows: list[Row], start: int, stop: int) -> list[Piece] | None:
    """The pieces at the right of a band, from one row up to another, that its text flows around; None for no such."""
    for left, right, edge in _sides(bands, rows[start:stop]):
        text = lines_of(left)
        if len(text) == len(left) and _boxed(bands.em, text, right, edge, rows[stop:]):
            return right
    return quoted(bands, rows, start, stop)


def quoted(bands: Bands, rows: list[Row], start: int, stop: int) -> list[Piece] | None:
    """The quote in large type at the right of a band that its text flows around; None for no such."""
    for left, right, edge in _sides(bands, rows[start:stop]):
        if _quoted(bands.em, lines_of(left), right, edge, (rows[:start], rows[stop:])):
            return _with_its_end(right, edge, rows[stop:])
    return None


def _sides(bands: Bands, band: list[Row]) -> list[tuple[list[Piece], list[Piece], float]]:
    """What stands at both sides of each gutter of a band, and where the right side begins."""
    pieces = pieces_of(band)
    sides = [
        ([piece for piece in pieces if piece.box.x2 <= low + 1], [p for p in pieces if p.box.x1 >= high - 1], high)
        for low, high in bands.gutters(band)
    ]
    return [side for side in sides if lines_of(side[0]) and side[1]]


def _boxed(em: float, left: Sequence[Line], right: list[Piece], edge: float, under: list[Row]) -> bool:
    """Whether text at the left ends about where something at the right does, and goes on wider under it."""
    box, last = hull(right), max(line.box.y2 for line in left)
    beside = box.height > TALL * em and abs(box.y2 - last) < NEXT * em
    return _is_text(left) and beside and _goes_on(left, edge, under)


def _quoted(
    em: float, left: Sequence[Line], right: list[Piece], edge: float, others: tuple[list[Row], list[Row]]
) -> bool:
    """Whether what stands at the right is a quote in large type, in text that is wider over or under it."""
    quote, box = _lines_in(right), hull(right)
    text = [line for line in left if box.y1 - NEXT * em < line.box.middle[1] < box.y2 + NEXT * em]
    if len(quote) < len(right) or len(quote) > LONGEST_QUOTE or not _is_text(text):
        return False
    if median(line.em for line in quote) < LARGER * median(line.em for line in text):
        return False
    over, under = others
    return any(_wider(text, edge, row) for row in [*over[-NEAR:], *under[:NEAR]])


def _with_its_end(quote: list[Piece], edge: float, under: list[Row]) -> list[Piece]:
    """A quote with the lines of it that stand lower than the text beside it."""
    whole = list(quote)
    for piece in sorted(pieces_of(under[:NEAR]), key=lambda piece: piece.box.y1):
        apart = piece.box.y1 - hull(whole).y2
        if isinstance(piece, Line) and piece.box.x1 >= edge - 1 and apart < piece.em:
            whole.append(piece)
    return whole


def _lines_in(pieces: Sequence[Piece]) -> list[Line]:
    """The lines among pieces, those in frames too."""
    framed = [line for piece in pieces if isinstance(piece, Frame) for line in _lines_in(piece.pieces)]
    return [*lines_of(pieces), *framed]


def _wider(text: Sequence[Line], edge: float, row: Row) -> bool:
    """Whether a row is a line that starts where those of text do, and reaches beyond an edge."""
    line, start, em = row[0], min(line.box.x1 for line in text), median(line.em for line in text)
    return (
        len(row) == 1
        and isinstance(line, Line)
        and max(line.em, em) < SAME_TYPE * min(line.em, em)
        and abs(line.box.x1 - start) < SAME_EDGE * em
        and line.box.x2 > edge + OVER * em
    )


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
        line, above, first = ordered[at], ordered[at - 1], ordered[min(start, len(ordered) - 1)]
        if not isinstance(line, Line) or line.box.y1 < lowest or line.box.x2 > edge:
            break
        if line.box.x1 - first.box.x1 > INDENT * line.em:  # centred, as what is told of a picture
            start = at + 1
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
