"""What the nano model gets wrong, measured through the engine that serves it, on pages it has not seen.

    python -m workers.nano.evaluation FOLDER            the gate: 6 and 10 characters a vision token
    python -m workers.nano.evaluation FOLDER --curve    from sparse to overfull pages, in each dtype of stored tokens
    python -m workers.nano.evaluation FOLDER --tiles    pages that are cut into tiles

Words and numbers were never trained on. The character error rate is the edits from what was read to what is on the
page, by the characters on the page; runs of white space count as one space.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, get_args
from uuid import UUID

import torch
from PIL import Image
from rapidfuzz.distance import Levenshtein

from ocr_tasks.contract import Mode, OcrOptions, Operation, PageResult, TokenDtype
from workers.engine import PageWork, WorkId
from workers.engine.deepseek.checkpoint import load_checkpoint
from workers.engine.deepseek.engine import DeepSeekEngine
from workers.engine.deepseek.limits import limits_for
from workers.nano.architecture import TOKENS
from workers.nano.fonts import has_fonts
from workers.nano.pages import Density, Page, PageArtist

SEED = 77_777  # training draws with others
VISION_TOKENS = TOKENS * TOKENS  # those that differ from page to page
GATE = {6: 0.02, 10: 0.05}
"""The character error rate that a model must stay below, by characters a vision token."""
DENSITIES = (1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20)
Grid = tuple[int, int]
WHOLE: Grid = (1, 1)
GRIDS: tuple[Grid, ...] = ((2, 1), (1, 2), (2, 2))
IN_TILES = 6
"""Characters a vision token of pages that are cut into tiles."""
DTYPES: tuple[TokenDtype, ...] = get_args(TokenDtype)
SLOTS = 48
NEARLY = 0.95  # of the characters asked for must have found room on a page
READ, STORED = frozenset({Operation.READ}), frozenset({Operation.ENCODE, Operation.DECODE})


class Kind(NamedTuple):
    """So many pages of one density, to be measured read (None) and from tokens stored in dtypes."""

    asked: float
    fonts: str
    pages: int
    stored_as: tuple[TokenDtype | None, ...] = (None,)
    grid: Grid = WHOLE


@dataclass(frozen=True)
class Measured:
    """Pages of one kind. `asked`: characters a vision token that were asked for; error: the character error rate.

    per_token: characters a vision token that the pages have. exact: the share of pages without any error. grid: columns
    and rows of the tiles that they are cut into, (1, 1) if they are not; tokens are those of the tiles alone.
    """

    asked: float
    fonts: str
    stored_as: TokenDtype | None
    pages: int
    per_token: float
    error: float
    exact: float
    grid: Grid = WHOLE


class Reader:
    """The engine with a checkpoint, for many pages at once."""

    def __init__(self, folder: Path) -> None:
        checkpoint = load_checkpoint(folder, device="cuda" if torch.cuda.is_available() else "cpu")
        self.engine = DeepSeekEngine(checkpoint, limits_for(checkpoint.model, most_slots=SLOTS))

    def read(
        self, images: Sequence[Image.Image], stored_as: TokenDtype | None = None, mode: Mode = "tiny"
    ) -> list[str]:
        """The texts of images: read, or decoded from vision tokens as they come back from storage in a dtype."""
        options = OcrOptions(prompt="free", mode=mode)
        works = [
            PageWork(
                WorkId(UUID(int=0), number, 1),
                partial(_same, image),
                options,
                STORED if stored_as else READ,
                stored_as=stored_as or "bf16",
            )
            for number, image in enumerate(images)
        ]
        texts, waiting = [""] * len(works), works[::-1]
        held = 0
        while waiting or held:
            taken = [waiting.pop() for _ in range(min(len(waiting), self.engine.capacity - held))]
            self.engine.admit(taken)
            done = self.engine.step()
            held += len(taken) - len(done)
            for page in done:
                assert isinstance(page.outcome, PageResult), page.outcome
                texts[page.id.page_no] = page.outcome.text
        return texts


def _same(image: Image.Image) -> Image.Image:
    return image


def pages_of(per_token: float, count: int, *, kept_out_fonts: bool = False, grid: Grid = WHOLE) -> list[Page]:
    """Pages with so many characters a vision token, in words that were never trained on."""
    artist = PageArtist(SEED + round(per_token), kept_out_words=True, kept_out_fonts=kept_out_fonts)
    wanted = round(per_token * VISION_TOKENS * math.prod(grid))
    pages: list[Page] = []
    while len(pages) < count:
        page = artist.page(Density(wanted, wanted, grid=grid))
        if len(page.text) >= NEARLY * wanted:
            pages.append(page)
    return pages


def measure(reader: Reader, pages: Sequence[Page], kind: Kind, stored_as: TokenDtype | None = None) -> Measured:
    """The error of pages of a kind read, or stored in a dtype and decoded."""
    images = [Image.fromarray(page.image) for page in pages]
    texts = reader.read(images, stored_as, "tiny" if kind.grid == WHOLE else "gundam")
    pairs = [(plain(page.text), plain(text)) for page, text in zip(pages, texts, strict=True)]
    characters = sum(len(truth) for truth, _ in pairs)
    edits = sum(Levenshtein.distance(truth, text) for truth, text in pairs)
    exact = sum(truth == text for truth, text in pairs) / len(pairs)
    per_token = round(characters / len(pairs) / VISION_TOKENS / math.prod(kind.grid), 2)
    error = edits / characters
    return Measured(kind.asked, kind.fonts, stored_as, len(pairs), per_token, error, exact, kind.grid)


def plain(text: str) -> str:
    """A text with runs of white space as one space."""
    return " ".join(text.split())


def gate(pages: int) -> list[Kind]:
    """The densities that count, in fonts trained on and in others."""
    fonts = ["trained on", *(["unseen"] if has_fonts(kept_out=True) else [])]
    return [Kind(asked, one, pages) for asked in GATE for one in fonts]


def curve(pages: int) -> list[Kind]:
    """All densities, read and decoded from each dtype."""
    return [Kind(asked, "trained on", pages, (None, *DTYPES)) for asked in DENSITIES]


def tiles(pages: int) -> list[Kind]:
    """Pages that are cut into tiles."""
    return [Kind(IN_TILES, "trained on", pages, grid=grid) for grid in GRIDS]


def measured(folder: Path, kinds: Sequence[Kind]) -> Iterator[Measured]:
    """Kinds in their order, measured by as many processes as there are cores; by one where there is a GPU."""
    processes = 1 if torch.cuda.is_available() else os.cpu_count() or 1
    threads = max(1, (os.cpu_count() or 1) // processes)
    with ProcessPoolExecutor(processes, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for found in pool.map(partial(_measured, folder), kinds):
            yield from found


def _measured(folder: Path, kind: Kind) -> list[Measured]:
    pages = pages_of(kind.asked, kind.pages, kept_out_fonts=kind.fonts == "unseen", grid=kind.grid)
    return [measure(_reader(folder), pages, kind, dtype) for dtype in kind.stored_as]


@cache
def _reader(folder: Path) -> Reader:
    return Reader(folder)


def main() -> None:
    """The command line: prints a line for each measurement and, with --json, writes them all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--tiles", action="store_true")
    parser.add_argument("--pages", type=int, help="of each kind (500; 100 for the curve and for tiles)")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    few = given.pages or 100
    kinds = curve(few) if given.curve else tiles(few) if given.tiles else gate(given.pages or 500)
    found = []
    for one in measured(given.folder, kinds):
        cut = "" if one.grid == WHOLE else f", {one.grid[0]} x {one.grid[1]} tiles"
        kind = f"{one.per_token:5.2f} characters a vision token, {one.fonts} fonts, {one.stored_as or 'read'}{cut}"
        print(f"{kind:60} error {100 * one.error:6.2f} %   exact {100 * one.exact:5.1f} %", flush=True)
        found.append(one)
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
