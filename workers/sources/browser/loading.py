"""How far a page has come: its document, the events of its main frame, the requests under way."""

from __future__ import annotations

import time
from typing import Any

from workers.sources.browser.devtools import Event, Params

IDLE_S = 0.5
FOLLOWED_S = 1.0
"""A page that sends its reader on within this time (a meta refresh) is not what was asked for."""


class Loading:
    """What the events of one page add up to."""

    def __init__(self) -> None:
        self.main_frame = ""
        self.response: Params | None = None
        self.document_url: str | None = None
        self.unreachable = False
        self.requested_url: str | None = None
        self.download: str | None = None
        self._loader = ""
        self._reached: set[str] = set()
        self._leaving = self._scheduled = False
        self._requests: set[str] = set()
        self._busy_at = time.monotonic()

    def hear(self, event: Event) -> None:
        """Note an event of the page's session."""
        listen = getattr(self, f"_on_{event.method.replace('.', '_')}", None)
        if listen is not None:
            listen(event.params)

    def reached(self, name: str) -> bool:
        """Whether the main document, and no other that it leads to at once, had this event."""
        return name in self._reached and not self._leaving and not self._scheduled

    def idle(self, seconds: float = IDLE_S) -> bool:
        """Whether no request was under way for so long."""
        return not self._requests and time.monotonic() - self._busy_at >= seconds

    @property
    def busy(self) -> bool:
        return bool(self._requests)

    def begin(self) -> None:
        """A new document is about to be put in place; what was reached before does not count."""
        self._reached.clear()
        self._busy_at = time.monotonic()

    # -- frames ---------------------------------------------

    def _on_Page_lifecycleEvent(self, params: Params) -> None:
        if params["frameId"] != self.main_frame:
            return
        if params["name"] == "init":
            self._loader = params["loaderId"]
            self._reached.clear()
            self._leaving = self._scheduled = False
        elif params["loaderId"] == self._loader:
            self._reached.add(params["name"])

    def _on_Page_frameRequestedNavigation(self, params: Params) -> None:
        if params["frameId"] == self.main_frame and params.get("disposition", "currentTab") == "currentTab":
            self._leaving = True

    def _on_Page_frameStartedNavigating(self, params: Params) -> None:
        if params["frameId"] == self.main_frame and "sameDocument" not in params.get("navigationType", ""):
            self._leaving = True

    def _on_Page_frameStoppedLoading(self, params: Params) -> None:
        if params["frameId"] == self.main_frame:
            self._leaving = False

    def _on_Page_frameScheduledNavigation(self, params: Params) -> None:
        # What was there when this was said may stop loading meanwhile.
        if params["frameId"] == self.main_frame and params["delay"] <= FOLLOWED_S:
            self._scheduled = True

    def _on_Page_frameClearedScheduledNavigation(self, params: Params) -> None:
        if params["frameId"] == self.main_frame:
            self._scheduled = False

    def _on_Page_frameNavigated(self, params: Params) -> None:
        frame = params["frame"]
        if frame["id"] == self.main_frame:
            self.unreachable = "unreachableUrl" in frame
            self.document_url = frame.get("unreachableUrl") or frame["url"] + frame.get("urlFragment", "")

    def _on_Page_navigatedWithinDocument(self, params: Params) -> None:
        if params["frameId"] == self.main_frame:
            self.document_url = params["url"]

    def _on_Page_downloadWillBegin(self, params: Params) -> None:
        self.download = str(params.get("suggestedFilename", ""))

    # -- requests ---------------------------------------------

    def _on_Network_requestWillBeSent(self, params: Params) -> None:
        if params["request"]["url"].startswith(("data:", "blob:")):
            return
        self._requests.add(params["requestId"])
        self._busy_at = time.monotonic()
        if self._is_document(params):
            self.requested_url = params["request"]["url"]

    def _on_Network_responseReceived(self, params: Params) -> None:
        if self._is_document(params):
            self.response = params["response"]

    def _on_Network_loadingFinished(self, params: Params) -> None:
        self._ended(params["requestId"])

    def _on_Network_loadingFailed(self, params: Params) -> None:
        self._ended(params["requestId"])

    def _on_Network_eventSourceMessageReceived(self, params: Params) -> None:
        self._requests.discard(params["requestId"])

    def _is_document(self, params: dict[str, Any]) -> bool:
        return params.get("type") == "Document" and params.get("frameId") == self.main_frame

    def _ended(self, request: str) -> None:
        if request in self._requests:
            self._requests.discard(request)
            self._busy_at = time.monotonic()
