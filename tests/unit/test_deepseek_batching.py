"""Whatever shares a batch with a page, its tokens are those that the library's `generate()` gives for it alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.generated import FAMILIES, World, ended, tokens_of
from workers.engine.deepseek.batching import Request
from workers.engine.deepseek.cache import DecodeView, PrefillView
from workers.engine.deepseek.decoder import Decoder
from workers.engine.deepseek.vision import encode

REQUESTS = 67  # of each family: 201 together


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=FAMILIES)
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param, REQUESTS)


def shuffled(requests: list[Request]) -> list[Request]:
    return random.Random(1).sample(requests, len(requests))


ORDERS: dict[str, tuple[Callable[[list[Request]], list[Request]], int, int]] = {
    # order, requests that arrive before each step, tokens decoded in a step
    "all at once": (list, 1000, 4),
    "backwards, two by two": (lambda requests: requests[::-1], 2, 8),
    "shuffled, one by one": (shuffled, 1, 1),
}


def test_the_expected_texts_vary_in_content_and_length(world: World) -> None:
    texts = {tuple(tokens) for tokens in world.expected.values()}
    assert len(texts) > REQUESTS * 0.7
    assert len({len(text) for text in texts}) > 10
    assert any(text[-1] == 1 and len(text) > 1 for text in texts)


@pytest.mark.parametrize("order", ORDERS)
def test_mixed_requests_through_eight_slots_give_what_generate_gives_one_by_one(world: World, order: str) -> None:
    arrange, at_a_time, steps = ORDERS[order]
    found = world.read(world.batch(slots=8, steps=steps), arrange(world.requests), at_a_time=at_a_time)
    assert len(found) == REQUESTS
    assert world.differing(found) == []


def test_evicting_some_midway_changes_nothing_for_the_rest(world: World) -> None:
    batch, chance, gone = world.batch(), random.Random(2), set[Any]()

    def evict_one() -> None:
        held = [*batch.scheduler.live.values(), *batch.scheduler.waiting]
        if held and len(gone) < REQUESTS // 3:
            victim = chance.choice([text.id for text in held if text.tokens] or [text.id for text in held])
            batch.remove([victim])
            gone.add(victim)

    found = ended(batch, world.requests, 3, evict_one)
    assert len(gone) > 10
    assert set(found) == {request.id for request in world.requests} - gone
    assert world.differing(found) == []


def test_an_evicted_text_frees_its_slot_at_once(world: World) -> None:
    batch = world.batch(slots=1)
    batch.add(world.requests[0])
    batch.step()
    batch.remove([world.requests[0].id])
    batch.add(world.requests[1])
    assert [text.id for text in batch.scheduler.start()] == [world.requests[1].id]


def test_text_from_stored_vision_tokens_equals_reading_the_page(world: World) -> None:
    some = world.requests[:12]
    encoding = [replace(request, most_new_tokens=0, keep_features=True) for request in some]
    encoded = world.read(world.batch(), encoding)
    assert all(one.tokens == () and one.features is not None for one in encoded.values())
    features: dict[Any, Any] = {number: one.features for number, one in encoded.items()}
    stored = [replace(request, page=features[request.id]) for request in some]
    assert world.differing(world.read(world.batch(), stored)) == []


def test_a_page_can_be_read_and_encoded_in_one_pass(world: World) -> None:
    some = world.requests[:6]
    found = world.read(world.batch(), [replace(request, keep_features=True) for request in some])
    assert world.differing(found) == []
    assert all(found[request.id].features.shape == (request.prompt.count(2), 64) for request in some)  # type: ignore[union-attr]


def test_pages_encoded_together_equal_pages_encoded_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[Any] = [request.page for request in world.requests[:16]]
    together = encode(world.checkpoint, pages)
    monkeypatch.setattr("workers.engine.deepseek.vision.MOST_AT_ONCE", 1)
    for one, alone in zip(together, encode(world.checkpoint, pages), strict=True):
        torch.testing.assert_close(one, alone, rtol=1e-5, atol=1e-5)


# -- the equality above can fail ---------------------------------------------


def shifted_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Decoder._positions
    monkeypatch.setattr(Decoder, "_positions", lambda self, slots: right(self, slots) + 1)


def open_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Decoder._mask
    monkeypatch.setattr(Decoder, "_mask", lambda self, *shape: torch.zeros_like(right(self, *shape)))


def wrong_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DecodeView.update

    def update(self: DecodeView, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        self.rows = self.rows.flip(0)
        return right(self, keys, values, layer)

    monkeypatch.setattr(DecodeView, "update", update)


def prompt_in_another_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    right = PrefillView.update

    def update(self: PrefillView, keys: Tensor, values: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        self.slots = (self.slots + 1) % self.cache.keys.shape[1]
        return right(self, keys, values, layer)

    monkeypatch.setattr(PrefillView, "update", update)


@pytest.mark.parametrize("mutate", [shifted_positions, open_mask, wrong_slots, prompt_in_another_slot])
def test_a_broken_position_mask_or_slot_is_noticed(
    world: World, mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    some = [request for request in world.requests if len(world.expected[request.id]) > 5][:16]
    assert world.differing(world.read(world.batch(), some))


def test_a_window_of_another_size_is_noticed(world: World) -> None:
    batch = world.batch()
    batch.decoder.window = (world.window or 5) + 1
    assert world.differing(world.read(batch, world.requests[:30]))


def test_a_ban_that_is_left_out_is_noticed(world: World) -> None:
    without = [replace(request, ban=None) for request in world.requests]
    found = world.read(world.batch(), without)
    assert world.differing(found)
    assert all(len(tokens_of(one)) <= request.most_new_tokens for request in without for one in [found[request.id]])
