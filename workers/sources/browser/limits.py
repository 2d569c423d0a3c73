"""What a browser and a render may cost."""

from __future__ import annotations

from dataclasses import dataclass

from ocr_tasks.settings import Settings


@dataclass(frozen=True)
class BrowserLimits:
    """Renders before a new browser is started, bytes of memory of all its processes, and sizes of a screenshot.

    `capture_s`: seconds that a render may take beyond the time it waits for its page; then the browser is killed.
    `max_height`: CSS pixels of a page that are shown; `max_pixels`: pixels of a screenshot.
    """

    renders: int
    memory_bytes: int
    capture_s: float
    max_height: int
    max_pixels: int
    browser_path: str | None = None
    chromedriver_path: str | None = None


def browser_limits(settings: Settings) -> BrowserLimits:
    """The limits that the settings give."""
    return BrowserLimits(
        renders=settings.browser_renders,
        memory_bytes=settings.browser_memory_mb * 1024 * 1024,
        capture_s=settings.browser_capture_s,
        max_height=settings.browser_max_height,
        max_pixels=settings.max_page_pixels,
        browser_path=settings.browser_path,
        chromedriver_path=settings.chromedriver_path,
    )
