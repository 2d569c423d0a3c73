"""Looks whether a call comes back in time; the one who waits for it cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watchdog:
    """Calls `on_late` once, from its own thread, when something it watches takes longer than `limit_s`.

    Lives as long as `watched`, the thread that is to be watched.
    """

    def __init__(self, watched: threading.Thread, limit_s: float, on_late: Callable[[], None]) -> None:
        self.watched = watched
        self.limit_s = limit_s
        self.on_late = on_late
        self._began_at: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"{watched.name}-watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The block is what may not take too long."""
        self._began_at = time.monotonic()
        try:
            yield
        finally:
            self._began_at = None

    def _run(self) -> None:
        while self.watched.is_alive():
            began_at = self._began_at
            if began_at is not None and time.monotonic() - began_at > self.limit_s:
                self.on_late()
                return
            self.watched.join(min(1.0, self.limit_s / 4))
