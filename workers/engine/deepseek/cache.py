"""Keys and values of all slots in two tensors of fixed size, and how many slots a device has room for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor

GIB = 1 << 30
RESERVED = 6 * GIB  # of a device's memory: for encoding a few large pages, prefill and graphs
CPU_SLOTS = 16  # more of them make a CPU no faster


class KeyValueCache:
    """(layers, slots, heads, time, dim) of keys and of values; what an earlier text left is masked, not erased."""

    def __init__(self, config: Any, slots: int, time: int, *, dtype: torch.dtype, device: torch.device) -> None:
        shape = (config.num_hidden_layers, slots, config.num_key_value_heads, time, config.head_dim)
        self.keys = zeros(shape, dtype, device)
        self.values = zeros(shape, dtype, device)


class PrefillView:
    """What the decoder's layers see as their cache while prompts go in: it stores them, and gives back only them."""

    def __init__(self, cache: KeyValueCache, slots: Tensor) -> None:
        self.cache = cache
        self.slots = slots  # (n,)

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values (n, heads, time, dim) of whole prompts, padded at the end."""
        time = keys.shape[2]
        self.cache.keys[layer, self.slots, :, :time] = keys
        self.cache.values[layer, self.slots, :, :time] = values
        return keys, values


class DecodeView:
    """What the decoder's layers see as their cache while decoding: it writes one place in each of the first n slots."""

    def __init__(self, cache: KeyValueCache, rows: Tensor, places: Tensor, time: int) -> None:
        self.cache = cache
        self.rows = rows  # (n,): 0, 1, 2 ...
        self.places = places  # (n,): where in its slot each one's token goes
        self.time = time

    def update(self, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values (n, heads, 1, dim) in; (n, heads, time, dim) of the slots out, views without a copy."""
        n = len(self.rows)
        all_keys, all_values = self.cache.keys[layer], self.cache.values[layer]  # (slots, heads, time, dim)
        all_keys[self.rows, :, self.places] = keys[:, :, 0]
        all_values[self.rows, :, self.places] = values[:, :, 0]
        return all_keys[:n, :, : self.time], all_values[:n, :, : self.time]


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros: what was never written is multiplied by a weight of 0, and that must not be NaN.

    On the CPU they cost memory only where they are written, which torch's own do not manage.
    """
    if device.type == "cuda":
        return torch.zeros(shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    return torch.from_numpy(np.zeros(size, np.uint8)).view(dtype).view(shape)


def slot_bytes(config: Any, time: int, dtype: torch.dtype) -> int:
    """Bytes of one slot."""
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * dtype.itemsize
    return int(per_token * time)


def slots_that_fit(config: Any, time: int, *, most: int, dtype: torch.dtype, device: torch.device) -> int:
    """Slots for which the device has room now, with the model on it already: 1 to `most`."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] - RESERVED
    else:
        most, free = min(most, CPU_SLOTS), psutil.virtual_memory().available // 2
    return int(max(1, min(most, free // slot_bytes(config, time, dtype))))
