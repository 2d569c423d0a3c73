"""Which requests the browser stops by itself: those that a caller's headers go with, and all of given HTML."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

from workers.sources.browser.devtools import DevTools, Event, Params
from workers.sources.browser.harvest import Blocked

INLINE = ("data:", "blob:", "about:")
MOST_NOTED = 1000


class Requests(Protocol):
    """Decides on requests that the browser holds up. No `patterns`: it holds none up."""

    patterns: list[Params]
    blocked: list[Blocked]

    def decide(self, devtools: DevTools, event: Event) -> None:
        """Let a request go on, or not."""


class NothingHeld:
    """Nothing is held up."""

    def __init__(self) -> None:
        self.patterns: list[Params] = []
        self.blocked: list[Blocked] = []

    def decide(self, devtools: DevTools, event: Event) -> None:
        devtools.tell("Fetch.continueRequest", event.session, requestId=event.params["requestId"])


class SealedOff:
    """Nothing gets out: the page was given and has all that it needs in itself."""

    def __init__(self) -> None:
        self.patterns: list[Params] = [{"urlPattern": "*"}]
        self.blocked: list[Blocked] = []

    def decide(self, devtools: DevTools, event: Event) -> None:
        request, url = event.params["requestId"], event.params["request"]["url"]
        if url.startswith(INLINE) and event.params.get("resourceType") != "Document":
            devtools.tell("Fetch.continueRequest", event.session, requestId=request)
            return
        if len(self.blocked) < MOST_NOTED:
            self.blocked.append(Blocked(url[:2000], "given HTML reaches no network"))
        # Aborted: the document that asks for another one stays; any other reason would show a page of the browser's.
        devtools.tell("Fetch.failRequest", event.session, requestId=request, errorReason="Aborted")


class WithHeaders:
    """A caller's headers go to the origin of the page and nowhere else.

    Chromium drops overridden headers from a redirect, and holds the redirected request up again when it stays.
    """

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        parts = urlsplit(url)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self.patterns: list[Params] = [{"urlPattern": "*"}]
        self.headers = headers
        self.blocked: list[Blocked] = []

    def decide(self, devtools: DevTools, event: Event) -> None:
        request = event.params["request"]
        changed: Params = {}
        if origin_of(request["url"]) == origin_of(self.origin):
            own = {name.lower() for name in self.headers}
            kept = {name: value for name, value in request["headers"].items() if name.lower() not in own}
            merged = {**kept, **self.headers}
            changed["headers"] = [{"name": name, "value": value} for name, value in merged.items()]
        devtools.tell("Fetch.continueRequest", event.session, requestId=event.params["requestId"], **changed)


def origin_of(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of an address, the port never left out."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
