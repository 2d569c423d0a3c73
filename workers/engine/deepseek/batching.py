"""Continuous batching: requests in at any time, texts out as soon as each ends."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from workers.engine.deepseek.decoder import Decoder
from workers.engine.deepseek.ngrams import Ban
from workers.engine.deepseek.scheduler import Limits, Scheduler, Text
from workers.engine.deepseek.vision import encode

if TYPE_CHECKING:
    from workers.engine.deepseek.checkpoint import Checkpoint
    from workers.engine.deepseek.pixels import Views


@dataclass(frozen=True)
class Request:
    """A page to read, or vision tokens to turn into text again.

    prompt: token ids, the image's placeholders among them; page: its pixels, or vision tokens (placeholders, hidden).
    most_new_tokens 0 with keep_features: the page is encoded and not read.
    """

    id: Hashable
    prompt: Sequence[int]
    page: Views | Tensor
    most_new_tokens: int
    ban: Ban | None = None
    keep_features: bool = False


@dataclass(frozen=True)
class Ended:
    """A finished request. tokens: EOS left out; ended: it came to EOS.

    features: the vision tokens (placeholders, hidden) bfloat16 on the CPU, if they were asked for.
    """

    id: Hashable
    tokens: tuple[int, ...]
    ended: bool
    features: Tensor | None = None


class ContinuousBatch:
    """Slots that requests pass through. One thread drives it."""

    def __init__(self, checkpoint: Checkpoint, limits: Limits) -> None:
        config: Any = checkpoint.model.config
        eos = config.text_config.eos_token_id
        self.checkpoint = checkpoint
        self.image_token = config.image_token_id
        self.scheduler = Scheduler(limits, eos if isinstance(eos, Sequence) else [eos])
        self.decoder = Decoder(checkpoint.model, slots=limits.slots, slot_tokens=limits.slot_tokens, steps=limits.steps)
        self.waiting: dict[Hashable, Request] = {}  # let go of when they start: their pixels take much memory
        self.features: dict[Hashable, Tensor] = {}  # that were asked for, of live ones

    def __len__(self) -> int:
        return len(self.scheduler.waiting) + len(self.scheduler.live)

    def add(self, request: Request, *, first: bool = False) -> None:
        """Let a request wait; `first`: before the others. Raises ValueError for one that does not fit a slot."""
        self.scheduler.add(Text(request.id, len(request.prompt), request.most_new_tokens), first=first)
        self.waiting[request.id] = request

    def step(self) -> list[Ended]:
        """A bounded piece of work: some prompts, and some tokens for every live text; returns what ended."""
        started = self.scheduler.start()
        if started:
            self._prefill(started)
        what = self.scheduler.round()
        if what is None:
            return []
        return [self._finished(text) for text in self.scheduler.record(self.decoder.decode(*what))]

    def remove(self, ids: Collection[Hashable]) -> None:
        """Forget requests; what they held is free at once."""
        self.scheduler.remove(ids)
        for gone in ids:
            self.waiting.pop(gone, None)
            self.features.pop(gone, None)

    @torch.inference_mode()
    def _prefill(self, texts: Sequence[Text]) -> None:
        requests = [self.waiting.pop(text.id) for text in texts]
        features = self._encoded(requests)
        self.features |= {r.id: f.cpu() for r, f in zip(requests, features, strict=True) if r.keep_features}
        reading = [n for n, request in enumerate(requests) if request.most_new_tokens]
        if reading:
            self.decoder.prefill(
                [self._embedded(requests[n].prompt, features[n]) for n in reading],
                [texts[n].slot for n in reading],
                [requests[n].ban for n in reading],
            )

    def _encoded(self, requests: Sequence[Request]) -> list[Tensor]:
        """The vision tokens of each request's page, (placeholders, hidden).

        In bfloat16, whatever the model is in: so stored ones are decoded to the very text of the page they are of.
        """
        views = [request.page for request in requests if not isinstance(request.page, Tensor)]
        fresh = iter(encode(self.checkpoint, views))
        found = [request.page if isinstance(request.page, Tensor) else next(fresh) for request in requests]
        return [features.bfloat16() for features in found]

    def _embedded(self, prompt: Sequence[int], features: Tensor) -> Tensor:
        """A prompt's embeddings (prompt, hidden), its placeholders replaced by vision tokens."""
        embed = self.decoder.embed
        ids = torch.tensor(list(prompt), device=embed.weight.device)  # (prompt,)
        hidden: Tensor = embed(ids)  # (prompt, hidden)
        placeholders = list(prompt).count(self.image_token)
        if placeholders != len(features):
            raise ValueError(f"{placeholders} placeholders for {len(features)} vision tokens")
        hidden[ids == self.image_token] = features.to(hidden.device, hidden.dtype)
        return hidden

    def _finished(self, text: Text) -> Ended:
        tokens = text.tokens[:-1] if text.ended else text.tokens
        return Ended(text.id, tuple(tokens), text.ended, self.features.pop(text.id, None))
