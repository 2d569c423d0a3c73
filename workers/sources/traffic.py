"""What went through a session of the proxy: places reached, places refused, bytes."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ocr_tasks.errors import AddressForbidden, InvalidUrl, OcrError

MOST_PLACES = 200
"""Places of a kind that are kept by name; further ones are only counted, as a page can make up as many as it likes."""


@dataclass(frozen=True)
class Reached:
    """A place that so many connections were opened to; `address`: the first one's."""

    host: str
    port: int
    address: str
    count: int


@dataclass(frozen=True)
class Refused:
    """A place that was not reached. `blocked`: it may not be; else it could not be. `code`, `reason`: of the error."""

    host: str
    port: int
    code: str
    reason: str
    blocked: bool
    count: int


@dataclass(frozen=True)
class Traffic:
    """A session's books. Bytes as they pass, both ways, TLS included.

    `unlisted`: connections and refusals whose places are too many to be listed. `cut`: the byte limit was reached, and
    everything since then refused.
    """

    reached: tuple[Reached, ...]
    refused: tuple[Refused, ...]
    unlisted: int
    received_bytes: int
    sent_bytes: int
    cut: bool

    @property
    def blocked(self) -> tuple[Refused, ...]:
        """The places that may not be reached."""
        return tuple(place for place in self.refused if place.blocked)


class Books:
    """Keeps the traffic of a session; for several threads."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._reached = Counter[tuple[str, int]]()
        self._addresses: dict[tuple[str, int], str] = {}
        self._refused = Counter[tuple[str, int, str]]()
        self._errors: dict[tuple[str, int, str], OcrError] = {}
        self._last: dict[tuple[str, int], OcrError] = {}
        self._unlisted = self._received = self._sent = 0

    @property
    def cut(self) -> bool:
        """Whether the byte limit was overstepped."""
        return self._received + self._sent > self.max_bytes

    def reached(self, host: str, port: int, address: str) -> None:
        with self._lock:
            if self._listed(self._reached, (host, port)):
                self._addresses.setdefault((host, port), address)
                self._last.pop((host, port), None)

    def refused(self, host: str, port: int, error: OcrError) -> None:
        with self._lock:
            if self._listed(self._refused, (host, port, error.code)):
                self._errors[host, port, error.code] = self._last[host, port] = error

    def moved(self, *, received: int = 0, sent: int = 0) -> None:
        """Count bytes that passed."""
        with self._lock:
            self._received += received
            self._sent += sent

    def error_of(self, host: str, port: int) -> OcrError | None:
        """Why the last connection to a place (a canonical host) was refused; None when it was not, or is unlisted."""
        with self._lock:
            return self._last.get((host, port))

    def traffic(self) -> Traffic:
        with self._lock:
            return Traffic(
                reached=tuple(
                    Reached(*place, self._addresses[place], count) for place, count in self._reached.most_common()
                ),
                refused=tuple(self._refusal(key, count) for key, count in self._refused.most_common()),
                unlisted=self._unlisted,
                received_bytes=self._received,
                sent_bytes=self._sent,
                cut=self.cut,
            )

    def _refusal(self, key: tuple[str, int, str], count: int) -> Refused:
        error = self._errors[key]
        return Refused(*key, error.detail, isinstance(error, AddressForbidden | InvalidUrl), count)

    def _listed(self, counts: Counter[Any], key: tuple[Any, ...]) -> bool:
        """Count a place; False when there are so many already that it goes unlisted."""
        if key not in counts and len(counts) >= MOST_PLACES:
            self._unlisted += 1
            return False
        counts[key] += 1
        return True
