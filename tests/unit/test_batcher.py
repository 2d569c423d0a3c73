"""The batcher against engines that stop, raise, hang and fill up on command."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for

import pytest
from PIL import Image

from ocr_tasks.contract import PageResult, Priority
from ocr_tasks.errors import BlobMissing, EngineFailed, PageTimeout
from tests.simulated import RAISES, Costs, SimulatedEngine
from tests.stack import until
from workers.batcher import Answer, Batcher, Withdrawn
from workers.engine import DeviceLost, OutOfMemory, PageDone, PageWork, WorkId


class GatedEngine(SimulatedEngine):
    """Steps only when the gate is open, and notes what was in each step."""

    def __init__(self, capacity: int) -> None:
        super().__init__(Costs(capacity=capacity))
        self.gate = threading.Event()
        self.entered = threading.Event()

    def step(self) -> Sequence[PageDone]:
        self.entered.set()
        assert self.gate.wait(10)
        return super().step()


class NeverEndingEngine(SimulatedEngine):
    """Holds its pages for ever; a step is short."""

    def step(self) -> Sequence[PageDone]:
        time.sleep(0.005)
        return []


class NarrowEngine(GatedEngine):
    """Runs out of memory with more than `fits` pages inside, and says so as the protocol wants it."""

    def __init__(self, capacity: int, fits: int, *, halves: bool = True) -> None:
        super().__init__(capacity)
        self.fits = fits
        self.halves = halves

    def step(self) -> Sequence[PageDone]:
        self.entered.set()
        assert self.gate.wait(10)
        if len(self.held) > self.fits:
            self.steps.append(list(self.held))
            self.held.clear()
            if self.halves:
                self.capacity = max(1, self.capacity // 2)
            raise OutOfMemory
        return super().step()


def work(job: uuid.UUID | None = None, page_no: int = 1, *, height: int = 64, **changes: object) -> PageWork:
    page = WorkId(job or uuid.uuid4(), page_no, 1)
    return PageWork(page, lambda: Image.new("L", (64 + page_no, height)), **changes)  # type: ignore[arg-type]


Make = Callable[..., Batcher]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Batcher] = []

    def build(engine: SimulatedEngine, **changes: object) -> Batcher:
        settings: dict[str, object] = {"page_timeout_s": 30, "step_timeout_s": 30, "on_hang": lambda reason: None}
        batcher = Batcher(engine, **(settings | changes))  # type: ignore[arg-type]
        batcher.start()
        made.append(batcher)
        return batcher

    yield build
    for batcher in made:
        if isinstance(batcher.engine, GatedEngine):
            batcher.engine.gate.set()
        batcher.stop(0)
        assert batcher.join(10)


def outcomes(futures: Sequence[Future[Answer]]) -> list[object]:
    _, late = wait_for(futures, timeout=10)
    assert not late
    return [future.result().outcome for future in futures]


def test_pages_that_wait_together_are_read_together(make: Make) -> None:
    engine = GatedEngine(capacity=4)
    batcher = make(engine)
    first = batcher.submit(work())
    assert engine.entered.wait(5)
    rest = [batcher.submit(work(page_no=n)) for n in range(2, 8)]
    engine.gate.set()
    assert all(isinstance(outcome, PageResult) for outcome in outcomes([first, *rest]))
    assert [len(step) for step in engine.steps] == [1, 4, 2]


def test_an_interactive_page_goes_before_bulk_pages_that_came_first(make: Make) -> None:
    engine = GatedEngine(capacity=1)
    batcher = make(engine)
    futures = [batcher.submit(work())]
    assert engine.entered.wait(5)
    bulk = [work(page_no=n, priority=Priority.BULK) for n in range(2, 5)]
    urgent = work(page_no=9)
    futures += [batcher.submit(page) for page in [*bulk, urgent]]
    engine.gate.set()
    outcomes(futures)
    assert engine.steps[1:] == [[urgent.id], *([page.id] for page in bulk)]


def test_a_small_job_takes_turns_with_a_large_one_of_the_same_lane(make: Make) -> None:
    engine = GatedEngine(capacity=1)
    batcher = make(engine)
    large, small = uuid.uuid4(), uuid.uuid4()
    futures = [batcher.submit(work(large, n)) for n in range(1, 40)]
    assert engine.entered.wait(5)
    futures += [batcher.submit(work(small, n)) for n in (1, 2)]
    engine.gate.set()
    outcomes(futures)
    order = [step[0].job_id for step in engine.steps]
    assert order.index(small) <= 2
    assert [n for n, job in enumerate(order) if job == small][1] <= 4


def test_a_step_that_raises_charges_only_the_page_that_raises_alone(make: Make) -> None:
    engine = GatedEngine(capacity=4)
    alone: list[tuple[WorkId, bool]] = []
    batcher = make(engine, on_alone=lambda *marked: not alone.append(marked))  # type: ignore[func-returns-value]
    pages = [work(page_no=1), work(page_no=2, height=RAISES), work(page_no=3)]
    blocker = batcher.submit(work(page_no=9))
    assert engine.entered.wait(5)
    futures = [batcher.submit(page) for page in pages]
    engine.gate.set()
    outcomes([blocker])
    first, second, third = outcomes(futures)
    assert isinstance(first, PageResult)
    assert isinstance(third, PageResult)
    assert isinstance(second, EngineFailed)
    assert alone == [(page.id, inside) for page in pages for inside in (True, False)]
    assert [len(step) for step in engine.steps] == [1, 3, 1, 1, 1]


def test_a_page_that_must_be_alone_shares_the_engine_with_none(make: Make) -> None:
    engine = GatedEngine(capacity=4)
    batcher = make(engine)
    futures = [batcher.submit(work())]
    assert engine.entered.wait(5)
    lonely = work(page_no=2, alone=True)
    futures += [batcher.submit(page) for page in (lonely, work(page_no=3), work(page_no=4))]
    engine.gate.set()
    outcomes(futures)
    assert [lonely.id] in engine.steps


def test_a_suspect_page_that_is_no_longer_ours_never_enters_the_engine(make: Make) -> None:
    engine = SimulatedEngine(Costs())
    batcher = make(engine, on_alone=lambda page, inside: False)
    with pytest.raises(Withdrawn):
        batcher.submit(work(alone=True)).result(5)
    assert engine.steps == []


def test_a_withdrawn_page_leaves_the_waiting_list_and_the_engine(make: Make) -> None:
    engine = NeverEndingEngine(Costs(capacity=1))
    batcher = make(engine)
    inside, waiting = work(page_no=1), work(page_no=2)
    futures = [batcher.submit(page) for page in (inside, waiting)]
    until(lambda: engine.held, 5)
    batcher.withdraw([inside.id, waiting.id])
    for future in futures:
        with pytest.raises(Withdrawn):
            future.result(5)
    assert engine.held == {}


def test_a_page_past_its_deadline_is_evicted_and_says_the_limit(make: Make) -> None:
    engine = NeverEndingEngine(Costs())
    batcher = make(engine, page_timeout_s=0.1)
    (outcome,) = outcomes([batcher.submit(work())])
    assert isinstance(outcome, PageTimeout)
    assert outcome.extensions["limit"] == 0.1
    assert engine.held == {}


def test_waiting_does_not_count_against_a_pages_deadline(make: Make) -> None:
    engine = GatedEngine(capacity=1)
    batcher = make(engine, page_timeout_s=0.3)
    first = batcher.submit(work(page_no=1))
    assert engine.entered.wait(5)
    second = batcher.submit(work(page_no=2))
    assert not wait_for([second], timeout=0.5).done
    engine.gate.set()
    outcomes([first])
    (outcome,) = outcomes([second])
    assert isinstance(outcome, PageResult)


def test_a_hung_step_is_reported_once_with_its_limit(make: Make) -> None:
    engine = GatedEngine(capacity=1)
    reasons: list[str] = []
    batcher = make(engine, step_timeout_s=0.1, on_hang=reasons.append)
    batcher.submit(work())
    until(lambda: reasons, 5)
    assert "0.1 s" in reasons[0]
    engine.gate.set()


def test_stopping_ends_what_is_inside_and_gives_back_what_waits(make: Make) -> None:
    engine = GatedEngine(capacity=1)
    batcher = make(engine)
    inside, waiting = batcher.submit(work(page_no=1)), batcher.submit(work(page_no=2))
    assert engine.entered.wait(5)
    batcher.stop(grace_s=5)
    engine.gate.set()
    assert isinstance(inside.result(5).outcome, PageResult)
    with pytest.raises(Withdrawn):
        waiting.result(5)
    with pytest.raises(Withdrawn):
        batcher.submit(work(page_no=3)).result(5)


def test_stopping_without_grace_gives_back_what_is_inside(make: Make) -> None:
    engine = NeverEndingEngine(Costs())
    batcher = make(engine)
    future = batcher.submit(work())
    until(lambda: engine.held, 5)
    batcher.stop(grace_s=0)
    with pytest.raises(Withdrawn):
        future.result(5)
    assert batcher.join(5)


def test_pages_that_wait_hold_no_image_until_their_turn_is_near(make: Make) -> None:
    engine = GatedEngine(capacity=2)
    batcher = make(engine)
    loaded: list[int] = []

    def page(number: int) -> PageWork:
        def load() -> Image.Image:
            loaded.append(number)
            return Image.new("L", (64, 64))

        return PageWork(WorkId(uuid.uuid4(), number, 1), load)

    futures = [batcher.submit(page(0))]
    assert engine.entered.wait(5)
    futures += [batcher.submit(page(number)) for number in range(1, 20)]
    assert loaded == [0]
    engine.gate.set()
    outcomes(futures)
    assert sorted(loaded) == [*range(20)]


def test_a_page_whose_image_cannot_be_had_ends_alone(make: Make) -> None:
    def load() -> Image.Image:
        raise BlobMissing("The stored bytes are gone.")

    batcher = make(SimulatedEngine(Costs()))
    lost = batcher.submit(PageWork(WorkId(uuid.uuid4(), 1, 1), load))
    with pytest.raises(BlobMissing):
        lost.result(5)
    assert isinstance(outcomes([batcher.submit(work())])[0], PageResult)


# -- trouble with the device ---------------------------------------------


def test_out_of_memory_puts_pages_back_at_their_place_and_goes_on_with_fewer_at_a_time(make: Make) -> None:
    engine = NarrowEngine(capacity=8, fits=3)
    alone: list[object] = []
    batcher = make(engine, on_alone=lambda *marked: not alone.append(marked))  # type: ignore[func-returns-value]
    first = batcher.submit(work())
    assert engine.entered.wait(5)
    pages = [work(page_no=n) for n in range(2, 12)]
    futures = [batcher.submit(page) for page in pages]
    engine.gate.set()
    assert all(isinstance(outcome, PageResult) for outcome in outcomes([first, *futures]))
    assert [len(step) for step in engine.steps] == [1, 8, 4, 2, 2, 2, 2, 2]
    assert [page for step in engine.steps[3:] for page in step] == [page.id for page in pages]
    assert alone == []


def test_a_page_that_does_not_fit_alone_fails_and_says_so(make: Make) -> None:
    engine = NarrowEngine(capacity=4, fits=0)
    engine.gate.set()
    (outcome,) = outcomes([make(engine).submit(work())])
    assert isinstance(outcome, EngineFailed)
    assert "does not fit into the device's memory" in outcome.detail
    assert engine.capacity == 1
    assert [len(step) for step in engine.steps] == [1, 1, 1]


def test_an_engine_that_runs_out_of_memory_without_lowering_its_capacity_is_not_asked_for_ever(make: Make) -> None:
    engine = NarrowEngine(capacity=4, fits=1, halves=False)
    batcher = make(engine)
    futures = [batcher.submit(work())]
    assert engine.entered.wait(5)
    futures += [batcher.submit(work(page_no=n)) for n in (2, 3)]
    engine.gate.set()
    assert all(isinstance(outcome, PageResult) for outcome in outcomes(futures))
    assert [len(step) for step in engine.steps] == [1, 2, 1, 1]


def test_a_lost_device_is_reported_and_never_asked_again(make: Make) -> None:
    class LostEngine(SimulatedEngine):
        def step(self) -> Sequence[PageDone]:
            self.steps.append(list(self.held))
            raise DeviceLost("an illegal memory access was encountered")

    engine = LostEngine(Costs())
    reasons: list[str] = []
    batcher = make(engine, on_hang=reasons.append)
    futures = [batcher.submit(work(page_no=n)) for n in (1, 2)]
    assert batcher.join(5)
    assert reasons == ["the device is lost: an illegal memory access was encountered"]
    assert len(engine.steps) == 1
    assert not any(future.done() for future in futures)
