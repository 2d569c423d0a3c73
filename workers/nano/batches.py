"""Pages as what a step of training takes: views, token ids, and the labels that drawing gives for free."""

from __future__ import annotations

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
    EOS_ID,
    IMAGE_ID,
    PAD_ID,
    ids_of,
    prompt_parts,
    tokenizer,
)
from workers.nano.architecture import PATCHES, SIDE, TOKENS
from workers.nano.curriculum import Level
from workers.nano.pages import Density, Page, PageArtist
from workers.nano.team import Team

IN_PATCH = 4  # characters of a patch that have a label, by line and then by place
PATCH = SIDE // PATCHES  # pixels
IN_TOKEN = PATCHES // TOKENS  # patches along the side of a vision token
IN_ROW = 16  # characters of one line in one token, at most
LINES, BEFORE = 28, 64  # of a page; characters of a line
IGNORED = -100
ALONE = Team()
SHEETS = 0.25  # of the pages, where they vary
SHOWN_PAGES = 300  # of each density, of which some are shown again
BLANK = 0  # the label of a patch without a character there; characters follow from 1


@dataclass
class Batch:
    """n pages of one grid. Pixels are 0 to 255.

    pixels: (n, 3, rows * side, columns * side). whole: (n, 3, side, side), the same pages small, where they have tiles.
    ids: (n, time), prompt, text, EOS and padding. labels: (n, time), the token that comes next, IGNORED in prompt and
    padding. in_patch: (n, rows of patches, columns of patches, IN_PATCH), the characters whose centre lies there, in
    order, spaces and newlines among them. in_order: (n, rows of patches, columns of patches), how many characters of
    the line its vision token has before the first of these; IGNORED where there is none. coordinates: (n, rows of
    patches, columns of patches, 2), which line of the page that is and how many of its characters stand before; IGNORED
    where there is none, and in tiles, from which that cannot be seen. places: (n, time, 3), where the next character
    is: row and column of its patch, and how many stand before it there; IGNORED where there is none. counts: (n, time,
    2), the line and the place in it of the next character.
    """

    pixels: Tensor
    whole: Tensor | None
    ids: Tensor
    labels: Tensor
    in_patch: Tensor
    in_order: Tensor
    coordinates: Tensor
    places: Tensor
    counts: Tensor

    @property
    def characters(self) -> int:
        return int((self.labels != IGNORED).sum())

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


def batch_of(pages: Sequence[Page], prompt: Sequence[int]) -> Batch:
    """A batch of pages of one grid that are asked for alike."""
    start, longest = len(prompt), max(len(page.text) for page in pages)
    shape = len(pages), start + longest + 1
    ids, labels = torch.full(shape, PAD_ID), torch.full(shape, IGNORED)
    height, width = (side // PATCH for side in pages[0].image.shape[:2])  # in patches
    in_patch = torch.zeros(len(pages), height, width, IN_PATCH, dtype=torch.long)
    in_order = torch.full((len(pages), height, width), IGNORED)
    coordinates = torch.full((*in_order.shape, 2), IGNORED)
    places, counts = torch.full((*shape, 3), IGNORED), torch.full((*shape, 2), IGNORED)
    tiled = (width, height) != (PATCHES, PATCHES)
    for number, page in enumerate(pages):
        text = ids_of(page.text)
        end = start + len(text)
        ids[number, :start] = torch.tensor(prompt)
        ids[number, start : end + 1] = torch.tensor([*text, EOS_ID])
        labels[number, start - 1 : end] = ids[number, start : end + 1]
        patches = (page.centres // PATCH).clip(0, [width - 1, height - 1]).astype(numpy.int64)  # (characters, x and y)
        own, counted = _places(page.text, patches), _counts(page.text)
        places[number, start - 1 : end - 1] = torch.tensor(own)
        counts[number, start - 1 : end - 1] = torch.tensor(counted)
        _write(in_patch[number], in_order[number], coordinates[number], page.text, own, counted)
    if tiled:
        coordinates.fill_(IGNORED)
    whole = _stacked([_whole(page) for page in pages]) if tiled else None
    pixels = _stacked([page.image for page in pages])
    return Batch(pixels, whole, ids, labels, in_patch, in_order, coordinates, places, counts)


def _stacked(images: Sequence[NDArray[numpy.uint8]]) -> Tensor:
    return torch.from_numpy(numpy.stack(images)).permute(0, 3, 1, 2)


def _whole(page: Page) -> NDArray[numpy.uint8]:
    """What the engine shows of a page beside its tiles."""
    return numpy.asarray(padded(Image.fromarray(page.image), SIDE, Family.DEEPSEEK_OCR))


def normalised(pixels: Tensor) -> Tensor:
    """Grey values 0 to 255 as the engine gives them to the model: white is 1, black -1."""
    return pixels.float().div_(127.5).sub_(1).contiguous()


def _places(text: str, patches: Any) -> list[tuple[int, int, int]]:
    """The row and the column of each character's patch, and how many stand before it there.

    A newline follows the last character of its line.
    """
    places: list[tuple[int, int, int]] = []
    taken: dict[tuple[int, int], int] = {}
    for at, (column, row) in enumerate(patches.tolist()):
        patch = places[-1][:2] if text[at] == "\n" and places else (row, column)
        taken[patch] = taken.get(patch, -1) + 1
        places.append((*patch, min(taken[patch], IN_PATCH - 1)))
    return places


def _counts(text: str) -> list[tuple[int, int]]:
    """The line of each character and how many stand before it there."""
    lines = enumerate(text.splitlines(keepends=True))
    return [(min(line, LINES - 1), min(at, BEFORE - 1)) for line, own in lines for at in range(len(own))]


def _write(
    in_patch: Tensor,
    in_order: Tensor,
    coordinates: Tensor,
    text: str,
    places: Sequence[tuple[int, int, int]],
    counts: Sequence[tuple[int, int]],
) -> None:
    """Label patches with their characters and where the first of them stands in the text."""
    first: dict[tuple[int, int, int], int] = {}  # of a line in a row of patches of a token
    for character, (row, column, index), (line, before) in zip(text, places, counts, strict=True):
        start = first.setdefault((line, row, column // IN_TOKEN), before)
        if not in_patch[row, column, index]:
            in_patch[row, column, index] = CHARACTERS.index(character) + 1
        if index == 0:
            coordinates[row, column, 0], coordinates[row, column, 1] = line, before
            in_order[row, column] = min(before - start, IN_ROW - 1)


class Batches(IterableDataset[Batch]):
    """A process's share of batches without end, drawn from a mix; `variety` as in PageArtist.

    All processes of a team draw pages of one density at a time, so that none waits long for another.

    Some pages are Chromium's, `sheets`; each of the others is shown three times, some steps apart, as drawing costs as
    much as a third of a step.
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
            pages = [*drawn, *random.choices(of_sheets[density], k=from_sheets), *random.sample(shown[density], again)]
            shown[density].extend(drawn)
            yield batch_of(pages, random.choice(asked[density]))


def loaded(level: Level, seed: int, sheets: Sequence[Page] = (), team: Team = ALONE) -> Iterator[Batch]:
    """Batches drawn by a process beside this one."""
    return iter(DataLoader(Batches(level, seed, sheets, team), batch_size=None, num_workers=1, prefetch_factor=6))
