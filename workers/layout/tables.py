"""Tables: cells from ruled lines, or from columns that line up."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

from workers.layout.lines import Box, Line, around, in_rows, split_at
from workers.layout.pieces import Table
from workers.layout.rules import NEAR, Grid
from workers.layout.words import MARKER, joined, labelled, numeric

Span = tuple[float, float]
HYPHENED = re.compile(r"\w-$")
FAR = 8.0  # ems: wider than the columns of most tables stand apart
PIECES = 2.5  # ems: wider than the spaces of a line set flush in a narrow column
LONGEST_ADDRESS = 8  # rows
SAME_ROW = 1.0  # ems between the middles of rows, below which there is no room for two: a cell set beside a wrapped one


def ruled_table(grid: Grid, lines: Sequence[Line]) -> Table | None:
    """The table in a grid of rules, from the lines inside it; None when most cells are empty frames."""
    cells: list[list[list[Line]]] = [[[] for _ in grid.xs[1:]] for _ in grid.ys[1:]]
    parts = [part for line in lines for part in _split_by(grid, line)]
    for part in parts:
        x, y = part.box.x1 + min(part.em, part.box.width / 2), part.box.middle[1]
        cells[_index(grid.ys, y)][_index(grid.xs, x)].append(part)
    kept_rows = [row for row in cells if any(row)]
    kept = [column for column in range(len(grid.xs) - 1) if any(row[column] for row in kept_rows)]
    if len(kept_rows) < 2 or len(kept) < 2:
        return None
    return Table(grid.box, [[cell_text(row[column]) for column in kept] for row in kept_rows], parts)


def _split_by(grid: Grid, line: Line) -> list[Line]:
    """A line in pieces that do not cross a standing rule of the grid."""
    if len(line.places) != len(line.text):
        return [line]
    y = line.box.middle[1]
    crossed = sorted(
        rule.at
        for rule in grid.rules.down
        if rule.start <= y <= rule.end and line.box.x1 + 0.3 * line.em < rule.at < line.box.x2 - 0.3 * line.em
    )
    cuts = [(at - 0.1 * line.em, at + 0.1 * line.em) for at in crossed]
    return split_at(line, cuts) if cuts else [line]


def _index(edges: Sequence[float], at: float) -> int:
    """Which stretch between two edges holds a place; the nearest for one outside."""
    return min(max(sum(edge <= at for edge in edges) - 1, 0), len(edges) - 2)


def cell_text(lines: Sequence[Line]) -> str:
    """The text of a cell, its lines put together; what was wrapped at a hyphen keeps it, and gets no space."""
    text = ""
    for row in in_rows(lines):
        part = joined([line.text for line in row])
        text = text + part if HYPHENED.search(text) and part[:1].isalnum() else joined([text, part])
    return text


def aligned_table(rows: Sequence[Sequence[Line]], columns: Sequence[Span]) -> Table:
    """The table whose cells stand in the columns given (left and right edge each); wrapped cells are put together."""
    cells: list[list[list[Line]]] = []
    for row, belongs in zip(rows, continued(rows, columns), strict=True):
        if not belongs:
            cells.append([[] for _ in columns])
        for line in row:
            cells[-1][column_of(line.box, columns)].append(line)
    lines = [line for row in rows for line in row]
    box = around([line.box for line in lines])
    return Table(box, [[cell_text(cell) for cell in row] for row in cells], lines)


def column_of(box: Box, columns: Sequence[Span]) -> int:
    """The column that a box overlaps most."""
    return max(range(len(columns)), key=lambda at: min(box.x2, columns[at][1]) - max(box.x1, columns[at][0]))


def continued(rows: Sequence[Sequence[Line]], columns: Sequence[Span], sure: int | None = None) -> list[bool]:
    """For each row of lines, whether it goes on with the table row above it; the first `sure` rows are the table's.

    Rows of a table stand further apart than the lines of a wrapped cell; where they do not, a row without a first cell
    goes on with cells that are full to their edge. Rows closer than type is high are one; the boxes around short words
    are too high to tell by.
    """
    if not rows:
        return []
    middles = [median(line.box.middle[1] for line in row) for row in rows]
    pitches = [below - above for above, below in pairwise(middles)]
    inner = pitches[: (sure or len(rows)) - 1]
    near, far = (min(inner), max(inner)) if inner else (0.0, 0.0)
    apart = far > 1.2 * near
    answers, filled = [False], {column_of(line.box, columns) for line in rows[0]}
    for at, row in enumerate(rows[1:]):
        here = {column_of(line.box, columns) for line in row}
        least = (near + far) / 2 if apart else 0.8 * near if at >= len(inner) else float("inf")
        goes_on = pitches[at] < least and here <= filled and len(here) < len(columns)
        if goes_on and (apart or at >= len(inner)) and _hyphened(row, rows[at], columns):
            answers.append(True)
            filled |= here
            continue
        goes_on = goes_on and not any(numeric(line.text) or MARKER.match(line.text) for line in row)
        if not apart and at < len(inner):
            goes_on = goes_on and 0 not in here and all(_full(line, rows[at], columns) for line in row)
        goes_on = goes_on or pitches[at] < SAME_ROW * row[0].em
        answers.append(goes_on)
        filled = filled | here if goes_on else here
    return answers


def _hyphened(row: Sequence[Line], above: Sequence[Line], columns: Sequence[Span]) -> bool:
    """Whether a cell was wrapped at its hyphen, as the number of a part."""
    ended = {column_of(line.box, columns) for line in above if HYPHENED.search(line.text)}
    return any(column_of(line.box, columns) in ended for line in row)


def _full(line: Line, above: Sequence[Line], columns: Sequence[Span]) -> bool:
    """Whether the cell above a line is so full that its next word had to go below."""
    column = column_of(line.box, columns)
    low, high = columns[column]
    return any(column_of(other.box, columns) == column and other.box.width > 0.6 * (high - low) for other in above)


def beside(rows: Sequence[Sequence[Line]], gutters: Sequence[Span], em: float) -> float | None:
    """Where two things only happen to stand beside each other, as an address and what is told of an order do.

    The gutter between them is far wider than any other and leads from no label and to no number. Without other gutters
    both sides are like addresses; with them, one side ends before the other or the right one has labels of its own.
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
    if not narrow:
        return middle if _like_address(left) and _like_address(right) else None
    return middle if not (before[-1] and after[-1]) or _most(right, labelled) else None


def separate(columns: Sequence[Sequence[Line]], rows: Sequence[Sequence[Line]], spans: Sequence[Span]) -> bool:
    """Whether columns are lists that only stand side by side: addresses, or the links of a footer.

    None is of numbers or of labels. Each has an entry in every row until it ends, and some end well before others; a
    table has empty cells anywhere. Or at least two are like addresses.
    """
    texts = [[line.text for line in column] for column in columns]
    if min(map(len, texts)) < 2 or any(sum(map(numeric, some)) > 1 or _most(some, labelled) for some in texts):
        return False
    if 3 <= len(rows) <= LONGEST_ADDRESS and sum(_like_address(some) for some in texts) >= 2:
        return True
    wrapped = [goes_on and any(line.text[:1].islower() for line in row) for goes_on, row in _told(rows, spans)]
    filled = [
        {column_of(line.box, spans) for line in row} for row, more in zip(rows, wrapped, strict=True) if not more
    ]
    if any(not below <= above for above, below in pairwise(filled)):
        return False
    return sum(len(spans) - len(row) for row in filled) >= 2


def _told(rows: Sequence[Sequence[Line]], spans: Sequence[Span]) -> list[tuple[bool, Sequence[Line]]]:
    return list(zip(continued(rows, spans), rows, strict=True))


def _like_address(texts: Sequence[str]) -> bool:
    """Whether some lines have digits and some have none."""
    return 1 <= 4 * sum(any(map(str.isdigit, text)) for text in texts) / len(texts) <= 3


def _most(texts: Sequence[str], like: Callable[[str], bool]) -> bool:
    return 2 * sum(map(like, texts)) >= len(texts)


def aligned_share(columns: Sequence[Sequence[Line]]) -> float:
    """The share of lines that stand on the height of a line in another column, without the fullest column."""
    ordered = sorted(columns, key=len)
    shares: list[bool] = []
    for at, column in enumerate(ordered[:-1]):
        others = [line for other in ordered[at + 1 :] for line in other]
        for line in column:
            shares.append(any(abs(line.box.middle[1] - other.box.middle[1]) < 0.3 * line.em for other in others))
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


def listed(column: Sequence[Line]) -> bool:
    """Whether a column has the entries of a list."""
    return sum(bool(MARKER.match(line.text)) and not numeric(line.text) for line in column) >= 2


def inside(grid: Grid, line: Line) -> bool:
    """Whether a line stands in a grid."""
    box = grid.box
    return Box(box.x1 - NEAR, box.y1 - NEAR, box.x2 + NEAR, box.y2 + NEAR).holds(line.box)


def fits(row: Sequence[Line], spans: Sequence[Span]) -> bool:
    """Whether every cell of a row stands in one column, and reaches no further than a letter out of it."""
    for line in row:
        under = [span for span in spans if min(line.box.x2, span[1]) > max(line.box.x1, span[0])]
        if len(under) != 1 or line.box.x1 < under[0][0] - line.em or line.box.x2 > under[0][1] + line.em:
            return False
    return True


def _over_header(rows: Sequence[Sequence[Line]], pitches: Sequence[float], at: int, em: float) -> bool:
    """Whether rows up to one stand off over the first row of a table: that has all cells, none of them has."""
    most = max(len(row) for row in rows)
    full = len(rows[at + 1]) == most > 2 and at + 1 < len(pitches)
    return full and all(len(row) < most for row in rows[: at + 1]) and pitches[at] > pitches[at + 1] + 0.4 * em


def _without_what_goes_on(rows: list[list[Line]]) -> list[list[list[Line]]]:
    """Rows, cut at a gap between paragraphs under which one column goes on alone, as a second address under a first."""
    boxes = [around([line.box for line in row]) for row in rows]
    pitches = [below.middle[1] - above.middle[1] for above, below in pairwise(boxes)]
    for at in range(1, len(rows)):
        if pitches[at - 1] < 1.5 * sorted(pitches)[len(pitches) // 4] or any(len(row) > 1 for row in rows[at:]):
            continue
        under = around(boxes[at:])
        if any(line.box.x1 > under.x2 or line.box.x2 < under.x1 for row in rows[:at] for line in row):
            return [rows[:at], rows[at:]]
    return [rows]


def runs(rows: list[list[Line]], em: float, large: float) -> list[list[list[Line]]]:
    """Rows cut where two stand much further apart than the others do, and around headings alone in their rows."""
    boxes = [around([line.box for line in row]) for row in rows]
    pitches = [below.middle[1] - above.middle[1] for above, below in pairwise(boxes)]
    if not pitches:
        return [rows]
    usual = sorted(pitches)[int(0.75 * (len(pitches) - 1))]
    headings = [len(row) == 1 and row[0].em > large for row in rows]
    found, start = [], 0
    for at, pitch in enumerate(pitches):
        far = pitch > 1.7 * usual and pitch > usual + em
        cut = far or headings[at] != headings[at + 1] or _over_header(rows[start:], pitches[start:], at - start, em)
        if cut:
            found.append(rows[start : at + 1])
            start = at + 1
    return [part for run in [*found, rows[start:]] for part in _without_what_goes_on(run)]
