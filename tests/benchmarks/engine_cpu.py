"""Continuous batching on the CPU against the library's `generate()`: same weights, same requests, taking turns."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from tests.benchmarks.report import Finding, interleaved
from tests.generated import Pixels
from tests.tiny_models import BOS, EOS, IMAGE, tiny_model
from workers.engine.deepseek.batching import ContinuousBatch, Request
from workers.engine.deepseek.scheduler import Limits

SLOTS = 16
SIDE, VISION_TOKENS = 256, 21
REQUESTS = 96
SHORTEST, LONGEST = 10, 200  # text tokens


def findings() -> list[Finding]:
    torch.set_num_threads(1)
    model = small_model()
    requests = mixed_requests(REQUESTS)
    rates = interleaved(
        3,
        slots=lambda: rate(requests, lambda: read_all(model, requests)),
        batched=lambda: rate(requests, lambda: generate_batched(model, requests)),
        single=lambda: rate(requests[::6], lambda: generate_one_by_one(model, requests[::6])),
    )
    what = f"continuous batching in {SLOTS} slots, text tokens/s against"
    return [
        Finding(f"{what} generate() one by one", rates["slots"] / rates["single"], "ratio", 8),
        Finding(f"{what} generate() in batches of {SLOTS}", rates["slots"] / rates["batched"], "ratio", 1),
    ]


def small_model() -> Any:
    """A random model whose texts end at their limit only; so small that a token costs about as much alone as among
    sixteen, as on a GPU.
    """
    model = tiny_model("deepseek-ocr", vocab_size=4096)
    with torch.no_grad():
        model.lm_head.weight[EOS] = 0
    return model


def mixed_requests(count: int) -> list[Request]:
    chance = random.Random(5)
    noise = torch.Generator().manual_seed(5)
    found = []
    for number in range(count):
        pixels: Any = Pixels(torch.randn(1, 3, SIDE, SIDE, generator=noise), None, SimpleNamespace(grid=(1, 1)))
        words = [chance.randrange(3, 4000) for _ in range(5)]
        found.append(
            Request(number, [BOS, *[IMAGE] * VISION_TOKENS, *words], pixels, chance.randrange(SHORTEST, LONGEST))
        )
    return found


def rate(requests: Sequence[Request], run: Any) -> float:
    """Text tokens a second."""
    started = time.perf_counter()
    run()
    return sum(request.most_new_tokens for request in requests) / (time.perf_counter() - started)


def read_all(model: Any, requests: Sequence[Request]) -> None:
    batch = loop(model)
    for request in requests:
        batch.add(request)
    while len(batch):
        batch.step()


def loop(model: Any) -> ContinuousBatch:
    return ContinuousBatch(checkpoint_of(model), Limits(SLOTS, 256, 4096, prefill_tokens=512, steps=4))


def checkpoint_of(model: Any) -> Any:
    """What a batch wants to know of a model."""
    return SimpleNamespace(model=model, family="deepseek-ocr")


class EachAtItsLimit(StoppingCriteria):
    """Ends each sequence of a batch when it has as many new tokens as it may have."""

    def __init__(self, prompt_tokens: int, limits: Tensor) -> None:
        self.lengths = prompt_tokens + limits  # (n,)

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Any:
        return input_ids.shape[1] >= self.lengths


def generate_batched(model: Any, requests: Sequence[Request]) -> None:
    for start in range(0, len(requests), SLOTS):
        generate(model, requests[start : start + SLOTS])


def generate_one_by_one(model: Any, requests: Sequence[Request]) -> None:
    for request in requests:
        generate(model, [request])


def generate(model: Any, requests: Sequence[Request]) -> Any:
    """The library's texts of requests with prompts of one length."""
    ids = torch.tensor([list(request.prompt) for request in requests], device=model.device)
    pages: list[Any] = [request.page for request in requests]
    pixels = torch.cat([pixels.page for pixels in pages]).to(model.device, model.dtype)
    limits = torch.tensor([request.most_new_tokens for request in requests], device=model.device)
    return model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=pixels,
        do_sample=False,
        pad_token_id=EOS,
        max_new_tokens=int(limits.max()),
        stopping_criteria=StoppingCriteriaList([EachAtItsLimit(ids.shape[1], limits)]),
    )
