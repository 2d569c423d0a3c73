"""How many pages fit, and how long they may get."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
import torch

from tests.tiny_models import tiny_model
from workers.engine.deepseek.cache import CPU_SLOTS, slot_bytes
from workers.engine.deepseek.decoder import window_of
from workers.engine.deepseek.limits import LONGEST_PROMPT, limits_for, pages_held


def test_slots_are_as_many_as_fit_into_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("deepseek-ocr")
    one = slot_bytes(model.config.text_config, 4096, torch.float32)
    assert one == 2 * 3 * 4 * 4096 * 16 * 4  # keys and values, layers, heads, tokens, numbers, bytes
    for free, fitting in [(0, 1), (7 * one, 3), (1000 * one, CPU_SLOTS)]:
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free))
        assert limits_for(model, most_slots=64).slots == fitting
    assert limits_for(model, most_slots=5).slots == 5


def test_a_model_that_forgets_needs_a_slot_for_a_prompt_and_its_window_only() -> None:
    limits = limits_for(tiny_model("unlimited-ocr", max_position_embeddings=32768), most_slots=4)
    assert (limits.window, limits.slot_tokens) == (6, LONGEST_PROMPT + 6)
    assert limits.room(300) == 32768 - 300
    assert limits_for(tiny_model("deepseek-ocr"), most_slots=4).room(300) == 4096 - 300


def test_layers_of_two_kinds_are_refused() -> None:
    kinds = ["full_attention", "reference_sliding_attention", "full_attention"]
    with pytest.raises(ValueError, match="cannot share one cache"):
        window_of(tiny_model("unlimited-ocr", layer_types=kinds).config.text_config)


def test_a_page_is_held_ready_for_every_eight_slots_and_fewer_slots_never_hold_as_many() -> None:
    assert [pages_held(slots) for slots in (1, 7, 8, 16, 128)] == [1, 7, 9, 18, 144]
    assert all(pages_held(slots // 2) < pages_held(slots) for slots in range(2, 257))
