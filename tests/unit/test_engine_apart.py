"""An engine in a process of its own behaves as one in this process does, in its troubles too."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy
import pytest
from PIL import Image

from ocr_tasks.contract import Operation, PageResult
from ocr_tasks.errors import EngineFailed, OcrError, OperationUnavailable
from ocr_tasks.settings import Settings
from tests.simulated import HANGS, KILLS, RAISES, REFUSES, Costs, SimulatedEngine
from workers.batcher import Batcher
from workers.engine import DeviceLost, OutOfMemory, PageDone, PageWork, WorkId
from workers.engine.apart import ApartEngine, EngineRaised
from workers.engine.apart_pages import Inbox, PageFiles, PageGone
from workers.visual import VisionTokens

HUNGRY = 205
HERE = "tests.unit.test_engine_apart"


class Seeing(SimulatedEngine):
    """Makes vision tokens of an image by its width; says of vision tokens what they are."""

    operations = frozenset(Operation)

    def step(self) -> Sequence[PageDone]:
        works, self.held = list(self.held.values()), {}
        return [self._seen(work) for work in works]

    def _seen(self, work: PageWork) -> PageDone:
        if isinstance(work.loaded, VisionTokens):
            text = f"{work.loaded.page_size} {work.loaded.features.sum():g}"
            return PageDone(work.id, PageResult(text=text, markdown=text))
        text = f"{work.source_text} {work.stored_as}"
        if work.image.height == REFUSES:
            return PageDone(work.id, EngineFailed("no"))
        return PageDone(work.id, PageResult(text=text, markdown=text), tokens_of(*work.image.size), 7)


def tokens_of(width: int, height: int) -> VisionTokens:
    features = numpy.arange(width * 64, dtype=numpy.float32).reshape(width, 64)
    return VisionTokens("deepseek-ocr", "0123", "tiny", 512, 0, (0, 0), (width, height), width + 9, features)


class Hungry(SimulatedEngine):
    """Runs out of memory once, over a page of that height."""

    def step(self) -> Sequence[PageDone]:
        if any(work.image.height == HUNGRY for work in self.held.values()):
            self.held.clear()
            self.capacity //= 2
            raise OutOfMemory("less room than was thought")
        return super().step()


def simulated(settings: Settings) -> SimulatedEngine:
    return Hungry(Costs(capacity=4, step_s=0.01))


def seeing(settings: Settings) -> SimulatedEngine:
    return Seeing(Costs(capacity=4))


def slow(settings: Settings) -> SimulatedEngine:
    return SimulatedEngine(Costs(capacity=4, step_s=0.5))


def unable(settings: Settings) -> SimulatedEngine:
    raise OperationUnavailable("no such checkpoint")


@pytest.fixture
def engine() -> Iterator[ApartEngine]:
    apart = ApartEngine(Settings(_env_file=None), f"{HERE}:simulated")
    yield apart
    apart.close()


def work(number: int, height: int = 50) -> PageWork:
    return PageWork(WorkId(UUID(int=number), 1, 1), lambda: Image.new("L", (60 + number, height)))


def outcomes(engine: ApartEngine, count: int) -> dict[WorkId, Any]:
    found = dict[WorkId, Any]()
    give_up_at = time.monotonic() + 20
    while len(found) < count:
        assert time.monotonic() < give_up_at
        found |= {done.id: done.outcome for done in engine.step()}
    return found


def test_pages_come_back_as_from_an_engine_in_this_process(engine: ApartEngine) -> None:
    works = [work(1), work(2), work(3, REFUSES)]
    local = Hungry(Costs(capacity=4))
    local.admit(works)
    expected = {done.id: done.outcome for done in local.step()}
    engine.admit(works)
    found = outcomes(engine, 3)
    assert (engine.name, engine.revision, engine.capacity) == (local.name, local.revision, local.capacity)
    assert {number: found[works[number].id] for number in (0, 1)} == {n: expected[works[n].id] for n in (0, 1)}
    refused, refused_here = found[works[2].id], expected[works[2].id]
    assert isinstance(refused, OcrError)
    assert isinstance(refused_here, OcrError)
    assert refused.problem() == refused_here.problem()


def encoding(page: PageWork) -> PageWork:
    return replace(page, operations=frozenset({Operation.ENCODE}), source_text="words", stored_as="int4")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_vision_tokens_come_and_go_and_no_file_stays_open() -> None:
    engine = ApartEngine(Settings(_env_file=None), f"{HERE}:seeing")
    before = open_files()
    stored = tokens_of(3000, 20)
    works = [
        encoding(work(1)),
        PageWork(work(2).id, lambda: stored, operations=frozenset({Operation.DECODE})),
        work(3),
        encoding(work(4, REFUSES)),
    ]
    engine.admit(works)
    found = dict[WorkId, PageDone]()
    while len(found) < len(works):
        found |= {done.id: done for done in engine.step()}
    encoded, decoded, read, refused = (found[each.id] for each in works)
    expected = tokens_of(61, 50)
    assert isinstance(encoded.tokens, VisionTokens)
    assert replace(encoded.tokens, features=expected.features).__dict__ == expected.__dict__
    numpy.testing.assert_array_equal(encoded.tokens.features, expected.features)
    assert encoded.source_text_tokens == 7
    assert isinstance(encoded.outcome, PageResult)
    assert encoded.outcome.text == "words int4"
    assert isinstance(decoded.outcome, PageResult)
    assert decoded.outcome.text == f"(3000, 20) {stored.features.sum():g}"
    assert (decoded.tokens, read.tokens, refused.tokens) == (None, None, None)
    assert isinstance(refused.outcome, EngineFailed)
    assert open_files() == before
    engine.admit([encoding(work(5))])
    engine.evict([work(5).id])
    assert open_files() == before
    engine.close()


def test_a_page_that_was_let_go_of_is_not_taken_for_the_one_whose_files_have_its_numbers() -> None:
    files, inbox = PageFiles(), Inbox()
    first, second = encoding(work(1)), encoding(work(2))
    gone = files.sent(first)
    files.forget(first.id)
    sent = files.sent(second)
    assert gone.tokens is not None
    assert sent.tokens is not None
    assert (gone.numbers.path, gone.tokens.path) == (sent.numbers.path, sent.tokens.path)
    with pytest.raises(PageGone):
        _ = inbox.received(gone).loaded
    received = inbox.received(sent)
    assert received.image.size == (62, 50)
    assert files.received(inbox.sent(PageDone(first.id, EngineFailed("no"), tokens_of(9, 9)))) is None
    done = files.received(inbox.sent(PageDone(second.id, EngineFailed("no"), tokens_of(62, 50))))
    assert done is not None
    assert done.tokens is not None
    assert done.tokens.features.shape == (62, 64)


def test_a_step_that_raises_there_raises_here_and_leaves_nothing_behind(engine: ApartEngine) -> None:
    engine.admit([work(1), work(2, RAISES)])
    with pytest.raises(EngineRaised):
        outcomes(engine, 1)
    engine.evict([work(1).id, work(2).id])
    assert engine.step() == []
    engine.admit([work(3)])
    assert set(outcomes(engine, 1)) == {work(3).id}


def test_running_out_of_memory_arrives_as_such_with_the_new_capacity(engine: ApartEngine) -> None:
    engine.admit([work(1), work(2, HUNGRY)])
    with pytest.raises(OutOfMemory, match="less room"):
        outcomes(engine, 1)
    assert engine.capacity == 2


def test_an_evicted_page_does_not_come_back() -> None:
    engine = ApartEngine(Settings(_env_file=None), f"{HERE}:slow")
    engine.admit([work(1)])
    engine.admit([work(2)])
    engine.evict([work(2).id])
    assert work(1).id in outcomes(engine, 1)
    assert engine.step() == []
    engine.close()


def test_the_death_of_its_process_is_the_end_of_the_node(engine: ApartEngine) -> None:
    engine.admit([work(1, KILLS)])
    with pytest.raises(DeviceLost, match="ended with status -9"):
        outcomes(engine, 1)


def test_while_a_step_hangs_there_it_hangs_here_and_the_process_dies_with_the_link(engine: ApartEngine) -> None:
    engine.admit([work(1, HANGS)])
    with ThreadPoolExecutor(1) as thread:
        step = thread.submit(lambda: outcomes(engine, 1))
        with pytest.raises(TimeoutError):
            step.result(2)
        engine.close()
        assert isinstance(step.exception(10), DeviceLost)
    assert engine._process.returncode == 0


def test_through_the_batcher_pages_are_answered(engine: ApartEngine) -> None:
    batcher = Batcher(engine, page_timeout_s=60, step_timeout_s=60, on_hang=pytest.fail)
    batcher.start()
    futures = [batcher.submit(work(number)) for number in range(12)]
    assert all(isinstance(future.result(20).outcome, PageResult) for future in futures)
    batcher.stop(0)
    assert batcher.join(20)


def test_an_engine_that_cannot_be_loaded_says_why() -> None:
    with pytest.raises(OperationUnavailable, match="no such checkpoint"):
        ApartEngine(Settings(_env_file=None), f"{HERE}:unable")
