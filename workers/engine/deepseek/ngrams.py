"""The n-gram ban, for all slots at once: no n-gram comes twice within a window of generated tokens.

The official processor (DeepSeek-OCR, `process/ngram_norepeat.py`; vLLM carries the same) searches the window anew for
every token of every sequence. Here each slot remembers, for every distance d, how many of its last tokens equal those d
places before: then one token more costs one comparison per distance, and a match of n - 1 tokens means that the token
after the earlier ones would complete an n-gram a second time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import torch
from torch import Tensor

ALLOWED = 8  # tokens that a ban may except
NOTHING = -1
NEVER = 1 << 20


class Ban(Protocol):
    """No `size` tokens twice within the last `window` ones, unless the whitelist has the last of them; 0: no ban."""

    @property
    def size(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def whitelist(self) -> Collection[int]: ...


class NgramBans:
    """The bans of all slots and what has to be known of their texts. All tensors stay where they are (CUDA graphs)."""

    def __init__(self, slots: int, *, longest_window: int, device: torch.device) -> None:
        def filled(value: int, *shape: int) -> Tensor:
            return torch.full(shape, value, dtype=torch.int64, device=device)

        self.recent = filled(NOTHING, slots, longest_window)  # (slots, distance): newest first
        self.matched = filled(0, slots, longest_window)  # (slots, distance): equal last tokens
        self.needed = filled(NEVER, slots, 1)  # n - 1
        self.reach = filled(0, slots, 1)  # largest distance of an n-gram inside the window
        self.allowed = filled(NOTHING, slots, 1, ALLOWED)
        self.distance = torch.arange(1, longest_window + 1, device=device)  # (distance,)

    def start(self, slot: int, ban: Ban | None) -> None:
        """A new text in a slot; raises ValueError for a ban that is larger than was planned for."""
        self.recent[slot] = NOTHING
        self.matched[slot] = 0
        self.needed[slot] = NEVER
        if ban is None or ban.size == 0:
            return
        allowed = sorted(ban.whitelist)
        reach = ban.window - ban.size + 1
        if ban.size < 2 or reach > self.recent.shape[1] or len(allowed) > ALLOWED:
            most = f"at most {self.recent.shape[1]} back and {ALLOWED} exceptions"
            raise ValueError(f"n-grams of {ban.size} in {ban.window} with {len(allowed)} exceptions; {most}")
        self.needed[slot] = ban.size - 1
        self.reach[slot] = reach
        self.allowed[slot] = NOTHING
        self.allowed[slot, 0, : len(allowed)] = torch.tensor(allowed, dtype=torch.int64)

    def append(self, tokens: Tensor) -> None:
        """The newest token (n,) of each of the first n slots."""
        recent, matched = self.recent[: len(tokens)], self.matched[: len(tokens)]
        matched.add_(1).masked_fill_(recent != tokens[:, None], 0)
        recent.copy_(torch.cat([tokens[:, None], recent[:, :-1]], dim=1))

    def apply(self, logits: Tensor) -> Tensor:
        """The logits (n, vocabulary) of the first n slots, -inf for the tokens that are banned now."""
        n = len(logits)
        recent = self.recent[:n]  # (n, distance): the token that followed the earlier occurrence
        banned = (self.matched[:n] >= self.needed[:n]) & (self.distance <= self.reach[:n])  # (n, distance)
        banned &= (recent[:, :, None] != self.allowed[:n]).all(-1)
        penalty = torch.zeros_like(recent, dtype=logits.dtype).masked_fill_(banned, float("-inf"))
        return logits.scatter_add(1, recent.clamp(min=0), penalty)
