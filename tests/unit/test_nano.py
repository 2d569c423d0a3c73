"""The real weights in the package, in the engine that serves them: what it promises is held on text that can be read.

What nano gets wrong is measured by workers/nano; the bounds here are far from that, and say that the way through the
engine, the container and back costs nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar
from uuid import UUID

import numpy
import pytest
import torch
from PIL import Image, ImageDraw

from ocr_tasks.contract import NOTICES, Mode, OcrOptions, Operation, PageResult, TokenDtype, notice_of
from ocr_tasks.settings import Settings
from tests.drawing import LATIN_FONTS, font, installed_fonts, prose, wrap
from workers.engine import PageDone, PageWork, WorkId
from workers.engine.deepseek import nano
from workers.engine.deepseek.engine import DeepSeekEngine, load_nano
from workers.quality import error_rate
from workers.visual import VisionTokens, pack, unpack

pytestmark = pytest.mark.skipif(not nano.has_weights(), reason="the weights of nano are not in this checkout")

torch.set_num_threads(1)
T = TypeVar("T")
READ, ENCODE, DECODE = Operation.READ, Operation.ENCODE, Operation.DECODE
SIDE = 256
MOST_ERROR = max(0.10, 1.5 * (nano.measured_error() or 0.0))  # of the characters of all pages, by what the card says
ERROR_OF_DTYPE: dict[TokenDtype, float] = {"bf16": 0.004, "int8": 0.02, "int4": 0.16}  # relative, root mean square


def drawn(seed: int, size: tuple[int, int] = (SIDE, SIDE), words: int = 22) -> tuple[Image.Image, str]:
    """A page of plain lines, and the text on it."""
    rng = random.Random(seed)
    fonts = installed_fonts(LATIN_FONTS)
    face = font(rng.choice((16, 18, 20)), rng.choice(fonts) if fonts else None)
    image = Image.new("L", size, 255)
    draw = ImageDraw.Draw(image)
    lines = wrap(prose(rng, words), face, size[0] - 24)[: (size[1] - 20) // 26]
    for number, line in enumerate(lines):
        draw.text((12, 10 + 26 * number), line, 0, face)
    return image, "\n".join(lines)


PAGES = [drawn(seed) for seed in range(6)]
WIDE = drawn(11, (2 * SIDE, SIDE), words=40)


@pytest.fixture(scope="module")
def engine() -> Iterator[DeepSeekEngine]:
    engine = load_nano(Settings(_env_file=None, cpu_threads=1, batch_size=4))
    yield engine
    engine.close()


def giving(what: T) -> Callable[[], T]:
    return lambda: what


def work(
    load: Callable[[], Image.Image | VisionTokens], number: int, *operations: Operation, mode: Mode = "tiny"
) -> PageWork:
    options = OcrOptions(mode=mode, prompt="free")
    return PageWork(WorkId(UUID(int=0), number, 1), load, options, frozenset(operations or {READ}))


def of(image: Image.Image, number: int, *operations: Operation, mode: Mode = "tiny") -> PageWork:
    return work(giving(image), number, *operations, mode=mode)


def ended(engine: DeepSeekEngine, works: Sequence[PageWork]) -> dict[int, PageDone]:
    waiting, held, done = list(works), 0, dict[int, PageDone]()
    while len(done) < len(works):
        taken = waiting[: engine.capacity - held]
        engine.admit(taken)
        del waiting[: len(taken)]
        pages = engine.step()
        held += len(taken) - len(pages)
        done |= {page.id.page_no: page for page in pages}
    return done


def text_of(page: PageDone) -> str:
    assert isinstance(page.outcome, PageResult), page.outcome
    return page.outcome.text


def wrong(pairs: Sequence[tuple[str, str]]) -> float:
    """The character error rate over (read, truth)."""
    return error_rate(" ".join(read for read, _ in pairs), " ".join(truth for _, truth in pairs))


@pytest.fixture(scope="module")
def alone(engine: DeepSeekEngine) -> list[str]:
    """The texts of PAGES, read one by one."""
    return [text_of(ended(engine, [of(image, n)])[n]) for n, (image, _) in enumerate(PAGES)]


def test_plain_lines_are_read(alone: list[str]) -> None:
    assert wrong([(read, truth) for read, (_, truth) in zip(alone, PAGES, strict=True)]) <= MOST_ERROR


def test_where_it_reads_is_no_part_of_the_text(engine: DeepSeekEngine) -> None:
    page = ended(engine, [of(PAGES[0][0], 0)])[0]
    assert isinstance(page.outcome, PageResult)
    assert "<|" not in page.outcome.text
    assert abs((page.outcome.text_tokens or 0) - len(page.outcome.text)) <= 2  # blanks at an end are not kept


def test_pages_that_share_a_batch_are_read_as_they_are_alone(engine: DeepSeekEngine, alone: list[str]) -> None:
    together = ended(engine, [of(image, n) for n, (image, _) in enumerate(PAGES)])
    assert [text_of(together[n]) for n in range(len(PAGES))] == alone


def test_a_page_that_leaves_half_way_changes_nothing_for_the_others(engine: DeepSeekEngine, alone: list[str]) -> None:
    works = [of(image, n) for n, (image, _) in enumerate(PAGES[:4])]
    engine.admit(works)
    done: dict[int, PageDone] = {}
    while not any(text.tokens for text in engine.batch.scheduler.live.values()):
        done |= {page.id.page_no: page for page in engine.step()}
    engine.evict([works[1].id, works[2].id])
    engine.admit([of(PAGES[4][0], 4)])
    while len(done) < 3:
        done |= {page.id.page_no: page for page in engine.step()}
    assert {n: text_of(page) for n, page in done.items()} == {n: alone[n] for n in (0, 3, 4)}


def test_a_wide_page_is_cut_into_tiles(engine: DeepSeekEngine) -> None:
    page = ended(engine, [of(WIDE[0], 0, mode="gundam")])[0]
    assert isinstance(page.outcome, PageResult)
    assert (page.outcome.mode, page.outcome.vision_tokens) == ("gundam", 57)


@pytest.mark.parametrize("grid", [(2, 1), (1, 2), (2, 2)])
def test_pages_are_read_in_tiles(engine: DeepSeekEngine, grid: tuple[int, int]) -> None:
    """Lines that go through two tiles, and lines in tiles below others."""
    columns, rows = grid
    pages = [drawn(seed, (columns * SIDE, rows * SIDE), words=20 * columns * rows) for seed in range(11, 14)]
    together = ended(engine, [of(image, n, mode="gundam") for n, (image, _) in enumerate(pages)])
    card = json.loads((nano.FOLDER / "measured.json").read_text(encoding="utf-8"))["tiles"]
    (measured,) = (one["error"] for one in card if tuple(one["grid"]) == grid)
    read = [(text_of(together[n]), truth) for n, (_, truth) in enumerate(pages)]
    assert wrong(read) <= max(0.10, 1.5 * measured)


def test_how_dense_a_page_is_decides_whether_it_is_cut_into_tiles(engine: DeepSeekEngine) -> None:
    sparse, dense = drawn(1, words=12)[0], drawn(2, (2 * SIDE, 2 * SIDE), words=110)[0]
    options = OcrOptions(prompt="free")
    works = [PageWork(WorkId(UUID(int=0), n, 1), giving(image), options) for n, image in enumerate((sparse, dense))]
    modes = [
        page.outcome.mode for _, page in sorted(ended(engine, works).items()) if isinstance(page.outcome, PageResult)
    ]
    assert modes == ["tiny", "gundam"]


@pytest.mark.parametrize("dtype", ["bf16", "int8", "int4"])
def test_what_is_stored_decodes_to_the_text_again(dtype: TokenDtype, engine: DeepSeekEngine, alone: list[str]) -> None:
    encoded = ended(engine, [of(image, n, ENCODE) for n, (image, _) in enumerate(PAGES)])
    tokens = [encoded[n].tokens for n in range(len(PAGES))]
    stored = [unpack(pack(one, dtype)) for one in tokens if one is not None]
    assert len(stored) == len(PAGES)
    for before, after in zip(tokens, stored, strict=True):
        assert before is not None
        spread = numpy.sqrt(numpy.mean((after.features - before.features) ** 2))
        assert spread <= ERROR_OF_DTYPE[dtype] * numpy.sqrt(numpy.mean(before.features**2))
        assert after.model == "nano"
    decoded = ended(engine, [work(giving(one), n, DECODE) for n, one in enumerate(stored)])
    texts = [text_of(decoded[n]) for n in range(len(PAGES))]
    if dtype == "bf16":
        assert texts == alone
    assert wrong([(read, truth) for read, (_, truth) in zip(texts, PAGES, strict=True)]) <= MOST_ERROR


def test_results_say_that_they_are_a_demonstration(engine: DeepSeekEngine) -> None:
    assert engine.name == "nano"
    assert notice_of(engine.revision) == NOTICES["nano"]
