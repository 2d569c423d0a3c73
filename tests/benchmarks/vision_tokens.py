"""Stored vision tokens: bytes a page, time, error and unchanged texts, of each dtype.

    python -m tests.benchmarks.engine vision_tokens --device cpu

Bytes and times are of pages in the published sizes (hidden 1280), whose numbers are drawn: channels of different size,
a few much larger, neighbours alike. Texts are those of small random models, which are more easily put off than trained
ones: what they show is the order of the dtypes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from statistics import mean, median
from typing import get_args
from uuid import UUID

import numpy
import torch
from numpy.typing import NDArray
from PIL import Image

from ocr_tasks.contract import Mode, Operation, PageResult, TokenDtype
from tests.benchmarks.report import Finding
from tests.generated import FAMILIES
from tests.pages import grain
from tests.tiny_checkpoints import write_checkpoint
from workers.engine import PageDone, PageWork, WorkId
from workers.engine.apart_pages import Inbox, PageFiles
from workers.engine.deepseek.batching import ContinuousBatch, Request
from workers.engine.deepseek.checkpoint import Checkpoint, load_checkpoint
from workers.engine.deepseek.decoder import window_of
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.modes import layout_of
from workers.engine.deepseek.pixels import views_of
from workers.engine.deepseek.resolutions import RESOLUTIONS, TOKEN_SIDE
from workers.engine.deepseek.scheduler import Limits
from workers.engine.deepseek.storing import Storing
from workers.engine.deepseek.vision import encode
from workers.visual import VisionTokens, pack, unpack
from workers.visual.quantisation import from_bf16, rounded, to_bf16

Floats = NDArray[numpy.float32]
HIDDEN = 1280
A4 = (1654, 2339)
DTYPES: tuple[TokenDtype, ...] = get_args(TokenDtype)
ROUNDS = 9
PAGES, TEXT_TOKENS = 24, 40  # of each family
KIB = 1024


def findings() -> list[Finding]:
    torch.set_num_threads(1)
    return [*sizes(), *times(), *errors(), *texts()]


# -- pages in the published sizes ---------------------------------------------


def sizes() -> list[Finding]:
    family = Family.DEEPSEEK_OCR
    return [
        Finding(f"a page of A4 in {mode}, stored as {dtype}", len(pack(page_in(mode, family), dtype)) / KIB, "KiB")
        for mode in RESOLUTIONS[family].modes
        for dtype in DTYPES
    ]


def times() -> list[Finding]:
    page = page_in("base", Family.DEEPSEEK_OCR)
    found = []
    for dtype in DTYPES:
        container = pack(page, dtype)
        found += [
            Finding(f"packing a page in base as {dtype}", took_ms(partial(pack, page, dtype)), "ms"),
            Finding(f"unpacking it from {dtype}", took_ms(partial(unpack, container)), "ms"),
        ]
    return [*found, *handing_over(page)]


def handing_over(tokens: VisionTokens) -> list[Finding]:
    """What vision tokens cost the engine's loop and its node on their way from one to the other."""
    image = Image.new("L", (8, 8))
    work = PageWork(WorkId(UUID(int=0), 1, 1), lambda: image, operations=frozenset({Operation.ENCODE}))
    done = PageDone(work.id, PageResult(text="", markdown=""), tokens)
    sending, receiving = [], []
    for _ in range(ROUNDS):
        files, inbox = PageFiles(), Inbox()
        inbox.received(files.sent(work))
        started = time.perf_counter()
        sent = inbox.sent(done)
        between = time.perf_counter()
        files.received(sent)
        sending.append((between - started) * 1000)
        receiving.append((time.perf_counter() - between) * 1000)
    return [
        Finding("handing it from the engine's process, in its loop", median(sending), "ms"),
        Finding("and taking it, in the node", median(receiving), "ms"),
    ]


def errors() -> list[Finding]:
    kinds = {"alike": gaussian((256, HIDDEN)), "of different sizes": page_in("base", Family.DEEPSEEK_OCR).features}
    return [
        Finding(f"error of {dtype}, channels {kind}, relative RMS", relative_rms(rounded(numbers, dtype), numbers), "")
        for kind, numbers in kinds.items()
        for dtype in DTYPES
    ]


def page_in(mode: Mode, family: Family) -> VisionTokens:
    """Drawn vision tokens in the shape of an A4 page."""
    layout = layout_of(A4, mode, RESOLUTIONS[family])
    count = (layout.side // TOKEN_SIDE) ** 2 + layout.tiles * (layout.tile_side // TOKEN_SIDE) ** 2
    return VisionTokens(
        str(family), "benchmark", mode, layout.side, layout.tile_side, layout.grid, A4, layout.vision_tokens,
        from_bf16(to_bf16(drawn((count, HIDDEN)))),
    )  # fmt: skip


def drawn(shape: tuple[int, int]) -> Floats:
    """Numbers as projected patches have them: offsets and sizes of their own in each channel, neighbours alike."""
    chance = numpy.random.default_rng(3)
    channels = numpy.exp(chance.normal(0, 0.7, shape[1]))
    channels[chance.integers(0, shape[1], 6)] *= 30
    rows = chance.normal(0, 1, shape)
    rows[1:] = 0.6 * rows[:-1] + 0.8 * rows[1:]
    return numpy.asarray((rows + chance.normal(0, 0.3, shape[1])) * channels, numpy.float32)


def gaussian(shape: tuple[int, int]) -> Floats:
    return numpy.asarray(numpy.random.default_rng(3).normal(0, 1, shape), numpy.float32)


def relative_rms(found: Floats, true: Floats) -> float:
    return float(numpy.sqrt(numpy.square(found - true).mean() / numpy.square(true).mean()))


def took_ms(work: Callable[[], object]) -> float:
    """The median of some rounds."""
    found = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        found.append((time.perf_counter() - started) * 1000)
    return median(found)


# -- texts of small random models ---------------------------------------------


def texts() -> list[Finding]:
    """How many pages have the same text, and how much of it, when they are decoded from stored vision tokens."""
    same: dict[TokenDtype, list[float]] = {dtype: [] for dtype in DTYPES}
    shares: dict[TokenDtype, list[float]] = {dtype: [] for dtype in DTYPES}
    with tempfile.TemporaryDirectory(prefix="lightdom-ocr-bench-") as folder:
        for family in FAMILIES:
            checkpoint = load_checkpoint(write_checkpoint(Path(folder) / family, family))
            requests = requests_of(checkpoint)
            direct = decoded(checkpoint, requests)
            for dtype in DTYPES:
                stored = decoded(checkpoint, [through(checkpoint, request, dtype) for request in requests])
                pairs = list(zip(direct, stored, strict=True))
                same[dtype].append(mean(before == after for before, after in pairs))
                shares[dtype].append(mean(common_share(before, after) for before, after in pairs))
    what = f"of {PAGES} pages of each family, decoded by small random models from"
    return [
        found
        for dtype in DTYPES
        for found in (
            Finding(f"{what} {dtype}: share with the very same text", mean(same[dtype]), "ratio"),
            Finding(f"{what} {dtype}: text before the first difference", mean(shares[dtype]), "ratio"),
        )
    ]


def requests_of(checkpoint: Checkpoint) -> list[Request]:
    """Requests to pages of noise, encoded already, with no ban on repetitions."""
    pages = [views_of(grain((150 + number, 200)), "tiny", checkpoint.resolutions) for number in range(PAGES)]
    image = checkpoint.model.config.image_token_id
    words = checkpoint.tokenizer.encode("\nFree OCR.", add_special_tokens=False)
    return [
        Request(number, [0, *[image] * len(features), *words], features, TEXT_TOKENS)
        for number, features in enumerate(encode(checkpoint, pages))
    ]


def through(checkpoint: Checkpoint, request: Request, dtype: TokenDtype) -> Request:
    """The same request, to vision tokens out of a container."""
    storing, layout = Storing(checkpoint), layout_of((150, 200), "tiny", checkpoint.resolutions)
    assert isinstance(request.page, torch.Tensor)
    tokens = storing.stored(request.page.bfloat16(), layout, "tiny", (150, 200))
    page = storing.restored(unpack(pack(tokens, dtype)))
    return Request(request.id, request.prompt, page, TEXT_TOKENS)


def decoded(checkpoint: Checkpoint, requests: Sequence[Request]) -> list[tuple[int, ...]]:
    window = window_of(checkpoint.model.config.text_config)
    batch = ContinuousBatch(checkpoint, Limits(16, 512, 512, prefill_tokens=2048, steps=8, window=window))
    for request in requests:
        batch.add(request)
    found: dict[object, tuple[int, ...]] = {}
    while len(batch):
        found |= {one.id: one.tokens for one in batch.step()}
    return [found[request.id] for request in requests]


def common_share(before: Sequence[int], after: Sequence[int]) -> float:
    """How much of the longer text stands before the first token that differs."""
    longest = max(len(before), len(after))
    common = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False))))
    return common / longest if longest else 1.0
