"""One render, step by step: open, load, settle, hold still, capture."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from ocr_tasks.errors import (
    InvalidOption,
    OcrError,
    RenderTimeout,
    UnsupportedMediaType,
    UrlUnreachable,
    storable,
)
from ocr_tasks.rendering import RenderOptions
from workers.sources.browser import capture
from workers.sources.browser.devtools import DevTools, Late
from workers.sources.browser.harvest import Blocked, Egress, Harvest, Html, Source, Timings, Url
from workers.sources.browser.limits import BrowserLimits
from workers.sources.browser.page import Page
from workers.sources.browser.process import BrowserProcess
from workers.sources.browser.requests import NothingHeld, Requests, SealedOff, WithHeaders, origin_of
from workers.sources.browser.settle import Settling
from workers.sources.browser.visible import visible

SHOWN_TYPES = ("text/", "image/", "application/json", "application/xml", "application/xhtml+xml")


class Render:
    """One page, from an address or from HTML."""

    def __init__(
        self,
        devtools: DevTools,
        process: BrowserProcess,
        source: Source,
        options: RenderOptions,
        limits: BrowserLimits,
        egress: Egress | None,
    ) -> None:
        self.devtools, self.process, self.source = devtools, process, source
        self.options, self.limits, self.egress = options, limits, egress

    def harvest(self, started: float) -> Harvest:
        """The page; `started`: when it was asked for, in seconds of the monotonic clock."""
        page = self._open()
        until = time.monotonic() + self.options.timeout_ms / 1000
        self._load(page, until)
        loaded = time.monotonic()
        settled = Settling(page, until).settle()
        self._require_let_out(page)  # it may have led somewhere else
        still = time.monotonic()
        width, height, clip = capture.shown_part(page, self.limits)
        dom, title, frames = capture.take_dom(page)
        snapshot = capture.take_snapshot(page)
        seen = time.monotonic()
        picture = capture.take_picture(page, width, height)
        taken = time.monotonic()
        page.close()
        runs, text = visible(snapshot, width=width, height=height, pixels=self.options.device_scale_factor)
        done = time.monotonic()
        given = isinstance(self.source, Html)
        return Harvest(
            url=None if isinstance(self.source, Html) else self.source.url,
            final_url=None if given else storable(page.loading.document_url or ""),
            status=None if given or page.loading.response is None else int(page.loading.response["status"]),
            title=title,
            dom=dom,
            frames=frames,
            runs=runs,
            text=text,
            image=picture.image,
            media_type=picture.media_type,
            width=picture.width,
            height=picture.height,
            device_scale=self.options.device_scale_factor,
            clip=clip,
            settled=settled,
            blocked=self._blocked(page),
            timings=Timings(
                navigation_ms=_ms(started, loaded),
                settle_ms=_ms(loaded, still),
                snapshot_ms=_ms(still, seen) + _ms(taken, done),
                screenshot_ms=_ms(seen, taken),
                total_ms=_ms(started, done),
            ),
            browser=self.process.version,
        )

    def _open(self) -> Page:
        requests: Requests
        if isinstance(self.source, Html):
            requests, port = SealedOff(), self.process.dead_port
        elif self.egress is None:
            raise ValueError("a page from an address needs an egress proxy")
        else:
            headers = self.options.headers
            requests = WithHeaders(self.source.url, headers) if headers else NothingHeld()
            port = self.egress.port
        scripts = self.options.scripts(given_html=isinstance(self.source, Html))
        return Page(self.devtools, self.options, proxy_port=port, scripts=scripts, requests=requests)

    # -- loading ---------------------------------------------

    def _load(self, page: Page, until: float) -> None:
        """Put the document in place: returns when it begins to be parsed (an address) or was (HTML)."""
        page.loading.begin()
        if isinstance(self.source, Html):
            asked = self.devtools.ask(
                "Page.setDocumentContent", page.session, frameId=page.target, html=self.source.html
            )
            try:
                self.devtools.answer(asked, until)
            except Late:  # a script of its own runs for ever
                page.interrupt()
            return
        scheme = urlsplit(self.source.url).scheme.lower()
        if scheme not in ("http", "https"):
            raise InvalidOption(f"url: Only http and https are rendered; got {scheme[:40]!r}.", field="url")
        asked = self.devtools.ask("Page.navigate", page.session, url=self.source.url)
        try:
            answer = self.devtools.answer(asked, until)
        except Late:
            raise self._unanswered(self.source) from None
        self._require_page(page, self.source, answer.get("errorText"), download=bool(answer.get("isDownload")))

    def _unanswered(self, source: Url) -> OcrError:
        limit = self.options.timeout_ms
        refusal = self._refusal(source.url)
        return refusal or RenderTimeout(f"The address did not answer within {limit} ms.", limit=limit)

    def _require_page(self, page: Page, source: Url, error: str | None, *, download: bool) -> None:
        """Raise what kept the page from being there."""
        self.devtools.wait(lambda: page.loading.document_url is not None or error is not None, time.monotonic() + 1)
        self._require_let_out(page, error)
        kind = str((page.loading.response or {}).get("mimeType", "text/html"))
        if not kind.startswith(SHOWN_TYPES):
            raise UnsupportedMediaType(f"The address leads to {kind[:100]}, not to a page.", value=kind[:100])
        if download or page.loading.download is not None:
            raise UnsupportedMediaType("The address leads to a download, not to a page.")
        if error:
            raise UrlUnreachable(f"The address could not be opened ({error.removeprefix('net::')}).", reason=error)

    def _require_let_out(self, page: Page, error: str | None = None) -> None:
        """Raise what the proxy refused the main document with."""
        headers = (page.loading.response or {}).get("headers", {})
        if error or page.loading.unreachable or any(name.lower() == "x-lightdom-refused" for name in headers):
            refusal = self._refusal(page.loading.requested_url or "")
            if refusal is not None:
                raise refusal

    def _refusal(self, url: str) -> OcrError | None:
        _, host, port = origin_of(url)
        return self.egress.error_of(host, port) if self.egress is not None and host and port else None

    def _blocked(self, page: Page) -> tuple[Blocked, ...]:
        """What was not let out: by the browser itself, and by the proxy."""
        found = list(page.requests.blocked)
        if self.egress is not None and isinstance(self.source, Url):
            for refusal in self.egress.traffic().refused:
                if refusal.blocked or refusal.code == "url_too_large":
                    found.append(Blocked(f"{refusal.host}:{refusal.port}", refusal.reason))
        return tuple(found)


def _ms(start: float, end: float) -> int:
    return round((end - start) * 1000)
