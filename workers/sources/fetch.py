"""Downloads what a URL leads to: each address on the way is checked, and time and size have their limits."""

from __future__ import annotations

import ssl
import time
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urljoin

from ocr_tasks.errors import InvalidUrl, UrlStatus, UrlTooLarge
from ocr_tasks.settings import Settings
from ocr_tasks.urls import WebUrl, parse_url
from workers.sources.content import decoded, filename_of, media_type_of
from workers.sources.egress import Guard
from workers.sources.http_get import Answer, Deadline, trusted

MOST_REDIRECTS = 10
REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class FetchLimits:
    """What a download may cost: bytes once decoded, seconds in all, seconds without a byte."""

    max_bytes: int
    timeout_s: float
    stall_s: float = 20.0

    @classmethod
    def of(cls, settings: Settings) -> FetchLimits:
        return cls(max_bytes=settings.max_upload_bytes, timeout_s=settings.url_timeout_s)


@dataclass(frozen=True)
class Fetched:
    """What was downloaded. `url`: after redirects; `media_type` and `filename`: as the server claims."""

    url: str
    status: int
    media_type: str | None
    filename: str | None
    size_bytes: int


def fetch(url: str, into: BinaryIO, *, guard: Guard, limits: FetchLimits, tls: ssl.SSLContext | None = None) -> Fetched:
    """Write what a URL leads to into a file; `tls`: whom to trust, else `trusted()`.

    Neither proxies nor credentials are taken from the environment. Raises InvalidUrl, AddressForbidden,
    UrlUnreachable, UrlStatus, UrlTimeout or UrlTooLarge, each naming the host that it is about; what is in the file
    then is of no use. What writing raises passes through.
    """
    place = parse_url(url)
    deadline = Deadline(time.monotonic() + limits.timeout_s, limits.stall_s)
    for _ in range(MOST_REDIRECTS + 1):
        with Answer(place, guard, deadline, tls or trusted()) as answer:
            if answer.status in REDIRECTS and "location" in answer.headers:
                place = _redirected(place, answer.headers["location"])
                continue
            if not 200 <= answer.status < 300:
                said = f"{answer.status} {answer.reason}".strip()[:100]
                raise UrlStatus(f"{place.host} answered {said}.", host=place.host, value=answer.status)
            size_bytes = _saved(answer, place, into, limits.max_bytes)
            return Fetched(
                url=str(place),
                status=answer.status,
                media_type=media_type_of(answer.headers),
                filename=filename_of(answer.headers, place),
                size_bytes=size_bytes,
            )
    raise UrlStatus(f"The URL leads on more than {MOST_REDIRECTS} times.", host=place.host, limit=MOST_REDIRECTS)


def _redirected(place: WebUrl, location: str) -> WebUrl:
    try:
        return parse_url(urljoin(str(place), location.strip()))
    except (InvalidUrl, ValueError) as error:
        reason = error.detail if isinstance(error, InvalidUrl) else "Its address is no URL."
        raise InvalidUrl(f"{place.host} leads on to where nothing can be fetched. {reason}", host=place.host) from None


def _saved(answer: Answer, place: WebUrl, into: BinaryIO, max_bytes: int) -> int:
    """How many bytes were written; raises UrlTooLarge as soon as there are too many."""
    announced = answer.headers.get("content-length", "")
    size_bytes = int(announced) if announced.isdecimal() else 0
    if size_bytes <= max_bytes:
        size_bytes = 0
        for part in decoded(answer.body(), answer.headers, place.host):
            size_bytes += len(part)
            if size_bytes > max_bytes:
                break
            into.write(part)
    if size_bytes > max_bytes:
        raise UrlTooLarge(
            f"{place.host} sends more than {max_bytes} bytes, the limit.", host=place.host, limit=max_bytes
        )
    return size_bytes
