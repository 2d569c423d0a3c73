"""How many pages a device holds, how long they may get, and how much one step does."""

from __future__ import annotations

from typing import Any

from workers.engine.deepseek.cache import slots_that_fit
from workers.engine.deepseek.decoder import window_of
from workers.engine.deepseek.scheduler import Limits

LONGEST_PROMPT = 5120  # tokens of a page with all the tiles that any mode has
# Tokens of each text between two looks at what came out, and prompt tokens that are prefilled meanwhile.
CUDA_STEPS, CUDA_PREFILL_TOKENS = 8, 2048
CPU_STEPS, CPU_PREFILL_TOKENS = 4, 512
# On CUDA each shape of a round costs a graph, so there are few.
CUDA_SLOT_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256)
CUDA_TIME_SIZES = (512, 1024, 1536, 2048, 2560, 3072, 4096, 5120, 6144, 8192)


def pages_held(slots: int) -> int:
    """Pages that an engine with so many slots takes in: some more, so that a slot that gets free finds one prepared.

    Else it would stand empty for the way of the last page out and of the next one in, and while that one is cut up.
    """
    return slots + slots // 8


def limits_for(model: Any, *, most_slots: int) -> Limits:
    """The limits for a model that is on its device already, by the memory that is free there."""
    config, weight = model.config.text_config, model.get_input_embeddings().weight
    context, window = config.max_position_embeddings, window_of(config)
    slot_tokens = context if window is None else min(context, LONGEST_PROMPT + window)
    slots = slots_that_fit(config, slot_tokens, most=most_slots, dtype=weight.dtype, device=weight.device)
    if weight.device.type != "cuda":
        return Limits(slots, slot_tokens, context, CPU_PREFILL_TOKENS, CPU_STEPS, window=window)
    sizes = (CUDA_SLOT_SIZES, CUDA_TIME_SIZES)
    return Limits(slots, slot_tokens, context, CUDA_PREFILL_TOKENS, CUDA_STEPS, *sizes, window)
