"""Prefill and decode over the library's own layers, for all slots at once, with positions of their own per slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workers.engine.deepseek.cache import DecodeView, KeyValueCache, PrefillView
from workers.engine.deepseek.graphs import Graphs
from workers.engine.deepseek.ngrams import Ban, NgramBans

LONGEST_WINDOW = 128


class Decoder:
    """The text half of a model and the state of its slots.

    Everything a decode step reads or writes stays where it is, and no step waits for the device: so one can be recorded
    as a CUDA graph, and `steps` of them are queued before the host looks at what came out.
    """

    def __init__(self, model: Any, *, slots: int, slot_tokens: int, steps: int) -> None:
        self.embed = model.get_input_embeddings()
        self.text = model.model.language_model
        self.head = model.lm_head
        self.window = window_of(self.text.config)
        device, dtype = self.embed.weight.device, self.embed.weight.dtype
        # Off the CPU, `generate()` decodes with batched_mm instead, which copies the experts of every token; here
        # grouped_mm stays.
        model.set_experts_implementation("grouped_mm")
        self.cache = KeyValueCache(self.text.config, slots, slot_tokens, dtype=dtype, device=device)
        self.bans = NgramBans(slots, longest_window=LONGEST_WINDOW, device=device)
        self.tokens = torch.zeros(slots, dtype=torch.int64, device=device)  # the next input of each slot
        self.cached = torch.zeros(slots, dtype=torch.int64, device=device)  # tokens of it that went through the layers
        self.prompts = torch.zeros(slots, dtype=torch.int64, device=device)  # of those, the prompt's
        self.rows = torch.arange(slots, device=device)
        self.times = torch.arange(slot_tokens, device=device)
        self.produced = torch.zeros((steps + 1, slots), dtype=torch.int64, device=device)
        self.graphs = Graphs(self._step, device)

    @torch.inference_mode()
    def prefill(self, prompts: Sequence[Tensor], slots: Sequence[int], bans: Sequence[Ban | None]) -> None:
        """Take embedded prompts (prompt, hidden), one a slot, and find each one's first token."""
        device = self.tokens.device
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)  # (n,)
        places = torch.tensor(list(slots), device=device)  # (n,)
        # Padding stands behind each prompt, where causal attention does not look.
        hidden = torch.nn.utils.rnn.pad_sequence(list(prompts), batch_first=True)  # (n, time, hidden)
        positions = self.times[None, : hidden.shape[1]]  # (1, time)
        hidden = self._layers(hidden, positions, None, PrefillView(self.cache, places))
        last = hidden[torch.arange(len(prompts), device=device), lengths - 1]  # (n, hidden)
        for slot, ban in zip(slots, bans, strict=True):
            self.bans.start(slot, ban)
        self.tokens[places] = self.head(self.text.norm(last)).float().argmax(-1)
        self.cached[places] = lengths
        self.prompts[places] = lengths

    @torch.inference_mode()
    def decode(self, slots: int, time: int, steps: int) -> list[list[int]]:
        """Decode `steps` tokens in the first `slots` slots; `time`: places of a slot that are read.

        Returns (steps + 1, slots): the inputs of the first step, then the outputs of each. Slots with nothing in them
        take part and give nonsense.
        """
        self.produced[0, :slots] = self.tokens[:slots]
        for step in range(steps):
            self.graphs.run(slots, time)
            self.produced[step + 1, :slots] = self.tokens[:slots]
        return self.produced[: steps + 1, :slots].tolist()

    def _step(self, slots: int, time: int) -> None:
        tokens, cached = self.tokens[:slots], self.cached[:slots]  # (slots,)
        self.bans.append(tokens)
        hidden = self.embed(tokens)[:, None]  # (slots, 1, hidden)
        view = DecodeView(self.cache, self.rows[:slots], self._places(slots).clamp(max=time - 1), time)
        hidden = self._layers(hidden, self._positions(slots), self._mask(slots, time, hidden.dtype), view)
        logits = self.head(self.text.norm(hidden[:, 0])).float()  # (slots, vocabulary)
        tokens.copy_(self.bans.apply(logits).argmax(-1))
        cached += 1

    def _positions(self, slots: int) -> Tensor:
        """(slots, 1): a token's position is the number of those before it, forgotten ones too."""
        return self.cached[:slots, None]

    def _places(self, slots: int) -> Tensor:
        """(slots,): where the next keys and values go; with a window, over those of the oldest generated token."""
        cached, prompts = self.cached[:slots], self.prompts[:slots]
        return cached if self.window is None else prompts + (cached - prompts) % self.window

    def _mask(self, slots: int, time: int, dtype: torch.dtype) -> Tensor:
        """(slots, 1, 1, time), to be added: 0 for the places in use, the one being written included, else -inf."""
        used = self.cached[:slots] + 1
        if self.window is not None:
            used = torch.minimum(used, self.prompts[:slots] + self.window)
        unused = self.times[:time] >= used[:, None]  # (slots, time)
        # Not `where`: it copies its numbers from the host, which a graph cannot hold.
        mask = torch.zeros((slots, time), dtype=dtype, device=used.device).masked_fill_(unused, float("-inf"))
        return mask[:, None, None]

    def _layers(self, hidden: Tensor, positions: Tensor, mask: Tensor | None, cache: Any) -> Tensor:
        """(n, time, hidden) through all layers; positions (n or 1, time). No mask: causal."""
        rotary = self.text.rotary_emb(hidden, position_ids=positions)
        for layer in self.text.layers:
            hidden = layer(
                hidden,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                position_embeddings=rotary,
            )
        return hidden


def window_of(config: Any) -> int | None:
    """Generated tokens that attention still sees, for models with a reference sliding window; None: all of them."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds == {"full_attention"}:
        return None
    if kinds == {"reference_sliding_attention"}:
        return int(config.sliding_window)
    raise ValueError(f"layers of {sorted(kinds)} cannot share one cache; all must be of one kind, full or reference")
