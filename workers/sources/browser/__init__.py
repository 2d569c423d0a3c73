"""Pages rendered in a real browser: Chromium, started by Selenium and driven over the DevTools protocol."""

from workers.sources.browser.browser import Browser
from workers.sources.browser.harvest import Blocked, Clip, Egress, Frame, Harvest, Html, Source, TextRun, Timings, Url
from workers.sources.browser.limits import BrowserLimits, browser_limits

__all__ = [
    "Blocked",
    "Browser",
    "BrowserLimits",
    "Clip",
    "Egress",
    "Frame",
    "Harvest",
    "Html",
    "Source",
    "TextRun",
    "Timings",
    "Url",
    "browser_limits",
]
