"""Who starts, how far a step goes, and that neither half of it starves the other."""

from __future__ import annotations

import ast
import inspect
import random
from typing import Any

import pytest

from workers.engine.deepseek import scheduler as module
from workers.engine.deepseek.scheduler import Limits, Round, Scheduler, Text

EOS = 1


def scheduler(**limits: Any) -> Scheduler:
    return Scheduler(
        Limits(**{"slots": 4, "slot_tokens": 1000, "context": 9000, "prefill_tokens": 512, "steps": 4} | limits), [EOS]
    )


def test_the_scheduler_knows_no_torch() -> None:
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ImportFrom)]
    assert {node.module for node in imports} == {
        "__future__",
        "bisect",
        "collections",
        "collections.abc",
        "dataclasses",
        "typing",
    }


def test_texts_start_in_the_order_of_their_arrival() -> None:
    ours = scheduler(prefill_tokens=64)
    for name in "abc":
        ours.add(Text(name, 50, 10))
    ours.add(Text("urgent", 50, 10), first=True)
    assert [text.id for _ in range(4) for text in ours.start()] == ["urgent", "a", "b", "c"]


def test_a_step_prefills_no_more_than_its_bound_but_always_one() -> None:
    ours = scheduler()
    for name in range(4):
        ours.add(Text(name, 250, 10))
    assert [text.id for text in ours.start()] == [0, 1]  # of 256 tokens with their padding
    huge = scheduler()
    huge.add(Text("huge", 900, 10))
    assert [text.id for text in huge.start()] == ["huge"]


def test_prompts_of_other_lengths_are_prefilled_apart_and_overtaken_by_none_for_long() -> None:
    ours = scheduler(prefill_tokens=1000)
    for name, tokens in [("a", 60), ("b", 300), ("c", 62), ("d", 310)]:
        ours.add(Text(name, tokens, 10))
    assert [text.id for text in ours.start()] == ["a", "c"]
    assert [text.id for text in ours.start()] == ["b", "d"]


def test_while_prompts_keep_coming_live_texts_go_on_and_while_texts_are_live_prompts_start() -> None:
    ours = scheduler(slots=3, prefill_tokens=64)
    ours.add(Text("long", 50, 400))
    started, steps = 0, 0
    while not any(text.id == "long" for text in step(ours)):
        ours.add(Text(steps, 50, 8))
        started += len(ours.start())
        steps += 1
    assert steps + 1 == 100  # of 4 tokens each: none was delayed
    assert started > 60


def step(ours: Scheduler) -> list[Text]:
    """Start what can start and decode a round of tokens that are not EOS."""
    ours.start()
    what = ours.round()
    return ours.record([[5] * what.slots] * (what.steps + 1)) if what else []


def test_a_text_ends_at_eos_or_at_its_limit_and_its_slot_is_free_at_once() -> None:
    ours = scheduler(slots=2)
    ours.add(Text("eos", 50, 100))
    ours.add(Text("limit", 50, 3))
    assert len(ours.start()) == 2
    ended = ours.record([[5, 6], [5, 6], [EOS, 6], [9, 6], [9, 6]])
    assert {(text.id, tuple(text.tokens), text.ended) for text in ended} == {
        ("eos", (5, 5, EOS), True),
        ("limit", (6, 6, 6), False),
    }
    ours.add(Text("next", 50, 3))
    assert [text.slot for text in ours.start()] == [0]


def test_a_round_goes_no_further_than_the_longest_text_may() -> None:
    ours = scheduler(slots=2)
    ours.add(Text("short", 50, 3))
    ours.start()
    assert ours.round() == Round(slots=1, time=52, steps=2)
    assert ours.record([[5], [5], [5]])[0].tokens == [5, 5, 5]
    assert ours.round() is None


def test_rounds_come_in_few_shapes_where_sizes_are_given() -> None:
    ours = scheduler(slots=6, slot_sizes=(1, 2, 4, 8), time_sizes=(256, 512, 768))
    for name in range(3):
        ours.add(Text(name, 250, 600))
    ours.start()
    assert ours.round() == Round(slots=2, time=256, steps=4)
    ours.record([[5] * 4] * 5)
    ours.start()
    assert ours.round() == Round(slots=4, time=512, steps=4)


def test_a_slot_keeps_a_prompt_and_one_window_for_models_that_forget() -> None:
    ours = scheduler(slot_tokens=120, window=20)
    ours.add(Text("long", 100, 5000))
    ours.start()
    for _ in range(50):
        ours.record([[5]] * 5)
    assert ours.round() == Round(slots=1, time=120, steps=4)


def test_a_text_that_no_slot_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1000 new tokens after a prompt of 100 .* room for: 900"):
        scheduler().add(Text("a", 100, 1000))
    with pytest.raises(ValueError, match=r"5 new tokens after a prompt of 990 .* room for: 0"):
        scheduler(window=20).add(Text("a", 990, 5))


def test_slots_are_never_shared_and_all_texts_end_whatever_comes_and_goes() -> None:
    chance = random.Random(3)
    ours, all_ids, gone = scheduler(), set(range(200)), set[Any]()
    coming = list(all_ids)
    while coming or ours.waiting or ours.live:
        for _ in range(chance.randrange(3)):
            if coming:
                ours.add(Text(coming.pop(), chance.randrange(1, 400), chance.randrange(0, 30)))
        started = ours.start()
        assert all(ours.live[text.slot] is text for text in started)
        assert sorted([*ours.live, *ours._free]) == list(range(4))
        if ours.live and chance.random() < 0.1:
            victim = chance.choice([text.id for text in ours.live.values()])
            ours.remove([victim])
            gone.add(victim)
        what = ours.round()
        if what:
            tokens = [[chance.choice([EOS, 5, 6, 7]) for _ in range(what.slots)] for _ in range(what.steps + 1)]
            for text in ours.record(tokens):
                assert text.ended == (EOS in text.tokens)
                gone.add(text.id)
    assert gone == all_ids
