"""What stands side by side: running text, lists and addresses of their own, or the rows of a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

from workers.layout.lines import Box, Line, around, in_rows
from workers.layout.tables import SAME_ROW, Span, column_of, continued
from workers.layout.words import MARKER, labelled, numeric

FAR = 8.0  # ems: wider than the columns of most tables stand apart
PIECES = 2.5  # ems: wider than the spaces of a line set flush in a narrow column
LONGEST_ADDRESS = 8  # rows
WORDS = 4  # in a line of running text
FACT = re.compile(r"^[^\d:：]{2,30}(?:[:：]\s*\S|\s\S*\d\S*$)")  # a label with its value
PARAGRAPH = 1.6  # ems from the last line of one to the first of the next, at least


def beside(rows: Sequence[Sequence[Line]], gutters: Sequence[Span], em: float) -> float | None:
    """Where two things only happen to stand beside each other, as an address and what is told of an order do.

    The gutter between them is far wider than any other and leads from no label and to no number. Without other gutters
    the left side is like an address, and the right one too, or one ends before the other; with them, one side ends
    before the other or the right one has labels of its own.
    """
    *narrow, widest = sorted(gutters, key=lambda gutter: gutter[1] - gutter[0]) or [(0.0, 0.0)]
    width, middle = widest[1] - widest[0], (widest[0] + widest[1]) / 2
    if len(rows) < 3 or width < FAR * em or any(width < 2 * (high - low) for low, high in narrow):
        return None
    before = [[line for line in row if line.box.x1 < middle][-1:] for row in rows]
    after = [[line for line in row if line.box.x1 > middle][:1] for row in rows]
    left, right = ([line.text for side in sides for line in side] for sides in (before, after))
    if _most(left, labelled) or _most(left, numeric) or sum(map(numeric, right)) > 1 or min(len(left), len(right)) < 2:
        return None
    uneven = not (before[-1] and after[-1])
    if not narrow:
        return middle if _like_address(left) and (_like_address(right) or uneven) else None
    return middle if uneven or _most(right, labelled) else None


def strip(rows: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The columns of two rows that are read one after the other; none when they are not.

    They are labels with a value under each, flush with it, or two names far apart with what their bearers are.
    """
    if len(rows) != 2 or len(rows[0]) != len(rows[1]) or any(_marked(line.text) for line in rows[0]):
        return []
    columns = [list(column) for column in zip(*rows, strict=True)]
    if any(abs(over.box.x1 - under.box.x1) > 0.4 * over.em for over, under in columns):
        return []
    apart = around([line.box for line in columns[-1]]).x1 - around([line.box for line in columns[0]]).x2
    names = len(columns) == 2 and apart > FAR * rows[0][0].em and not any(labelled(line.text) for line in rows[0])
    marked = [_marked(line.text) for line in rows[1]]
    return columns if all(marked) or (names and not any(marked)) else []


def separate(
    columns: Sequence[Sequence[Line]], rows: Sequence[Sequence[Line]], spans: Sequence[Span]
) -> list[Sequence[Sequence[Line]]]:
    """Columns that only stand side by side, those of one block together: addresses, facts, the links of a footer.

    None for a table. Blocks are short; one is like an address or tells facts, another too, or has labels with their
    values beside them. Other lists have no numbers and no labels; each has an entry in every row until it ends, and
    some end well before others: a table has empty cells anywhere.
    """
    texts = [[line.text for line in column] for column in columns]
    if min(map(len, texts)) < 2:
        return []
    if 3 <= len(rows) <= LONGEST_ADDRESS and (blocks := _blocks(columns)):
        return [[columns[at] for at in block] for block in blocks]
    if any(sum(map(numeric, some)) > 1 or _most(some, labelled) for some in texts):
        return []
    wrapped = [goes_on and any(line.text[:1].islower() for line in row) for goes_on, row in _with_goes_on(rows, spans)]
    filled = [{column_of(line.box, spans) for line in row} for row, more in zip(rows, wrapped, strict=True) if not more]
    if any(not below <= above for above, below in pairwise(filled)):
        return []
    uneven = sum(len(spans) - len(row) for row in filled) >= 2
    return [[column] for column in columns] if uneven else []


def _blocks(columns: Sequence[Sequence[Line]]) -> list[list[int]]:
    """Which columns make a block each; none when they are those of a table."""
    texts = [[line.text for line in column] for column in columns]
    blocks: list[list[int]] = []
    own, at = 0, 0
    while at < len(texts):
        pair = at + 1 < len(texts) and _labels(columns[at], columns[at + 1])
        alone = _like_address(texts[at]) or _most(texts[at], lambda text: bool(FACT.match(text)))
        if not pair and (sum(map(numeric, texts[at])) > 1 or _most(texts[at], labelled)):
            return []
        own += alone and not pair
        blocks.append([at, at + 1] if pair else [at])
        at += 2 if pair else 1
    pairs = sum(len(block) > 1 for block in blocks)
    return blocks if own and own + pairs > 1 else []


def _labels(left: Sequence[Line], right: Sequence[Line]) -> bool:
    """Whether one column has labels, wrapped perhaps, and the next a value beside each, from the first on.

    No header stands over them.
    """
    values = [line.text for line in right]
    return (
        len(left) >= len(right)
        and aligned_share([left, right], 0.5) == 1.0
        and abs(left[0].box.middle[1] - right[0].box.middle[1]) < left[0].em
        and not any(_marked(line.text) for line in left)
        and _marked(values[0])
        and 2 * sum(map(_marked, values)) > len(values)
    )


def _marked(text: str) -> bool:
    return any(character.isdigit() or character == "@" for character in text)


def _with_goes_on(rows: Sequence[Sequence[Line]], spans: Sequence[Span]) -> list[tuple[bool, Sequence[Line]]]:
    return list(zip(continued(rows, spans), rows, strict=True))


def _like_address(texts: Sequence[str]) -> bool:
    """Whether some lines have digits or are mail addresses, and some are not."""
    return 1 <= 4 * sum(map(_marked, texts)) / len(texts) <= 3


def _most(texts: Sequence[str], like: Callable[[str], bool]) -> bool:
    return 2 * sum(map(like, texts)) >= len(texts)


def aligned_share(columns: Sequence[Sequence[Line]], within: float = 0.3) -> float:
    """The share of lines that stand on the height of a line in another column, without the fullest column.

    `within`: how far the middles of two lines on one height may lie apart, in ems.
    """
    ordered = sorted(columns, key=len)
    shares: list[bool] = []
    for at, column in enumerate(ordered[:-1]):
        others = [line for other in ordered[at + 1 :] for line in other]
        for line in column:
            shares.append(any(abs(line.box.middle[1] - other.box.middle[1]) < within * line.em for other in others))
    return sum(shares) / len(shares) if shares else 0.0


def wraps(column: Sequence[Line]) -> bool:
    """Whether the rows of a column run on like the lines of a paragraph; lines set flush may have come in pieces."""
    rows = in_rows(column)
    if len(rows) < 3:
        return False
    boxes = [around([line.box for line in row]) for row in rows]
    em, width = median(line.em for line in column), around(boxes).width
    if width < 6 * em or sum(numeric(line.text) for line in column) > 0.3 * len(column):
        return False
    whole = [all(right.box.x1 - left.box.x2 < PIECES * em for left, right in pairwise(row)) for row in rows]
    full = sum(box.width > 0.7 * width and one for box, one in zip(boxes[:-1], whole, strict=False)) / (len(rows) - 1)
    lower = sum(row[0].text[:1].islower() for row in rows[1:]) / (len(rows) - 1)
    return full >= 0.5 and (lower >= 0.35 or (full >= 0.7 and width > 12 * em))


def runs_on(column: Sequence[Line]) -> bool:
    """Whether the rows of a column, after its title, are long and most of them go on with the one above."""
    rows = in_rows(column)[1:]
    if len(rows) < 2 or sum(len(line.text.split()) for row in rows for line in row) < WORDS * len(rows):
        return False
    widest = max(around([line.box for line in row]).width for row in rows)
    goes_on = sum(
        below[0].text[:1].islower() or around([line.box for line in above]).width > 0.9 * widest
        for above, below in pairwise(rows)
    )
    return 2 * goes_on >= len(rows) - 1


def listed(column: Sequence[Line]) -> bool:
    """Whether a column has the entries of a list."""
    return sum(bool(MARKER.match(line.text)) and not numeric(line.text) for line in column) >= 2


def _over_header(rows: Sequence[Sequence[Line]], pitches: Sequence[float], at: int, em: float) -> bool:
    """Whether rows up to one stand off over the first row of a table: that has all cells, none of them has."""
    most = max(len(row) for row in rows)
    if any(pitch < SAME_ROW * em for pitch in pitches[:at]):  # a wrapped header beside which the others are centred
        return False
    full = len(rows[at + 1]) == most > 2 and at + 1 < len(pitches)
    return full and all(len(row) < most for row in rows[: at + 1]) and pitches[at] > pitches[at + 1] + 0.4 * em


def _without_what_goes_on(rows: list[list[Line]], em: float) -> list[list[list[Line]]]:
    """Rows, cut at a gap between paragraphs under which one column goes on alone, as a second address under a first."""
    boxes = [around([line.box for line in row]) for row in rows]
    pitches = [below.middle[1] - above.middle[1] for above, below in pairwise(boxes)]
    for at in range(1, len(rows)):
        if pitches[at - 1] < max(1.5 * sorted(pitches)[len(pitches) // 4], PARAGRAPH * em) or any(
            len(row) > 1 for row in rows[at:]
        ):
            continue
        under = around(boxes[at:])
        if any(line.box.x1 > under.x2 or line.box.x2 < under.x1 for row in rows[:at] for line in row):
            return [rows[:at], rows[at:]]
    return [rows]


def _clear(boxes: Sequence[Box], at: int) -> bool:
    """Whether nothing stands beside a row, as larger type does that counts to the row over or under it."""
    near = [*boxes[max(at - 1, 0) : at], *boxes[at + 1 : at + 2]]
    return all(boxes[at].overlap_y(box) < 0.5 * boxes[at].height for box in near)


def runs(rows: list[list[Line]], em: float, large: float) -> list[list[list[Line]]]:
    """Rows cut where two stand much further apart than the others do, and around headings alone in their rows."""
    boxes = [around([line.box for line in row]) for row in rows]
    pitches = [below.middle[1] - above.middle[1] for above, below in pairwise(boxes)]
    if not pitches:
        return [rows]
    usual = sorted(pitches)[int(0.75 * (len(pitches) - 1))]
    headings = [len(row) == 1 and row[0].em > large and _clear(boxes, at) for at, row in enumerate(rows)]
    found, start = [], 0
    for at, pitch in enumerate(pitches):
        far = pitch > 1.7 * usual and pitch > usual + em
        cut = far or headings[at] != headings[at + 1] or _over_header(rows[start:], pitches[start:], at - start, em)
        if cut:
            found.append(rows[start : at + 1])
            start = at + 1
    return [part for run in [*found, rows[start:]] for part in _without_what_goes_on(run, em)]
