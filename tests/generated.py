"""Requests of mixed sizes, prompts, lengths and bans, and what the library's `generate()` makes of each alone."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from tests.tiny_models import BOS, EOS, IMAGE, tiny_model
from workers.engine.deepseek.batching import ContinuousBatch, Ended, Request
from workers.engine.deepseek.decoder import window_of
from workers.engine.deepseek.scheduler import Limits
from workers.engine.deepseek.vision import encode

FAMILIES = ("deepseek-ocr", "deepseek-ocr-2", "unlimited-ocr")
SLOT_TOKENS = {"deepseek-ocr": 128, "deepseek-ocr-2": 1024, "unlimited-ocr": 128}
WHITELIST = frozenset({7, 8, 9})


@dataclass(frozen=True)
class Pixels:
    """Random pixels in the shape of a page's views; `layout.grid` is all that encoding asks of a layout."""

    page: Tensor
    tiles: Tensor | None
    layout: Any


@dataclass(frozen=True)
class Ban:
    size: int
    window: int
    whitelist: frozenset[int] = WHITELIST


class OfficialBan(LogitsProcessor):
    """The official n-gram ban as it is written: one sequence, a search of the window for every token."""

    def __init__(self, prompt_tokens: int, ban: Any) -> None:
        self.prompt_tokens = prompt_tokens
        self.ban = ban

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        banned = [*official_bans(input_ids[0, self.prompt_tokens :].tolist(), self.ban)]
        if banned:
            scores = scores.clone()
            scores[0, banned] = -float("inf")
        return scores


def official_bans(tokens: list[int], ban: Any) -> set[int]:
    """Source: DeepSeek-OCR, process/ngram_norepeat.py."""
    if ban.size == 0 or len(tokens) < ban.size:
        return set()
    prefix = tuple(tokens[-(ban.size - 1) :])
    banned = set()
    for start in range(max(0, len(tokens) - ban.window), len(tokens) - ban.size + 1):
        ngram = tuple(tokens[start : start + ban.size])
        if ngram[:-1] == prefix:
            banned.add(ngram[-1])
    return banned - set(ban.whitelist)


class World:
    """A small model of a family, requests to it, and the tokens of each from `generate()`, one by one."""

    def __init__(self, family: str, count: int, seed: int = 7) -> None:
        self.family = family
        model = tiny_model(family)
        self.checkpoint: Any = SimpleNamespace(model=model, family=family)
        self.window = window_of(model.config.text_config)
        chance = random.Random(seed)
        self.requests = [self._request(number, chance) for number in range(count)]
        self.expected = {request.id: generated(model, family, request) for request in self.requests}

    def batch(self, slots: int = 8, steps: int = 4) -> ContinuousBatch:
        limits = Limits(slots, SLOT_TOKENS[self.family], 4096, prefill_tokens=1024, steps=steps, window=self.window)
        return ContinuousBatch(self.checkpoint, limits)

    def read(self, batch: ContinuousBatch, requests: Iterable[Request], *, at_a_time: int = 1000) -> dict[Any, Ended]:
        """Feed requests, so many before every step; what came of each."""
        return ended(batch, iter(requests), at_a_time, lambda: None)

    def differing(self, found: dict[Any, Ended]) -> list[Any]:
        """Ids of results that are not what `generate()` gave."""
        return [number for number, one in found.items() if tokens_of(one) != self.expected[number]]

    def _request(self, number: int, chance: random.Random) -> Request:
        noise = torch.Generator().manual_seed(number)
        side = chance.choice([64, 128, 128, 192])
        grid = chance.choice([(1, 1), (1, 1), (2, 1), (1, 2), (2, 2)])
        tiles = None if grid == (1, 1) else torch.randn(grid[0] * grid[1], 3, 64, 64, generator=noise)
        pixels: Any = Pixels(torch.randn(1, 3, side, side, generator=noise), tiles, SimpleNamespace(grid=grid))
        vision_tokens = len(encode(self.checkpoint, [pixels])[0])
        words = [chance.randrange(3, 400) for _ in range(chance.randrange(1, 7))]
        ban = Ban(chance.choice([0, 2, 3, 4]), chance.choice([10, 25]))
        return Request(number, [BOS, *[IMAGE] * vision_tokens, *words], pixels, chance.choice([1, 5, 20, 40]), ban)


def generated(model: Any, family: str, request: Request) -> list[int]:
    """The new tokens that `generate()` gives for a request alone, EOS included; its vision tokens in bfloat16."""
    ids = torch.tensor([request.prompt])
    ban = OfficialBan(len(request.prompt), request.ban)
    with mock.patch.object(model.model, "get_image_features", in_bfloat16(model.model.get_image_features)):
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=request.most_new_tokens,
            do_sample=False,
            pad_token_id=EOS,
            logits_processor=LogitsProcessorList([ban]),
            **pixel_arguments(family, request.page),
        )
    new: list[int] = out[0, len(request.prompt) :].tolist()
    return new


def in_bfloat16(encoded: Callable[..., Any]) -> Callable[..., Any]:
    """A model's encoder whose vision tokens are rounded to what a bfloat16 can hold."""

    @functools.wraps(encoded)  # `generate()` looks at the names of its arguments
    def rounded(*given: Any, **named: Any) -> Any:
        found = encoded(*given, **named)
        found.pooler_output = [features.bfloat16().to(features.dtype) for features in found.pooler_output]
        return found

    return rounded


def pixel_arguments(family: str, pixels: Any) -> dict[str, Any]:
    """A page's views as the library's models take them."""
    given: dict[str, Any] = {"pixel_values": pixels.page}
    if pixels.tiles is not None:
        given |= {"pixel_values_local": pixels.tiles, "num_local_patches": [len(pixels.tiles)]}
        if family != "deepseek-ocr-2":
            given["patches_grid"] = [list(pixels.layout.grid)]
    return given


def tokens_of(one: Ended) -> list[int]:
    """A result's tokens as `generate()` gives them: EOS is one of them."""
    return [*one.tokens, *[EOS] * one.ended]


def ended(
    batch: ContinuousBatch, requests: Iterable[Request], at_a_time: int, after_step: Callable[[], None]
) -> dict[Any, Ended]:
    """Run a batch until nothing is left, with some requests added before every step."""
    coming, found = iter(requests), dict[Any, Ended]()
    while True:
        for _, request in zip(range(at_a_time), coming, strict=False):
            batch.add(request)
        if not len(batch):
            return found
        found |= {one.id: one for one in batch.step()}
        after_step()
