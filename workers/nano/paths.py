"""Where the characters of a page are, patch by patch, and the path on which they are read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from workers.nano.alphabet import COLUMNS, FIRST_COLUMN, FIRST_ROW, ROWS, ids_of
from workers.nano.architecture import PATCHES, SIDE
from workers.nano.pages import Page

IN_PATCH = 4  # characters of a patch that have a label, by line and then by place
PATCH = SIDE // PATCHES  # pixels
NEAR_X, NEAR_Y = 1.5 / PATCH, 2.5 / PATCH  # of a border, in patches: what is there can be seen on either side
JUST = 1e-3  # beyond a border, in patches
SHAKEN = 0.1  # of what may be beyond a border, in a text
SHAKEN_Y = 2 / PATCH  # standard deviation of row tokens, in patches
Cell = tuple[int, int]  # row and column of a patch


@dataclass
class Path:
    """How a page is read: a row token before each line, a column token before each of its patches.

    ids: characters and locators. cells: what is read after each of these, the row and column of a patch and how many of
    its characters were written. stops: (row, column, row token, characters) of all patches that are read, line by line.
    """

    ids: list[int]
    cells: list[tuple[int, int, int]]
    stops: list[list[tuple[int, int, int, str]]]


@dataclass(frozen=True)
class Places:
    """Where the characters of a page are.

    cells: the patch that each character is in, newlines where the character before them is. heights: where each line
    is, in patches. beyond: of what is near a border of patches and so can be seen on either side of it, by a number
    from 1, the patches that its characters are in on the other side.
    """

    text: str
    cells: Sequence[Cell]
    heights: Sequence[float]
    beyond: dict[int, dict[int, Cell]]

    def turned(self, numbers: Iterable[int]) -> Places:
        """The same with what has these numbers on the other side."""
        cells, heights, beyond = list(self.cells), list(self.heights), dict(self.beyond)
        for number in numbers:
            beyond[number] = {one: cells[one] for one in beyond[number]}
            for one, cell in self.beyond[number].items():
                cells[one] = cell
        for number, line in enumerate(_lines(self.text)):
            row, before = cells[line[0]][0], self.cells[line[0]][0]
            if row != before:
                heights[number] = row + JUST if row > before else before - JUST
        return Places(self.text, cells, heights, beyond)

    def shaken(self, by: Random) -> Places:
        """The same with a few of the characters and lines turned, and lines a little higher or lower.

        Whoever reads must know whether a character on a border was written already, and a line that was read is not the
        next one. A model that was only ever shown the one path that is right writes such characters twice.
        """
        turned = self.turned([number for number in self.beyond if by.random() < SHAKEN])
        return replace(turned, heights=[max(0.0, y + by.gauss(0, SHAKEN_Y)) for y in turned.heights])

    def path(self, rows: int) -> Path:
        """How the page is read, which has so many rows of patches."""
        path = Path([], [], [])
        for line, y in zip(_lines(self.text), self.heights, strict=True):
            row, half = self.cells[line[0]][0], min(int(2 * y), 2 * rows - 1, ROWS - 1)
            columns = itertools.accumulate((self.cells[one][1] for one in line), max)
            parts = [
                (column, "".join(self.text[one] for one, _ in group))
                for column, group in itertools.groupby(zip(line, columns, strict=True), key=lambda at: at[1])
            ]
            path.ids.append(FIRST_ROW + half)
            path.cells.append((row, parts[0][0], 0))
            for column, characters in parts:
                path.ids += [FIRST_COLUMN + min(column, COLUMNS - 1), *ids_of(characters)]
                path.cells += [(row, column, min(number, IN_PATCH)) for number in range(len(characters) + 1)]
            path.stops.append([(row, column, half, characters) for column, characters in parts])
        return path


def places_of(page: Page) -> Places:
    """Where a page's characters are: each in the patch that its centre is in.

    A line is beyond a border as a whole, and else one character at a border. A patch has one thing that may be beyond
    its borders: what would be a second one stays where it is.
    """
    height, width = (side // PATCH for side in page.image.shape[:2])
    cells: list[Cell] = []
    heights: list[float] = []
    for line in _lines(page.text):
        y, xs = float(page.centres[line[0], 1]) / PATCH, page.centres[line.start : line.stop, 0] / PATCH
        columns = list(itertools.accumulate((min(int(x), width - 1) for x in xs.tolist()), max))
        if page.text[line[-1]] == "\n" and len(line) > 1:
            columns[-1] = columns[-2]
        cells += [(min(int(y), height - 1), column) for column in columns]
        heights.append(y)
    beyond: dict[int, dict[int, Cell]] = {}
    doubted: set[Cell] = set()
    for other in _beyond(page, cells):
        touched = {cells[one] for one in other} | set(other.values())
        if all(0 <= row < height and 0 <= column < width for row, column in touched) and not touched & doubted:
            beyond[len(beyond) + 1] = other
            doubted |= touched
    return Places(page.text, cells, heights, beyond)


def _lines(text: str) -> Iterator[range]:
    """The numbers of the characters of each line, its newline among them."""
    start = 0
    for line in text.splitlines(keepends=True):
        yield range(start, start + len(line))
        start += len(line)


def _beyond(page: Page, cells: Sequence[Cell]) -> Iterator[dict[int, Cell]]:
    """What is near a border, lines first: the numbers of its characters, and the patches that they are in beyond."""
    sure = []
    for line in _lines(page.text):
        y = float(page.centres[line[0], 1]) / PATCH
        if abs(y - round(y)) < NEAR_Y:
            step = 1 if cells[line[0]][0] < round(y) else -1
            yield {one: (cells[one][0] + step, cells[one][1]) for one in line}
        else:
            sure.append(line)
    for line in sure:
        nearest: dict[int, tuple[float, int]] = {}
        for one in line:
            x = float(page.centres[one, 0]) / PATCH
            if page.text[one] != "\n" and abs(x - round(x)) < NEAR_X:
                nearest[round(x)] = min(nearest.get(round(x), (1.0, one)), (abs(x - round(x)), one))
        for border, (_, one) in nearest.items():
            row, column = cells[one]
            to = row, border if column < border else border - 1
            yield {one: to, one + 1: to} if page.text[one + 1 : one + 2] == "\n" else {one: to}
