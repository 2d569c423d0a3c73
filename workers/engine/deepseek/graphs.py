"""A step of fixed shapes as a CUDA graph, captured when its shape is first seen; elsewhere the step is simply called.

Not run on CUDA by the tests: they take the plain path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
import torch

log = structlog.get_logger(__name__)


class Graphs:
    """Runs `step(slots, time)`, which reads and writes tensors that stay in place and never waits for the device."""

    def __init__(self, step: Callable[[int, int], None], device: torch.device) -> None:
        self.step = step
        self.enabled = device.type == "cuda"
        self.captured: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
        self._pool: Any = None

    def run(self, slots: int, time: int) -> None:
        if not self.enabled:
            self.step(slots, time)
        elif (slots, time) in self.captured:
            self.captured[slots, time].replay()
        else:
            self._first(slots, time)

    def _first(self, slots: int, time: int) -> None:
        """Run a new shape once as it is, on a stream of its own as capturing wants it, then record it for later."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self.step(slots, time)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                self.step(slots, time)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # Before SM90, torch's grouped_mm asks the host for the sizes of its groups, and that cannot be captured.
            log.warning("cuda_graphs_off", error=str(error))
            self.enabled = False
            return
        self._pool = graph.pool()
        self.captured[slots, time] = graph
