"""The full-size architecture of DeepSeek-OCR with random weights on one CUDA device: speed, memory, the ceiling.

Written without a device at hand. `--tiny` runs every line on the CPU with a small model; its numbers mean nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from transformers import UnlimitedOcrConfig, UnlimitedOcrForConditionalGeneration

from tests.benchmarks.engine_cpu import generate, rate
from tests.benchmarks.report import Finding
from tests.generated import Pixels
from tests.tiny_models import tiny_model
from workers.engine.deepseek.batching import ContinuousBatch, Request
from workers.engine.deepseek.cache import slot_bytes
from workers.engine.deepseek.limits import limits_for

GIB = 1 << 30
TILE = 640


@dataclass(frozen=True)
class Scale:
    """How much is measured. modes: side of the page's view and (columns, rows) of tiles; context: tokens in a slot."""

    modes: dict[str, tuple[int, tuple[int, int]]]
    tile: int
    sequences: tuple[int, ...]
    context: int
    pages: int
    page_tokens: int
    copied: int
    rounds: int


FULL = Scale(
    modes={
        "tiny": (512, (0, 0)),
        "small": (640, (0, 0)),
        "base": (1024, (0, 0)),
        "large": (1280, (0, 0)),
        "gundam": (1024, (2, 3)),
    },
    tile=TILE,
    sequences=(1, 16, 64, 128),
    context=1500,
    pages=100,
    page_tokens=1000,
    copied=4 * GIB,
    rounds=16,
)
TINY = Scale({"base": (128, (0, 0)), "gundam": (128, (2, 1))}, 64, (1, 4), 60, 5, 20, 1 << 20, 2)


def findings(device: torch.device, *, tiny: bool) -> list[Finding]:
    scale = TINY if tiny else FULL
    model = tiny_model("deepseek-ocr").to(device) if tiny else full_model(device)
    with torch.no_grad():
        model.lm_head.weight[model.config.text_config.eos_token_id] = 0  # texts end at their limit
    limits = limits_for(model, most_slots=max(scale.sequences))
    checkpoint: Any = SimpleNamespace(model=model, family="deepseek-ocr")
    batch = ContinuousBatch(checkpoint, limits)
    bandwidth = copy_bandwidth(device, scale.copied)
    per_slot = slot_bytes(model.config.text_config, limits.slot_tokens, model.dtype) / GIB
    return [
        Finding("copy bandwidth, bytes read and written", bandwidth / 1e9, "GB/s"),
        Finding("slots", limits.slots, "pages"),
        Finding("key-value cache of a slot", per_slot, "GiB"),
        *(prefill(batch, model, mode, scale) for mode in scale.modes),
        *(
            finding
            for n in scale.sequences
            if n <= limits.slots
            for finding in decode(batch, model, n, bandwidth, scale)
        ),
        *whole_pages(batch, model, scale),
        *against_generate(batch, model, scale),
        *memory(device),
    ]


def full_model(device: torch.device) -> Any:
    """DeepSeek-OCR as published, weights random, bfloat16."""
    text = {"layer_types": ["full_attention"] * 12, "sliding_window": 128, "max_position_embeddings": 8192}
    config = UnlimitedOcrConfig(
        text_config=text, vision_config={"sam_config": {"initializer_range": 0.02}}, image_token_id=128815
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            return UnlimitedOcrForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)


def seconds(run: Callable[[], Any]) -> float:
    """How long a run takes until the device is done with it."""
    synchronize()
    started = time.perf_counter()
    run()
    synchronize()
    return time.perf_counter() - started


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def copy_bandwidth(device: torch.device, size: int) -> float:
    """Bytes a second, read and written, of copies between two tensors."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 10 * 2 * size / seconds(lambda: [target.copy_(source) for _ in range(10)])


def request(number: int, model: Any, mode: str, scale: Scale, new_tokens: int) -> Request:
    side, grid = scale.modes[mode]
    config, whole, tile = model.config, side // 64, scale.tile // 64
    tiles = torch.rand(grid[0] * grid[1], 3, scale.tile, scale.tile) if grid[0] else None
    vision_tokens = whole * (whole + 1) + 1 + grid[1] * tile * (grid[0] * tile + 1)
    pixels: Any = Pixels(torch.rand(1, 3, side, side), tiles, SimpleNamespace(grid=grid))
    words = [5 + number % 100, 11, 12, 13, 14, 15, 16, 17]
    prompt = [config.text_config.bos_token_id, *[config.image_token_id] * vision_tokens, *words]
    return Request(number, prompt, pixels, new_tokens)


def run(batch: ContinuousBatch, requests: Sequence[Request]) -> None:
    for one in requests:
        batch.add(one)
    while len(batch):
        batch.step()


def prefill(batch: ContinuousBatch, model: Any, mode: str, scale: Scale) -> Finding:
    """Pages a second, from pixels to the first text token."""
    requests = [request(number, model, mode, scale, 1) for number in range(16)]
    run(batch, requests[:4])
    return Finding(f"prefill, mode {mode}", len(requests) / seconds(lambda: run(batch, requests)), "pages/s")


def decode(batch: ContinuousBatch, model: Any, n: int, bandwidth: float, scale: Scale) -> list[Finding]:
    """Text tokens a second of n live slots, and what share that is of what the bandwidth allows."""
    decoder, limits = batch.decoder, batch.scheduler.limits
    time_read = next((t for t in limits.time_sizes if t >= scale.context + limits.steps), limits.slot_tokens)

    def steps() -> None:
        for _ in range(scale.rounds):
            decoder.cached.fill_(scale.context)
            decoder.decode(n, time_read, limits.steps)

    steps()  # captures what there is to capture
    tokens = n * scale.rounds * limits.steps / seconds(steps)
    ceiling = n * bandwidth / bytes_per_step(model, n, scale.context)
    goal = 0.5 if n in (64, 128) else None
    return [
        Finding(f"decode, {n} sequences, context {scale.context}", tokens, "text tokens/s"),
        Finding(f"decode, {n} sequences: share of the bandwidth's ceiling", tokens / ceiling, "ratio", goal),
    ]


def bytes_per_step(model: Any, n: int, context: int) -> float:
    """Bytes that a step must read: cache and weights, of the experts those that n tokens are likely to hit."""
    text = model.config.text_config
    missed = (1 - text.num_experts_per_tok / text.n_routed_experts) ** n
    weights = sum(
        weight.nbytes * ((1 - missed) if ".experts." in name else 1)
        for name, weight in model.model.language_model.layers.named_parameters()
    )
    return float(weights + model.lm_head.weight.nbytes + n * slot_bytes(text, context, model.dtype))


def whole_pages(batch: ContinuousBatch, model: Any, scale: Scale) -> list[Finding]:
    """Pages of base mode from pixels to their last token, all there at once."""
    requests = [request(number, model, "base", scale, scale.page_tokens) for number in range(scale.pages)]
    run(batch, requests)  # every shape of a round has been seen now
    what = f"{scale.pages} pages of {scale.page_tokens} text tokens, mode base"
    return [Finding(what, seconds(lambda: run(batch, requests)), "s", 20, at_most=True)]


def against_generate(batch: ContinuousBatch, model: Any, scale: Scale) -> list[Finding]:
    """The same pages by the library at its best: batched, static cache, compiled, grouped experts kept for decoding."""
    count = min(64, scale.pages)
    requests = [request(number, model, "base", scale, scale.page_tokens // 4) for number in range(count)]
    model._optimize_model_for_decode = nullcontext  # it would switch to batched_mm
    model.generation_config.cache_implementation = "static"
    try:
        generate(model, requests)
        library = rate(requests, lambda: seconds(lambda: generate(model, requests)))
    finally:
        del model._optimize_model_for_decode
        model.generation_config.cache_implementation = None
    ours = rate(requests, lambda: seconds(lambda: run(batch, requests)))
    return [
        Finding(f"generate() at its best, {count} pages at once", library, "text tokens/s"),
        Finding("continuous batching against that", ours / library, "ratio", 3),
    ]


def memory(device: torch.device) -> list[Finding]:
    if device.type != "cuda":
        return []
    return [Finding("memory, at its peak", torch.cuda.max_memory_allocated(device) / GIB, "GiB")]
