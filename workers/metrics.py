"""What an engine node measures: counted in its process, carried to web in the node's row."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

from ocr_tasks.contract import PageResult
from ocr_tasks.metrics import PREFIX, Family, NodeSnapshot, Rates, Sample
from workers.batcher import Batcher
from workers.devices import DeviceReader

MINUTE_S = 60

STEP_PAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
STEP_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
INFERENCE_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
QUEUE_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)

PAGES, VISION_TOKENS, TEXT_TOKENS = (f"{PREFIX}{name}" for name in ("pages", "vision_tokens", "text_tokens"))


class NodeMetrics:
    """The measurements of one node, in a registry of their own; an `Observer` of its batcher.

    Rates are for Prometheus to make of the counters, but for those of the last minute, which people see in the row.
    """

    def __init__(self, device: DeviceReader | None = None) -> None:
        self.registry = registry = CollectorRegistry()
        self.device = device
        self.pages = Counter(PAGES, "Pages that left this node, by how.", ["outcome"], registry=registry)
        self.vision_tokens = Counter(VISION_TOKENS, "Vision tokens of the pages read.", registry=registry)
        self.text_tokens = Counter(TEXT_TOKENS, "Text tokens of the pages read.", registry=registry)
        self.queue = _histogram("page_queue_seconds", "From a page's image being stored to its entering the engine.",
                                QUEUE_S, registry)  # fmt: skip
        self.inference = _histogram("page_inference_seconds", "A page's time in the engine.", INFERENCE_S, registry)
        self.step_pages = _histogram("engine_step_pages", "Pages in the engine, by step: the batch occupancy.",
                                     STEP_PAGES, registry)  # fmt: skip
        self.step_seconds = _histogram("engine_step_seconds", "Duration of the engine's steps.", STEP_S, registry)
        self.errors = Counter(f"{PREFIX}engine_errors", "Times that the engine raised, by why.", ["kind"],
                              registry=registry)  # fmt: skip
        self._totals: deque[tuple[float, Rates]] = deque()
        for outcome in ("succeeded", "failed"):
            self.pages.labels(outcome)  # there from the start: a rate needs the zero before the first page

    def follow(self, batcher: Batcher) -> None:
        """Measure what a batcher and its engine hold, whenever somebody looks."""
        inside = self._gauge("engine_pages", "Pages in the engine now.")
        inside.set_function(lambda: len(batcher.inside))
        waiting = self._gauge("engine_waiting_pages", "Pages that this node holds and that wait for its engine.")
        waiting.set_function(lambda: len(batcher.waiting))
        capacity = self._gauge("engine_capacity_pages", "Pages that the engine can hold at once.")
        capacity.set_function(lambda: batcher.engine.capacity)

    # -- what is told ---------------------------------------------

    def page_left(self, outcome: str) -> None:
        """A page is no longer this node's: `outcome` is one of `pages.Outcome`, as a label."""
        self.pages.labels(outcome).inc()

    def page_read(self, result: PageResult, queue_ms: int) -> None:
        """A page's result was stored."""
        self.vision_tokens.inc(result.vision_tokens or 0)
        self.text_tokens.inc(result.text_tokens or 0)
        self.queue.observe(queue_ms / 1000)
        self.inference.observe(result.inference_ms / 1000)

    def stepped(self, pages: int, seconds: float) -> None:
        self.step_pages.observe(pages)
        self.step_seconds.observe(seconds)

    def raised(self, *, out_of_memory: bool) -> None:
        self.errors.labels("out_of_memory" if out_of_memory else "raised").inc()

    # -- what is seen ---------------------------------------------

    def snapshot(self) -> NodeSnapshot:
        """All of it, as it is now. Called by one thread."""
        families = [_family(metric) for metric in self.registry.collect()]
        return NodeSnapshot(
            device=self.device.name if self.device else "cpu",
            last_minute=self._last_minute(families),
            families=(*families, *self._device_families()),
        )

    def _last_minute(self, families: Iterable[Family]) -> Rates:
        now, total = time.monotonic(), _totals(families)
        self._totals.append((now, total))
        while len(self._totals) > 2 and self._totals[1][0] <= now - MINUTE_S:
            self._totals.popleft()
        since, before = self._totals[0]
        took_s = max(now - since, 1.0)
        return Rates(
            pages=round((total.pages - before.pages) / took_s, 3),
            vision_tokens=round((total.vision_tokens - before.vision_tokens) / took_s, 1),
            text_tokens=round((total.text_tokens - before.text_tokens) / took_s, 1),
        )

    def _device_families(self) -> list[Family]:
        reading = self.device.read() if self.device else None
        if reading is None:
            return []
        gauges = (
            ("device_utilisation_ratio", "Share of time that the device was busy.", reading.utilisation),
            ("device_memory_used_bytes", "Memory of the device in use, by anybody.", reading.used_bytes),
            ("device_memory_bytes", "Memory of the device.", reading.total_bytes),
        )
        return [
            Family(name=PREFIX + name, type="gauge", help=text, samples=(Sample(name=PREFIX + name, value=value),))
            for name, text, value in gauges
            if value is not None
        ]

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(PREFIX + name, text, registry=self.registry)


def _histogram(name: str, text: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> Histogram:
    return Histogram(PREFIX + name, text, buckets=buckets, registry=registry)


def _family(metric: Metric) -> Family:
    """A metric as it travels; the times at which counters were made are left out."""
    samples = (
        Sample(name=sample.name, labels=sample.labels, value=sample.value)
        for sample in metric.samples
        if not sample.name.endswith("_created")
    )
    return Family(name=metric.name, type=metric.type, help=metric.documentation, samples=tuple(samples))


def _totals(families: Iterable[Family]) -> Rates:
    """Pages read and tokens so far."""
    counted = {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if family.name != PAGES or sample.labels == {"outcome": "succeeded"}
    }
    return Rates(
        pages=counted.get(f"{PAGES}_total", 0),
        vision_tokens=counted.get(f"{VISION_TOKENS}_total", 0),
        text_tokens=counted.get(f"{TEXT_TOKENS}_total", 0),
    )
