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
    FIRST_CHARACTER,
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
IN_LINE = 12  # characters of one line in one token that have a label
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
    padding. in_patch: (n, rows of patches, columns of patches, IN_PATCH), the characters whose centre lies there.
    in_order: (n, rows of patches, columns of patches), how many characters of the line its vision token has before the
    first of these; IGNORED where there is none.
    in_token: (n, rows of patches, columns of vision tokens, IN_LINE), what a token has of the line that runs through a
    row of its patches, in order, spaces and the newline at its end among it. coordinates: (n, rows of patches, columns
    of vision tokens, 2), which line of the page that is and how many of its characters stand left of the token; IGNORED
    where there is none, and in tiles, from which that cannot be seen. places: (n, time, 3), where the next character is
    there: row of patches, column of tokens, how many of its line come before it in its token; IGNORED where there is
    none. counts: (n, time, 2), the line and the place in it of the next character.
    """

    pixels: Tensor
    whole: Tensor | None
    ids: Tensor
    labels: Tensor
    in_patch: Tensor
    in_order: Tensor
    in_token: Tensor
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
    in_token = torch.zeros(len(pages), height, width // IN_TOKEN, IN_LINE, dtype=torch.long)
    coordinates = torch.full((*in_token.shape[:3], 2), IGNORED)
    places, counts = torch.full((*shape, 3), IGNORED), torch.full((*shape, 2), IGNORED)
    tiled = (width, height) != (PATCHES, PATCHES)
    for number, page in enumerate(pages):
        text = ids_of(page.text)
        end = start + len(text)
        ids[number, :start] = torch.tensor(prompt)
        ids[number, start : end + 1] = torch.tensor([*text, EOS_ID])
        labels[number, start - 1 : end] = ids[number, start : end + 1]
        patches = (page.centres // PATCH).clip(0, [width - 1, height - 1]).astype(numpy.int64)  # (characters, x and y)
        own = _places(page.text, patches)
        _fill(in_patch[number], in_order[number], text, patches, own)
        counted = _counts(page.text)
        places[number, start - 1 : end - 1] = torch.tensor(own)
        counts[number, start - 1 : end - 1] = torch.tensor(counted)
        _write(in_token[number], coordinates[number], page.text, own, counted)
    if tiled:
        coordinates.fill_(IGNORED)
    whole = _stacked([_whole(page) for page in pages]) if tiled else None
    pixels = _stacked([page.image for page in pages])
    return Batch(pixels, whole, ids, labels, in_patch, in_order, in_token, coordinates, places, counts)


def _stacked(images: Sequence[NDArray[numpy.uint8]]) -> Tensor:
    return torch.from_numpy(numpy.stack(images)).permute(0, 3, 1, 2)


def _whole(page: Page) -> NDArray[numpy.uint8]:
    """What the engine shows of a page beside its tiles."""
    return numpy.asarray(padded(Image.fromarray(page.image), SIDE, Family.DEEPSEEK_OCR))


def normalised(pixels: Tensor) -> Tensor:
    """Grey values 0 to 255 as the engine gives them to the model: white is 1, black -1."""
    return pixels.float().div_(127.5).sub_(1).contiguous()


def _fill(
    in_patch: Tensor, in_order: Tensor, text: Sequence[int], patches: Any, places: Sequence[tuple[int, int, int]]
) -> None:
    """Label patches with the characters in them; spaces and newlines are nothing to be seen."""
    taken: dict[tuple[int, int], int] = {}
    for token, (column, row), (_, _, index) in zip(text, patches.tolist(), places, strict=True):
        slot = taken.get((row, column), 0)
        if token - FIRST_CHARACTER not in UNSEEN and slot < IN_PATCH:
            if slot == 0:
                in_order[row, column] = index
            in_patch[row, column, slot] = token - FIRST_CHARACTER + 1
            taken[row, column] = slot + 1


def _places(text: str, patches: Any) -> list[tuple[int, int, int]]:
    """The row of patches, the column of tokens, and the index of each character in its line's part of its token.

    A newline follows the last character of its line.
    """
    places: list[tuple[int, int, int]] = []
    counts: dict[int, int] = {}
    for character, (column, row) in zip(text, patches.tolist(), strict=True):
        ends = character == "\n" and bool(counts)
        row, token = places[-1][:2] if ends else (row, column // IN_TOKEN)
        places.append((row, token, min(counts.get(token, 0), IN_LINE - 1)))
        counts[token] = counts.get(token, 0) + 1
        if ends:
            counts = {}
    return places


def _counts(text: str) -> list[tuple[int, int]]:
    """The line of each character and how many stand before it there."""
    lines = enumerate(text.splitlines(keepends=True))
    return [(min(line, LINES - 1), min(at, BEFORE - 1)) for line, own in lines for at in range(len(own))]


def _write(
    in_token: Tensor,
    coordinates: Tensor,
    text: str,
    places: Sequence[tuple[int, int, int]],
    counts: Sequence[tuple[int, int]],
) -> None:
    """Label tokens with what they have of each line; where two lines share a row of patches, with the first."""
    line_of: dict[tuple[int, int], int] = {}
    for character, (row, token, index), (line, before) in zip(text, places, counts, strict=True):
        if (row, token) not in line_of:
            line_of[row, token] = line
            coordinates[row, token, 0], coordinates[row, token, 1] = line, before
        if line_of[row, token] == line and not in_token[row, token, index]:
            in_token[row, token, index] = CHARACTERS.index(character) + 1


UNSEEN = frozenset(number - FIRST_CHARACTER for number in ids_of("\n "))


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
