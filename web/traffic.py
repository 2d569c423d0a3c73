"""How many requests web answered, and how fast: counted in files that the processes of one gunicorn share.

Each process writes its own file and whoever is scraped adds them up; so it is with prometheus_client's own mode for
several processes, which is not used because it is switched on for all that a process counts.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from flask import Flask, Response, g, request
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from ocr_tasks.metrics import PREFIX

NAME = f"{PREFIX}http_request_seconds"
HELP = "Requests to web: time until their answer began."
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, float("inf"))
LABELS = ["method", "route", "status"]
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestMetrics:
    """Requests by method, route and status, of all processes that share the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._values = MmapedDict(str(folder / f"histogram_{os.getpid()}.db"))
        self._keys: dict[tuple[str, ...], list[str]] = {}
        self._lock = threading.Lock()

    def observe(self, method: str, route: str, status: str, seconds: float) -> None:
        """One request, and the time that it took."""
        with self._lock:
            *buckets, total = self._keys_of(method, route, status)
            self._add(buckets[bisect_left(BUCKETS, seconds)], 1)
            self._add(total, seconds)

    def collect(self) -> Iterable[Metric]:
        """The one family, summed over the processes."""
        metrics: Iterable[Metric] = MultiProcessCollector.merge(
            [str(path) for path in self.folder.glob("histogram_*.db")]
        )
        return metrics

    def _keys_of(self, *labels: str) -> list[str]:
        """Where the buckets and the sum of a series lie; the first time, all of them begin at 0."""
        if labels not in self._keys:
            bounds = ["+Inf" if bound == float("inf") else str(bound) for bound in BUCKETS]
            keys = [mmap_key(NAME, f"{NAME}_bucket", [*LABELS, "le"], [*labels, bound], HELP) for bound in bounds]
            self._keys[labels] = [*keys, mmap_key(NAME, f"{NAME}_sum", LABELS, list(labels), HELP)]
            for key in self._keys[labels]:
                self._values.read_value(key)
        return self._keys[labels]

    def _add(self, key: str, value: float) -> None:
        self._values.write_value(key, self._values.read_value(key)[0] + value, time.time())


def register(app: Flask, metrics: RequestMetrics) -> None:
    """Count every request to this application."""

    @app.before_request
    def _begin() -> None:
        g.began_at = time.monotonic()

    @app.after_request
    def _end(response: Response) -> Response:
        method = request.method if request.method in METHODS else "other"
        route = request.url_rule.rule if request.url_rule else "none"  # never the address: strangers write those
        seconds = time.monotonic() - g.get("began_at", time.monotonic())
        metrics.observe(method, route, str(response.status_code), seconds)
        return response


def shared_folder() -> Path:
    """A folder in memory for this process and its siblings, named after their parent; those of the dead go."""
    base = _base()
    own = base / _name_of(os.getppid())
    own.mkdir(mode=0o700, exist_ok=True)
    for other in base.iterdir():
        if other.name.partition("-")[0].isdecimal() and other.name != _name_of(int(other.name.partition("-")[0])):
            shutil.rmtree(other, ignore_errors=True)
    return own


def _base() -> Path:
    """Ours alone: others who may write to the same place must not have made it for us."""
    memory = Path("/dev/shm")
    top = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    base = top / f"lightdom-ocr-web-{os.getuid()}"
    with suppress(FileExistsError):
        base.mkdir(mode=0o700)
    if base.is_symlink() or base.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="lightdom-ocr-web-"))
    return base


def _name_of(pid: int) -> str:
    """A process by its number and the time it was started, as numbers come again."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        started = "gone"
    return f"{pid}-{started}"
