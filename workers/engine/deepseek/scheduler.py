"""Which text is where: waiting, or live in a slot. Decides who starts and how far a step goes; knows no tensors.

A step is `start` (prompts are prefilled, a bounded number of tokens), `round` (some tokens are decoded for all live
texts), `record` (what came out; a text that ended leaves its slot at once). So neither half can starve the other.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(eq=False)
class Text:
    """A text that is being generated. `tokens`: what came out so far, EOS included; `ended`: EOS was seen."""

    id: Hashable
    prompt_tokens: int
    most_new_tokens: int  # 0: its prompt is all that is wanted
    slot: int = -1
    tokens: list[int] = field(default_factory=list)
    ended: bool = False

    @property
    def cached(self) -> int:
        """Tokens whose keys and values are in the slot: all but the newest, which is the next input."""
        return self.prompt_tokens + max(0, len(self.tokens) - 1)

    @property
    def steps_left(self) -> int:
        """Decode steps until it is as long as it may be; prefill brings the first token."""
        return max(0, self.most_new_tokens - max(1, len(self.tokens)))

    def append(self, tokens: Sequence[int], eos: Collection[int]) -> bool:
        """Take new tokens up to EOS or the limit; True when the text is over."""
        for token in tokens[: self.most_new_tokens - len(self.tokens)]:
            self.tokens.append(token)
            if token in eos:
                self.ended = True
                break
        return self.ended or len(self.tokens) >= self.most_new_tokens


class Round(NamedTuple):
    """What to decode: `steps` tokens in the first `slots` slots, looking at the first `time` places of each."""

    slots: int
    time: int
    steps: int


@dataclass(frozen=True)
class Limits:
    """Bounds of a step, and the sizes that rounds are rounded up to (few, where each costs a CUDA graph).

    context: positions that the model knows; slot_tokens: tokens of which a slot keeps keys and values.
    window: generated tokens that are kept, for models that forget older ones; None: all.
    """

    slots: int
    slot_tokens: int
    context: int
    prefill_tokens: int = 4096
    steps: int = 8
    slot_sizes: tuple[int, ...] = ()
    time_sizes: tuple[int, ...] = ()
    window: int | None = None

    def places(self, prompt_tokens: int, new_tokens: int) -> int:
        """Places of a slot that a text takes."""
        return prompt_tokens + (new_tokens if self.window is None else min(new_tokens, self.window))

    def room(self, prompt_tokens: int) -> int:
        """The most new tokens that a text with such a prompt can have; below 1 when it does not fit at all."""
        if self.window is None:
            return min(self.context, self.slot_tokens) - prompt_tokens
        return self.context - prompt_tokens if self.places(prompt_tokens, self.window) <= self.slot_tokens else 0


class Scheduler:
    """Slots are taken lowest first, so that live ones stay together at the front."""

    def __init__(self, limits: Limits, eos: Collection[int]) -> None:
        self.limits = limits
        self.eos = frozenset(eos)
        self.waiting: deque[Text] = deque()
        self.live: dict[int, Text] = {}
        self._free = list(range(limits.slots))

    def add(self, text: Text, *, first: bool = False) -> None:
        """Let a text wait; `first`: before all others. Raises ValueError for one that no slot can hold."""
        room = self.limits.room(text.prompt_tokens)
        if text.most_new_tokens > room:
            wanted = f"{text.most_new_tokens} new tokens after a prompt of {text.prompt_tokens}"
            raise ValueError(f"{wanted} are more than a slot has room for: {room}")
        (self.waiting.appendleft if first else self.waiting.append)(text)

    def start(self) -> list[Text]:
        """Give free slots to waiting texts, oldest first: at least one, and as many as the step's bound allows.

        Prefilled together are texts of about one length, so that little of it is padding.
        """
        if not self.waiting or not self._free:
            return []
        size = self._size(self.waiting[0].prompt_tokens)
        most = max(1, min(len(self._free), self.limits.prefill_tokens // size))
        chosen = [text for text in self.waiting if self._size(text.prompt_tokens) == size][:most]
        for text in chosen:
            self.waiting.remove(text)
            text.slot = heapq.heappop(self._free)
            self.live[text.slot] = text
        return chosen

    def round(self) -> Round | None:
        """How far to decode now; None when nothing is live."""
        if not self.live:
            return None
        limits = self.limits
        steps = min(limits.steps, max(text.steps_left for text in self.live.values()))
        time = max(
            limits.places(text.prompt_tokens, text.cached - text.prompt_tokens + steps) for text in self.live.values()
        )
        slots = _rounded(max(self.live) + 1, limits.slot_sizes)
        return Round(min(slots, limits.slots), min(_rounded(time, limits.time_sizes), limits.slot_tokens), steps)

    def record(self, produced: Sequence[Sequence[int]]) -> list[Text]:
        """Take a round's tokens, (steps + 1, slots): the first step's inputs, then all outputs; return who ended."""
        ended = []
        for slot, text in list(self.live.items()):
            column = [row[slot] for row in produced]
            if text.append(column[1:] if text.tokens else column, self.eos):
                self._leave(slot)
                ended.append(text)
        return ended

    def remove(self, ids: Collection[Hashable]) -> None:
        """Forget texts; their slots are free at once."""
        self.waiting = deque(text for text in self.waiting if text.id not in ids)
        for slot in [slot for slot, text in self.live.items() if text.id in ids]:
            self._leave(slot)

    def _leave(self, slot: int) -> None:
        del self.live[slot]
        heapq.heappush(self._free, slot)

    def _size(self, prompt_tokens: int) -> int:
        return _rounded(prompt_tokens, PROMPT_SIZES)


PROMPT_SIZES = (64, 128, 192, 256, 320, 448, 640, 896, 1280, 1792, 2560, 3584)


def _rounded(number: int, sizes: Sequence[int]) -> int:
    """The smallest of the sizes (ascending) that is large enough; the number itself beyond them."""
    place = bisect_left(sizes, number)
    return sizes[place] if place < len(sizes) else number
