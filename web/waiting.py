"""Callers that wait for their result: a few at a time, so that waiting never starves the other routes."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from uuid import UUID

from flask import request

from ocr_tasks.contract import TERMINAL, Status
from ocr_tasks.errors import InvalidOption
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.views import get_status
from ocr_tasks.settings import Settings

LONGEST_PAUSE_S = 0.5


class Waiters:
    """At most `places` callers of this process wait or stream at once; one more is answered without waiting."""

    def __init__(self, places: int) -> None:
        self._free = threading.Semaphore(places)
        self.stopping = threading.Event()

    def stop_on_sigterm(self) -> None:
        """Let go of all callers when this process is told to stop: who waits is to learn its job's id.

        gunicorn has set its own handler when it loads the application; that one goes on after ours.
        """
        before = signal.getsignal(signal.SIGTERM)
        if not callable(before) or threading.current_thread() is not threading.main_thread():
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self.stopping.set()
            before(number, frame)

        signal.signal(signal.SIGTERM, stop)

    def enter(self) -> bool:
        """Take a place; False when none is free."""
        return self._free.acquire(blocking=False)

    def leave(self) -> None:
        """Give a place back."""
        self._free.release()

    def wait(self, db: Database, job_id: UUID, seconds: float) -> Status | None:
        """A job's status once it is terminal; None when it did not end in time, or no place was free."""
        if seconds <= 0 or not self.enter():
            return None
        try:
            return self._poll(db, job_id, time.monotonic() + seconds)
        finally:
            self.leave()

    def _poll(self, db: Database, job_id: UUID, until: float) -> Status | None:
        pause_s = 0.05
        while True:
            status = get_status(db, job_id)
            if status in TERMINAL:
                return status
            left_s = until - time.monotonic()
            if left_s <= 0 or self.stopping.wait(min(pause_s, left_s)):
                return None
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def wait_asked_for(settings: Settings) -> float:
    """Seconds this request is willing to wait: `?wait=N`, else `Prefer: wait=N` (RFC 7240), else the default.

    Never more than OCR_MAX_WAIT_S. Raises InvalidOption for a `?wait=` that is no number; a `Prefer` that cannot be
    understood is ignored, as its RFC wants.
    """
    given = request.args.get("wait")
    if given is not None:
        seconds = _seconds(given)
        if seconds is None:
            raise InvalidOption(f"wait: {given[:40]!r} is not a number of seconds.", field="wait", value=given[:40])
        return min(seconds, settings.max_wait_s)
    for preference in ",".join(request.headers.getlist("Prefer")).replace(";", ",").split(","):
        name, _, value = preference.partition("=")
        if name.strip().lower() == "wait" and (seconds := _seconds(value.strip().strip('"'))) is not None:
            return min(seconds, settings.max_wait_s)
    return min(settings.default_wait_s, settings.max_wait_s)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
