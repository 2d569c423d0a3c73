"""A device's memory: whether it ran out, and giving back what is free."""

from __future__ import annotations

import gc

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a step failed because memory ran out: on CUDA an error of its own, on the CPU a text."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def free_device() -> None:
    """Give the memory of tensors that nobody holds back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
