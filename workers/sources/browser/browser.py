"""A warm browser that renders one page after the other, each in a context of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import structlog

from ocr_tasks.errors import OcrError, RenderFailed, RenderTimeout
from ocr_tasks.rendering import RenderOptions
from workers.sources.browser.devtools import DevTools, Gone, Late, Refused
from workers.sources.browser.harvest import Egress, Harvest, Source
from workers.sources.browser.limits import BrowserLimits
from workers.sources.browser.process import BrowserProcess
from workers.sources.browser.render import Render

log = structlog.get_logger()

LOOK_S = 0.4
ANSWER_S = 5.0
KEPT_MEMORY = 0.75
"""Share of the memory limit above which a browser, once seen there, is not used again."""


class Browser:
    """Chromium, started by the first render and again whenever the last one left it dead, old or fat.

    One render at a time, all in the thread that made the first: the browser ends with it. A pool has one of these in
    each of its processes.
    """

    def __init__(self, limits: BrowserLimits) -> None:
        self.limits = limits
        self._process: BrowserProcess | None = None
        self._devtools: DevTools | None = None
        self._renders = self._memory_bytes = 0

    def render(self, source: Source, options: RenderOptions, *, egress: Egress | None = None) -> Harvest:
        """The page as the browser showed it; a Url needs an `egress`, whose books begin with this page.

        Raises BrowserUnavailable, UrlUnreachable, what `egress` refused the page's own address with, RenderTimeout,
        RenderFailed, PageTooLarge, InvalidOption (a selector that is none), UnsupportedMediaType (a download).
        """
        started = time.monotonic()
        process, devtools = self._ready()
        devtools.deadline = time.monotonic() + options.timeout_ms / 1000 + self.limits.capture_s
        with self._watched(process) as overweight:
            try:
                harvest = Render(devtools, process, source, options, self.limits, egress).harvest(started)
            except OcrError:
                self.close()
                raise
            except Late:
                self.close()
                limit = options.timeout_ms / 1000 + self.limits.capture_s
                raise RenderTimeout(f"The page was not rendered within {limit:g} s.", limit=limit) from None
            except (Gone, Refused) as death:
                self.close()
                raise self._failure(death, overweight.is_set()) from None
            except BaseException:  # such as a task's time limit: what the browser is doing nobody knows
                self.close()
                raise
        self._retire()
        return harvest

    def close(self) -> None:
        """End the browser and remove what it wrote. May be called again; a render after it starts a new one."""
        process, devtools, self._process, self._devtools = self._process, self._devtools, None, None
        if devtools is not None:
            devtools.close()
        if process is not None:
            process.kill()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # -- its processes ---------------------------------------------

    @property
    def group(self) -> int | None:
        """The process group of the browser that runs, if one does."""
        return self._process.group if self._process is not None else None

    def _ready(self) -> tuple[BrowserProcess, DevTools]:
        if self._process is None or self._devtools is None or not self._answers(self._devtools):
            self.close()
            self._process = BrowserProcess(self.limits)
            self._devtools = DevTools(self._process.endpoint)
            self._renders = self._memory_bytes = 0
        return self._process, self._devtools

    def _answers(self, devtools: DevTools) -> bool:
        """Whether the browser of the last render is well: it may have died since."""
        devtools.deadline = time.monotonic() + ANSWER_S
        try:
            devtools.call("Browser.getVersion")
        except (Gone, Late, Refused):
            return False
        return self._process is not None and self._process.alive

    @contextmanager
    def _watched(self, process: BrowserProcess) -> Iterator[threading.Event]:
        """Kill the browser as soon as it takes too much memory; the event says whether that was so."""
        overweight, over = threading.Event(), threading.Event()

        def watch() -> None:
            while not over.wait(LOOK_S):
                self._memory_bytes = process.memory_bytes()
                if self._memory_bytes > self.limits.memory_bytes and not over.is_set():
                    overweight.set()
                    process.kill_group()
                    return

        watcher = threading.Thread(target=watch, name="browser-memory", daemon=True)
        watcher.start()
        try:
            yield overweight
        finally:
            over.set()

    def _failure(self, death: Gone | Refused, overweight: bool) -> RenderFailed:
        if overweight:
            limit = self.limits.memory_bytes // (1024 * 1024)
            return RenderFailed(f"The page makes its browser use more than {limit} MiB of memory.", limit=limit)
        log.info("render_failed", error=f"{type(death).__name__}: {death}"[:500])
        return RenderFailed("The page ended before it was rendered: it crashed, or closed itself.")

    def _retire(self) -> None:
        self._renders += 1
        fat = self._memory_bytes > KEPT_MEMORY * self.limits.memory_bytes
        if fat or self._renders >= self.limits.renders:
            log.info("browser_replaced", renders=self._renders, fat=fat)
            self.close()
