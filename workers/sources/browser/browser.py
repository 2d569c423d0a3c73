"""A warm browser that renders one page after the other, each in a context of its own."""

from __future__ import annotations

from types import TracebackType

from ocr_tasks.rendering import RenderOptions
from workers.sources.browser.harvest import Egress, Harvest, Source
from workers.sources.browser.limits import BrowserLimits


class Browser:
    """Chromium, started by the first render and again whenever the last one left it dead, old or fat.

    One render at a time: a pool has one of these in each of its processes.
    """

    def __init__(self, limits: BrowserLimits, *, egress: Egress | None = None) -> None:
        self.limits = limits
        self.egress = egress

    def render(self, source: Source, options: RenderOptions) -> Harvest:
        """The page as the browser showed it.

        Raises BrowserUnavailable, PageUnreachable, RenderTimeout, RenderFailed, InvalidOption (a selector that is
        none) or UnsupportedMediaType (the address leads to a download).
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the browser and remove what it wrote."""

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
