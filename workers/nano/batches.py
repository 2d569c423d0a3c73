"""Pages as what a step of training takes: views, token ids, and the labels that drawing gives for free."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
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
    EOS_ID,
    FIRST_CHARACTER,
    IMAGE_ID,
    PAD_ID,
    ROWS,
    prompt_parts,
    tokenizer,
)
from workers.nano.architecture import PATCHES, SIDE, TOKENS
from workers.nano.curriculum import Level
from workers.nano.pages import Density, Page, PageArtist, moved
from workers.nano.paths import IN_PATCH, PATCH, Cell, Path, Places, places_of
from workers.nano.team import Team

IN_TOKEN = PATCHES // TOKENS  # patches along the side of a vision token
STEPS = 8  # patches to the next one of a line, at most
IGNORED = -100
ALONE = Team()
SHEETS = 0.25  # of the pages, where they vary
SHOWN_PAGES = 300  # of each density, of which some are shown again
SMALL_LETTERS = 3  # times as often a font that has them, as it is misread most
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
    (ROWS: there is none, or this line goes on); IGNORED where no character is, and in tiles, which do not show it.
    prompt: the ids before the text. places: of the n pages.
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
    prompt: Sequence[int]
    places: Sequence[Places]

    @property
    def characters(self) -> int:
        return int((self.labels >= FIRST_CHARACTER).sum())

    def to(self, device: torch.device) -> Batch:
        own: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: value.to(device) for name, value in own.items() if isinstance(value, Tensor)}
        return replace(self, **moved)

    def rewritten(self, shaken_by: Random) -> Batch:
        """The batch with its text read by its places, shaken."""
        rows = self.in_patch.shape[1]
        written = _written(self.prompt, [one.shaken(shaken_by).path(rows) for one in self.places])
        ids, labels, cells = (value.to(self.ids.device) for value in written)
        return replace(self, ids=ids, labels=labels, cells=cells)


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


def batch_of(pages: Sequence[Page], prompt: Sequence[int]) -> Batch:
    """A batch of pages of one grid that are asked for alike."""
    height, width = (side // PATCH for side in pages[0].image.shape[:2])  # in patches
    places = [places_of(page) for page in pages]
    paths = [one.path(height) for one in places]
    in_patch = torch.zeros(len(pages), height, width, IN_PATCH, dtype=torch.long)
    otherwise, doubts = torch.zeros_like(in_patch), torch.zeros_like(in_patch[..., 0])
    onward = torch.full((len(pages), height, width, 3), IGNORED)
    is_cut = (width, height) != (PATCHES, PATCHES)
    for number, (own, path) in enumerate(zip(places, paths, strict=True)):
        if not is_cut:
            _label_ways(onward[number], path)
        _label_characters(own, in_patch[number].numpy(), otherwise[number].numpy(), doubts[number].numpy())
    whole = _stacked([_whole(page) for page in pages]) if is_cut else None
    images = _stacked([page.image for page in pages])
    ids, labels, cells = _written(prompt, paths)
    return Batch(images, whole, ids, labels, in_patch, otherwise, doubts, onward, cells, prompt, places)


def _written(prompt: Sequence[int], paths: Sequence[Path]) -> tuple[Tensor, Tensor, Tensor]:
    """What a batch has of its text: ids, labels and cells."""
    start, longest = len(prompt), max(len(path.ids) for path in paths)
    shape = len(paths), start + longest + 1
    ids, labels, cells = torch.full(shape, PAD_ID), torch.full(shape, IGNORED), torch.full((*shape, 3), IGNORED)
    for number, path in enumerate(paths):
        end = start + len(path.ids)
        ids[number, :start] = torch.tensor(prompt)
        ids[number, start : end + 1] = torch.tensor([*path.ids, EOS_ID])
        labels[number, start - 1 : end] = ids[number, start : end + 1]
        cells[number, start:end] = torch.tensor(path.cells)
    return ids, labels, cells


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
    places: Places, in_patch: NDArray[numpy.int64], otherwise: NDArray[numpy.int64], doubts: NDArray[numpy.int64]
) -> None:
    """Label patches with their characters, and with those they have if what is near a border is beyond it."""
    characters: dict[Cell, list[int]] = {}
    for number, cell in enumerate(places.cells):
        characters.setdefault(cell, []).append(number)
    labels = [CHARACTERS.index(character) + 1 for character in places.text]
    for cell, own in characters.items():
        in_patch[cell][: len(own)] = [labels[one] for one in own[:IN_PATCH]]
    otherwise[:] = in_patch
    for number, beyond in places.beyond.items():
        for cell in {places.cells[one] for one in beyond} | set(beyond.values()):
            kept = [one for one in characters.get(cell, []) if one not in beyond]
            own = sorted(kept + [one for one, to in beyond.items() if to == cell])[:IN_PATCH]
            doubts[cell] = number
            otherwise[cell] = [labels[one] for one in own] + [BLANK] * (IN_PATCH - len(own))


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
        artist = PageArtist(self.seed + self.team.rank, variety=self.variety, small_letters=SMALL_LETTERS)
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
            yield batch_of(pages, random.choice(asked[density]))


def loaded(level: Level, seed: int, sheets: Sequence[Page] = (), team: Team = ALONE) -> Iterator[Batch]:
    """Batches drawn by a process beside this one."""
    return iter(DataLoader(Batches(level, seed, sheets, team), batch_size=None, num_workers=1, prefetch_factor=6))
