"""Waiting until a page is what was asked for, and holding it still then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from ocr_tasks.errors import InvalidOption, RenderTimeout
from workers.sources.browser.capture import evaluate, wait_for_fonts
from workers.sources.browser.devtools import Late, Refused
from workers.sources.browser.page import Page

LOOK_S = 0.05
MOMENT_S = 0.01
LAZY_S = 3.0
"""For what a page loads once it is scrolled through."""
MOST_STEPS = 40
SCROLLED = """
new Promise(done => {
  const scroller = document.scrollingElement || document.documentElement;
  const end = Math.min(scroller.scrollHeight, LIMIT), step = Math.max(innerHeight, end / STEPS);
  let y = 0;
  const next = () => {
    y += step;
    scrollTo({top: y < end ? y : 0, behavior: 'instant'});
    y < end ? setTimeout(next, 20) : setTimeout(done, 20);
  };
  next();
})
"""
VISIBLE = """
(() => {
  const found = document.querySelector(SELECTOR);
  return !!found && found.checkVisibility({visibilityProperty: true, opacityProperty: true});
})()
"""


class Settling:
    """What a page is waited for, until a time of the monotonic clock."""

    def __init__(self, page: Page, until: float) -> None:
        self.page, self.until = page, until
        self.devtools, self.loading, self.options = page.devtools, page.loading, page.options

    def settle(self) -> bool:
        """Wait, then stop the page; whether what was waited for came about. Raises RenderTimeout for a selector."""
        settled = self._wait()
        if self.page.scripts and not self.page.interrupted and self.options.full_page and settled:
            self._scroll_through()
        if not self.page.interrupted:
            self.page.interrupt()
        wait_for_fonts(self.page)
        return settled and not self.page.gave_up

    def _wait(self) -> bool:
        wait_for = self.options.wait_for
        name = "DOMContentLoaded" if wait_for == "domcontentloaded" else "load"
        while not self._until(lambda: self.loading.reached(name)) or self._moves_on(name):
            if time.monotonic() >= self.until or self.page.interrupted:
                return False
        if wait_for == "networkidle":
            return self._until(lambda: self.loading.reached("load") and self.loading.idle())
        if isinstance(wait_for, int):
            self.devtools.pause(min(wait_for / 1000, max(0.0, self.until - time.monotonic())))
            return True
        if self.options.selector is not None:
            self._wait_for_selector(self.options.selector)
        return True

    def _moves_on(self, name: str) -> bool:
        """Whether the document leads on: that something scheduled ends is told a moment before that it begins."""
        self.devtools.pause(MOMENT_S)
        return not self.loading.reached(name)

    def _until(self, condition: Callable[[], bool]) -> bool:
        # Looked at every so often: being idle is nothing that an event tells.
        while not condition() and time.monotonic() < self.until and not self.page.interrupted:
            self.devtools.wait(condition, min(self.until, time.monotonic() + LOOK_S))
        return condition()

    def _wait_for_selector(self, selector: str) -> None:
        while time.monotonic() < self.until:
            try:
                if evaluate(self.page, VISIBLE.replace("SELECTOR", json.dumps(selector))):
                    return
            except Refused as refusal:
                if "SyntaxError" in str(refusal):
                    raise InvalidOption(
                        f"waitFor: {selector[:200]!r} is no CSS selector.", field="waitFor", value=selector[:200]
                    ) from None
            self.devtools.pause(LOOK_S)
        limit = self.options.timeout_ms
        raise RenderTimeout(
            f"Nothing visible matched {selector[:200]!r} within {limit} ms.", value=selector[:200], limit=limit
        )

    def _scroll_through(self) -> None:
        """Go down and up again once: what a page loads only when it comes into view is there then."""
        metrics = self.page.call("Page.getLayoutMetrics")
        if metrics["cssContentSize"]["height"] <= self.options.viewport.height:
            return
        script = SCROLLED.replace("LIMIT", "60000").replace("STEPS", str(MOST_STEPS))
        asked = self.devtools.ask(
            "Runtime.evaluate", self.page.session, expression=script, awaitPromise=True, returnByValue=True
        )
        until = min(self.until, time.monotonic() + LAZY_S)
        try:
            self.devtools.answer(asked, until)
        except (Late, Refused):
            return
        self.devtools.wait(lambda: not self.loading.busy, until)
