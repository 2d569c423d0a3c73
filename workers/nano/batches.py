"""Pages as what a step of training takes: views, token ids, and the labels that drawing gives for free."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from workers.engine.deepseek.families import Family
from workers.engine.deepseek.pixels import padded
from workers.nano.alphabet import (
    BOS_ID,
    CHARACTERS,
    COLUMNS,
    EOS_ID,
    FIRST_CHARACTER,
    FIRST_COLUMN,
    FIRST_ROW,
    IMAGE_ID,
    PAD_ID,
    ROWS,
    ids_of,
    prompt_parts,
    tokenizer,
)
from workers.nano.architecture import PATCHES, SIDE, TOKENS
from workers.nano.curriculum import Level
from workers.nano.pages import Density, Page, PageArtist, moved
from workers.nano.team import Team

IN_PATCH = 4  # characters of a patch that have a label, by line and then by place
PATCH = SIDE // PATCHES  # pixels
IN_TOKEN = PATCHES // TOKENS  # patches along the side of a vision token
SHAKEN_X, SHAKEN_Y = 1 / PATCH, 2 / PATCH  # standard deviations, in patches
NEAR_X, NEAR_Y = 1.5 / PATCH, 2.5 / PATCH  # of a border, in patches: what is there can be seen on either side
STEPS = 8  # patches to the next one of a line, at most
IGNORED = -100
ALONE = Team()
SHEETS = 0.25  # of the pages, where they vary
SHOWN_PAGES = 300  # of each density, of which some are shown again
Cell = tuple[int, int]  # row and column of a patch
BLANK = 0  # the label of a patch without a character there; characters follow from 1


@dataclass
class Batch:
    """n pages of one grid. Pixels are 0 to 255.

    pixels: (n, 3, rows * side, columns * side). whole: (n, 3, side, side), the same pages small, where they have tiles.
    ids: (n, time), prompt, text with its locators, EOS and padding. labels: (n, time), the token that comes next,
    IGNORED in prompt and padding. cells: (n, time, 3), what is read after each token of the text: the row and column of
    a patch, and how many of its characters were written; IGNORED elsewhere. in_patch: (n, rows of patches, columns of
    patches, IN_PATCH), the characters whose centre lies there, in order, spaces and newlines among them. otherwise: the
    same, had all characters that are near a border of patches been seen on its other side; doubts: (n, rows of patches,
    columns of patches), by number, where these differ: patches of one number are all as in one of the two, 0 is no
    doubt. onward: (n, rows of patches, columns of patches, 3), how reading goes on from a patch: whether a line begins
    there, how many patches farther the next one of the line is (0: the line ends), and the row token of the next line
    (ROWS: there is none, or this line goes on); IGNORED where no character is.
    """

    pixels: Tensor
    whole: Tensor | None
    ids: Tensor
    labels: Tensor
    in_patch: Tensor
    otherwise: Tensor
    doubts: Tensor
    onward: Tensor
    cells: Tensor

    @property
    def characters(self) -> int:
        return int((self.labels >= FIRST_CHARACTER).sum())

    def to(self, device: torch.device) -> Batch:
        own: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: value if value is None else value.to(device) for name, value in own.items()}
        return Batch(**moved)


def prompts(grid: tuple[int, int]) -> list[list[int]]:
    """The token ids before the text of a page cut into (columns, rows): of the prompts `free` and `document`."""
    encode = tokenizer().encode
    document, free = prompt_parts()[:2]
    texts = [f"\n{free}", f"\n<|grounding|>{document}"]
    placeholders = [IMAGE_ID] * placeholders_of(grid)
    return [[BOS_ID, *placeholders, *encode(text, add_special_tokens=False)] for text in texts]


def placeholders_of(grid: tuple[int, int]) -> int:
    """Vision tokens of a page, newlines and separator among them."""
    columns, rows = grid
    tiles = rows * TOKENS * (columns * TOKENS + 1) if grid != (1, 1) else 0
    return tiles + TOKENS * (TOKENS + 1) + 1


def batch_of(pages: Sequence[Page], prompt: Sequence[int], shaken_by: Random | None = None) -> Batch:
    """A batch of pages of one grid that are asked for alike. shaken_by: whether texts are as in path_of."""
    paths = [path_of(page, shaken_by) for page in pages]
    start, longest = len(prompt), max(len(path.ids) for path in paths)
    shape = len(pages), start + longest + 1
    ids, labels, cells = torch.full(shape, PAD_ID), torch.full(shape, IGNORED), torch.full((*shape, 3), IGNORED)
    height, width = (side // PATCH for side in pages[0].image.shape[:2])  # in patches
    in_patch = torch.zeros(len(pages), height, width, IN_PATCH, dtype=torch.long)
    otherwise, doubts = torch.zeros_like(in_patch), torch.zeros_like(in_patch[..., 0])
    onward = torch.full((len(pages), height, width, 3), IGNORED)
    for number, (page, path) in enumerate(zip(pages, paths, strict=True)):
        end = start + len(path.ids)
        ids[number, :start] = torch.tensor(prompt)
        ids[number, start : end + 1] = torch.tensor([*path.ids, EOS_ID])
        labels[number, start - 1 : end] = ids[number, start : end + 1]
        cells[number, start:end] = torch.tensor(path.cells)
        _label_ways(onward[number], path_of(page) if shaken_by else path)
        _label_characters(page, in_patch[number].numpy(), otherwise[number].numpy(), doubts[number].numpy())
    whole = _stacked([_whole(page) for page in pages]) if (width, height) != (PATCHES, PATCHES) else None
    images = _stacked([page.image for page in pages])
    return Batch(images, whole, ids, labels, in_patch, otherwise, doubts, onward, cells)


@dataclass
class Path:
    """How a page is read. ids: characters and locators; cells: as in Batch, one for each of these.

    stops: (row, column, row token, characters) of all patches that are read, line by line.
    """

    ids: list[int]
    cells: list[tuple[int, int, int]]
    stops: list[list[tuple[int, int, int, str]]]


def path_of(page: Page, shaken_by: Random | None = None) -> Path:
    """The characters of a page with a row token before each line and a column token before each of its patches.

    A newline belongs to the patch of the character before it.

    Where a character is on the border of two patches, it can be seen in either. Whoever reads must know whether it was
    written already, and a line that was read is not the next one. A model that was only ever shown the one true path
    writes such characters twice: so it is shown paths that are shaken a little by a generator.
    """
    height, width = (side // PATCH for side in page.image.shape[:2])
    path, at = Path([], [], []), 0
    for line in page.text.splitlines(keepends=True):
        own = page.centres[at : at + len(line)] / PATCH
        at += len(line)
        y, xs = float(own[0, 1]), own[:, 0].tolist()
        row = min(int(y), height - 1)
        if shaken_by:
            y = max(0.0, y + shaken_by.gauss(0, SHAKEN_Y))
            xs = [max(0.0, x + shaken_by.gauss(0, SHAKEN_X)) for x in xs]
        half = min(int(2 * y), 2 * height - 1, ROWS - 1)
        columns = _columns(line, xs, width)
        parts = [
            (column, "".join(line[number] for number, _ in group))
            for column, group in itertools.groupby(enumerate(columns), key=lambda one: columns[one[0]])
        ]
        path.ids.append(FIRST_ROW + half)
        path.cells.append((row, parts[0][0], 0))
        for column, characters in parts:
            path.ids += [FIRST_COLUMN + min(column, COLUMNS - 1), *ids_of(characters)]
            path.cells += [(row, column, min(number, IN_PATCH)) for number in range(len(characters) + 1)]
        path.stops.append([(row, column, half, characters) for column, characters in parts])
    return path


def _columns(line: str, xs: Sequence[float], width: int) -> list[int]:
    """The columns of patches that a line's characters are in, its newline where the one before it is."""
    columns = list(itertools.accumulate((min(int(x), width - 1) for x in xs), max))
    if line[-1] == "\n" and len(line) > 1:
        columns[-1] = columns[-2]
    return columns


def _cells_of(page: Page) -> list[Cell]:
    """The patches that a page's characters are in."""
    height, width = (side // PATCH for side in page.image.shape[:2])
    cells: list[Cell] = []
    for line in page.text.splitlines(keepends=True):
        own = page.centres[len(cells) : len(cells) + len(line)] / PATCH
        row = min(int(own[0, 1]), height - 1)
        cells += [(row, column) for column in _columns(line, own[:, 0].tolist(), width)]
    return cells


def _stacked(images: Sequence[NDArray[numpy.uint8]]) -> Tensor:
    return torch.from_numpy(numpy.stack(images)).permute(0, 3, 1, 2)


def _whole(page: Page) -> NDArray[numpy.uint8]:
    """What the engine shows of a page beside its tiles."""
    return numpy.asarray(padded(Image.fromarray(page.image), SIDE, Family.DEEPSEEK_OCR))


def normalised(pixels: Tensor) -> Tensor:
    """Grey values 0 to 255 as the engine gives them to the model: white is 1, black -1."""
    return pixels.float().div_(127.5).sub_(1).contiguous()


def _label_ways(onward: Tensor, path: Path) -> None:
    """Label patches with how reading goes on; a patch of two lines tells of the first."""
    for line, following in itertools.zip_longest(path.stops, path.stops[1:]):
        for number, (row, column, _, _) in enumerate(line):
            if int(onward[row, column, 0]) == IGNORED:
                last = number + 1 == len(line)
                step = 0 if last else min(line[number + 1][1] - column, STEPS - 1)
                onward[row, column] = torch.tensor([number == 0, step, following[0][2] if last and following else ROWS])


def _label_characters(
    page: Page, in_patch: NDArray[numpy.int64], otherwise: NDArray[numpy.int64], doubts: NDArray[numpy.int64]
) -> None:
    """Label patches with their characters, and with those they have if what is near a border is beyond it.

    A line is beyond a border as a whole, and else one character at a border. A patch is in doubt once at most: of what
    would be a second doubt, nothing is in `otherwise`.
    """
    found = _cells_of(page)
    characters: dict[Cell, list[int]] = {}
    for number, cell in enumerate(found):
        characters.setdefault(cell, []).append(number)
    labels = [CHARACTERS.index(character) + 1 for character in page.text]
    for cell, own in characters.items():
        in_patch[cell][: len(own)] = [labels[one] for one in own[:IN_PATCH]]
    otherwise[:] = in_patch
    height, width = doubts.shape
    for number, beyond in enumerate(_beyond(page, found), 1):
        touched = {found[one] for one in beyond} | set(beyond.values())
        if any(not (0 <= row < height and 0 <= column < width) or doubts[row, column] for row, column in touched):
            continue
        for cell in touched:
            kept = [one for one in characters.get(cell, []) if one not in beyond]
            own = sorted(kept + [one for one, to in beyond.items() if to == cell])[:IN_PATCH]
            doubts[cell] = number
            otherwise[cell] = [labels[one] for one in own] + [BLANK] * (IN_PATCH - len(own))


def _beyond(page: Page, found: Sequence[Cell]) -> Iterator[dict[int, Cell]]:
    """What is near a border, lines first: the numbers of its characters, and the patches that they are in beyond."""
    sure, start = [], 0
    for text in page.text.splitlines(keepends=True):
        line = range(start, start + len(text))
        start = line.stop
        y = float(page.centres[line[0], 1]) / PATCH
        if abs(y - round(y)) < NEAR_Y:
            step = 1 if found[line[0]][0] < round(y) else -1
            yield {one: (found[one][0] + step, found[one][1]) for one in line}
        else:
            sure.append(line)
    for line in sure:
        nearest: dict[int, tuple[float, int]] = {}
        for one in line:
            x = float(page.centres[one, 0]) / PATCH
            if page.text[one] != "\n" and abs(x - round(x)) < NEAR_X:
                nearest[round(x)] = min(nearest.get(round(x), (1.0, one)), (abs(x - round(x)), one))
        for border, (_, one) in nearest.items():
            row, column = found[one]
            to = row, border if column < border else border - 1
            yield {one: to, one + 1: to} if page.text[one + 1 : one + 2] == "\n" else {one: to}


class Batches(IterableDataset[Batch]):
    """A process's share of batches without end, drawn from a mix; `variety` as in PageArtist.

    All processes of a team draw pages of one density at a time, so that none waits long for another.

    Some pages are Chromium's, `sheets`; each of the others is shown three times, some steps apart, as drawing costs as
    much as a third of a step. What was shown before is moved.
    """

    def __init__(self, level: Level, seed: int, sheets: Sequence[Page] = (), team: Team = ALONE) -> None:
        self.mix, self.variety, self.seed, self.sheets, self.team = level.mix, level.variety, seed, sheets, team

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        artist = PageArtist(self.seed + self.team.rank, variety=self.variety)
        random, common = artist.random, Random(self.seed)
        asked = {density: prompts(density.grid) for _, density, _ in self.mix}
        shown: dict[Density, deque[Page]] = {density: deque(maxlen=SHOWN_PAGES) for _, density, _ in self.mix}
        of_sheets = {density: [page for page in self.sheets if density.allows(page.text)] for density in shown}
        while True:
            _, density, of_all = common.choices(self.mix, [weight for weight, *_ in self.mix])[0]
            count = max(1, of_all // self.team.size)
            from_sheets = round(count * SHEETS * self.variety) if of_sheets[density] else 0
            again = (count - from_sheets) * 2 // 3 if len(shown[density]) >= count else 0
            drawn = [artist.page(density) for _ in range(count - from_sheets - again)]
            known = [*random.choices(of_sheets[density], k=from_sheets), *random.sample(shown[density], again)]
            pages = [*drawn, *(moved(page, random) for page in known)]
            shown[density].extend(drawn)
            yield batch_of(pages, random.choice(asked[density]), random)


def loaded(level: Level, seed: int, sheets: Sequence[Page] = (), team: Team = ALONE) -> Iterator[Batch]:
    """Batches drawn by a process beside this one."""
    return iter(DataLoader(Batches(level, seed, sheets, team), batch_size=None, num_workers=1, prefetch_factor=6))
