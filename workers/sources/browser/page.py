"""One page in a browser context of its own, kept from doing what would hold a render up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ocr_tasks.errors import RenderFailed
from ocr_tasks.rendering import RenderOptions
from workers.sources.browser.devtools import DevTools, Event, Gone, Params
from workers.sources.browser.loading import Loading
from workers.sources.browser.requests import Requests

PATIENT_DIALOGS = 20
"""Boxes that a page may open before its scripts are stopped: some open them for ever."""

# Run in every document before its own scripts: what would open a window of the browser's own, or speak past the proxy.
HARMLESS = """
for (const name of ['print', 'RTCPeerConnection', 'webkitRTCPeerConnection', 'RTCDataChannel', 'WebTransport'])
  try { name === 'print' ? window.print = () => {} : delete window[name]; } catch (error) {}
"""


class Page:
    """A page that is open. Its context goes with it: cookies, caches, storage, workers and popups."""

    def __init__(
        self, devtools: DevTools, options: RenderOptions, *, proxy_port: int, scripts: bool, requests: Requests
    ) -> None:
        self.devtools, self.options, self.scripts, self.requests = devtools, options, scripts, requests
        self.context: str = devtools.call(
            "Target.createBrowserContext",
            disposeOnDetach=True,
            proxyServer=f"http://127.0.0.1:{proxy_port}",
            proxyBypassList="<-loopback>",
        )["browserContextId"]
        self.loading = Loading()
        self.target = self.session = ""
        self.interrupted = self.gave_up = False
        self._dialogs = 0
        self._heard: dict[str, Callable[[Event], None]] = {
            "Inspector.targetCrashed": self._crashed,
            "Target.detachedFromTarget": self._detached,
            "Target.targetCreated": self._popped_up,
            "Page.javascriptDialogOpening": self._dialog,
            "Fetch.requestPaused": lambda event: requests.decide(devtools, event),
        }
        devtools.listener = self._hear
        self._open()

    def _open(self) -> None:
        call = self.devtools.call
        call("Browser.setDownloadBehavior", behavior="deny", browserContextId=self.context)
        call("Target.setDiscoverTargets", discover=True, filter=[{"type": "page"}])
        self.target = call("Target.createTarget", url="about:blank", browserContextId=self.context)["targetId"]
        self.session = call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        self.loading.main_frame = self.target  # Chromium names a page by its main frame
        asked = [self.devtools.ask(method, self.session, **params) for method, params in self._settings()]
        for number in asked:
            self.devtools.answer(number)

    def _settings(self) -> list[tuple[str, Params]]:
        options, viewport = self.options, self.options.viewport
        metrics = {"width": viewport.width, "height": viewport.height, "mobile": False}
        scheme = [{"name": "prefers-color-scheme", "value": options.color_scheme}]
        # No bodies are kept for us: they would fill the memory of the browser.
        settings: list[tuple[str, Params]] = [
            ("Page.enable", {}),
            ("Page.setLifecycleEventsEnabled", {"enabled": True}),
            ("Network.enable", {"maxTotalBufferSize": 1, "maxResourceBufferSize": 1, "maxPostDataSize": 0}),
            ("Network.setBypassServiceWorker", {"bypass": True}),
            ("Emulation.setDeviceMetricsOverride", {**metrics, "deviceScaleFactor": options.device_scale_factor}),
            ("Emulation.setEmulatedMedia", {"features": scheme}),
            ("Page.addScriptToEvaluateOnNewDocument", {"source": HARMLESS}),
        ]
        if options.user_agent is not None:
            settings.append(("Emulation.setUserAgentOverride", {"userAgent": options.user_agent}))
        if not self.scripts:
            settings.append(("Emulation.setScriptExecutionDisabled", {"value": True}))
        if self.requests.patterns:
            settings.append(("Fetch.enable", {"patterns": self.requests.patterns}))
        return settings

    def call(self, method: str, **params: Any) -> Params:
        """Send a command to the page and wait for its answer; raises Late, Gone or Refused."""
        return self.devtools.call(method, self.session, **params)

    def interrupt(self) -> None:
        """Stop the page's scripts, one that runs for ever included, and whatever still loads."""
        self.interrupted = True
        self.devtools.tell("Emulation.setScriptExecutionDisabled", self.session, value=True)
        self.devtools.tell("Runtime.terminateExecution", self.session)
        self.devtools.tell("Page.stopLoading", self.session)

    def close(self) -> None:
        """Close it and everything that it opened; raises Gone or Late when the browser itself is in a bad way."""
        self.devtools.listener = lambda event: None
        self.devtools.call("Target.disposeBrowserContext", browserContextId=self.context)

    # -- what is heard of it ---------------------------------------------

    def _hear(self, event: Event) -> None:
        if handler := self._heard.get(event.method):
            handler(event)
        elif event.session == self.session:
            self.loading.hear(event)

    def _crashed(self, event: Event) -> None:
        if event.session == self.session:
            raise RenderFailed("The page made its browser crash.")

    def _detached(self, event: Event) -> None:
        if event.params.get("sessionId") == self.session:
            raise Gone("the page has closed itself")

    def _popped_up(self, event: Event) -> None:
        target = event.params["targetInfo"]
        if target.get("browserContextId") == self.context and self.target not in ("", target["targetId"]):
            self.devtools.tell("Target.closeTarget", targetId=target["targetId"])

    def _dialog(self, event: Event) -> None:
        # A page that asks whether to leave it is left.
        leave = event.params["type"] == "beforeunload"
        self.devtools.tell("Page.handleJavaScriptDialog", event.session, accept=leave)
        self._dialogs += 1
        if self._dialogs > PATIENT_DIALOGS and not self.interrupted:
            self.gave_up = True
            self.interrupt()
