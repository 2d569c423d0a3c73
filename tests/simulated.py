"""An engine with no model: pages cost what they are told to cost, and some misbehave by their size.

Run as a worker of its own, on the queues of `rapid`:  python -m tests.simulated
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Sequence

from pydantic_settings import BaseSettings, SettingsConfigDict

from ocr_tasks.contract import Block, Operation, PageResult
from ocr_tasks.errors import EngineFailed, OcrError, ServiceUnavailable
from workers.devices import DeviceReader
from workers.engine import DeviceLost, PageDone, PageWork, WorkId

# Heights in pixels that make a page misbehave.
RAISES, KILLS, HANGS, REFUSES, BUSY, LOSES = 201, 202, 203, 204, 205, 206


class Costs(BaseSettings):
    """Read from SIM_*: a step of n pages takes step_s + n * page_s seconds, up to `capacity` pages."""

    model_config = SettingsConfigDict(env_prefix="SIM_")

    capacity: int = 4
    step_s: float = 0.0
    page_s: float = 0.0
    load_s: float = 0.0
    vision_tokens: int | None = None  # that it says a page has


class SimulatedEngine:
    """Ends all it holds in one step; a page's text is its size, so that a test knows what it must be."""

    name = "rapid"
    revision = "simulated"
    operations = frozenset({Operation.READ})

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self.capacity = costs.capacity
        self.held: dict[WorkId, PageWork] = {}
        self.steps: list[list[WorkId]] = []

    def admit(self, works: Sequence[PageWork]) -> None:
        self.held.update((work.id, work) for work in works)

    def step(self) -> Sequence[PageDone]:
        works, self.held = list(self.held.values()), {}
        self.steps.append([work.id for work in works])
        for work in works:
            misbehave(work.image.height)
        time.sleep(self.costs.step_s + self.costs.page_s * len(works))
        return [PageDone(work.id, self._outcome(work)) for work in works]

    def _outcome(self, work: PageWork) -> PageResult | OcrError:
        result = outcome(work)
        if isinstance(result, OcrError) or self.costs.vision_tokens is None:
            return result
        counts = {"vision_tokens": self.costs.vision_tokens, "text_tokens": len(result.text.split())}
        return result.model_copy(update=counts)

    def evict(self, ids: Collection[WorkId]) -> None:
        for work_id in ids:
            self.held.pop(work_id, None)

    def close(self) -> None:
        self.held.clear()


def misbehave(height: int) -> None:
    """What a page of this height does to the engine that reads it."""
    if height == RAISES:
        raise RuntimeError("this page makes the engine raise")
    if height == KILLS:
        os.kill(os.getpid(), signal.SIGKILL)
    if height == HANGS:
        threading.Event().wait()
    if height == LOSES:
        raise DeviceLost("this page makes the device fail")


def outcome(work: PageWork) -> PageResult | OcrError:
    """What reading a page gives: its size as text."""
    width, height = work.image.size
    if height == REFUSES:
        return EngineFailed("this page cannot be read")
    if height == BUSY and work.id.attempt < 4:
        return ServiceUnavailable("what reads pages is busy")
    text = expected_text(width, height)
    block = Block(kind="paragraph", text=text, box=(0, 0, width, height), score=1.0)
    return PageResult(text=text, markdown=text, blocks=(block,))


def expected_text(width: int, height: int) -> str:
    """The text of a page of this size in pixels."""
    return f"page of {width} by {height}"


def main() -> None:
    """Serve pages with this engine until told to stop."""
    from ocr_tasks.logs import configure_logs
    from ocr_tasks.settings import get_settings
    from workers.celery_worker import run_engine_worker

    name = sys.argv[-1] if "--name" in sys.argv else f"rapid{sys.argv[1] if len(sys.argv) > 1 else 0}"
    configure_logs(get_settings(), worker=f"simulated {name}")
    sys.exit(run_engine_worker(get_settings(), load, name=name, device=device_of(name)))


def load() -> SimulatedEngine:
    """The engine, after the time that SIM_LOAD_S says."""
    costs = Costs()
    time.sleep(costs.load_s)
    return SimulatedEngine(costs)


def device_of(name: str) -> DeviceReader | None:
    """Of a node of a pool: the device that it was given."""
    return DeviceReader(os.environ["CUDA_VISIBLE_DEVICES"]) if name.startswith("gpu") else None


if __name__ == "__main__":
    main()
