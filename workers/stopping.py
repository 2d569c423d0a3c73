"""How our programs end: signals as an exception for their main threads, and exit codes that supervisors know."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self

# sysexits.h: EX_SOFTWARE and EX_CONFIG.
EXIT_HUNG = 70  # a node whose device hangs or is lost
EXIT_UNLOADABLE = 78  # a node, or a pool, whose engine cannot be loaded


class StopRequested(BaseException):
    """Somebody asked this process to stop; not an Exception, so that no `except Exception` swallows it."""


class StopSignals:
    """Turns the first SIGINT, SIGTERM or SIGHUP into StopRequested; later ones, or any once stopping, only hurry.

    For one `with` block in the main thread.
    """

    def __init__(self) -> None:
        self._stopping = False
        self._hurried = 0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            self._hurried += 1
            return
        self._stopping = True
        raise StopRequested

    def now_stopping(self) -> None:
        """From here on a signal must not interrupt, as the stopping is under way."""
        self._stopping = True

    def hurry(self) -> bool:
        """True when somebody asked again."""
        return self._hurried > 0
