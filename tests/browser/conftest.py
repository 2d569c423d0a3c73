"""A warm browser for each module, a site on loopback that the egress guard lets through, a canary that it does not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ocr_tasks.errors import BrowserUnavailable
from ocr_tasks.rendering import parse_render_options
from ocr_tasks.urls import AllowList
from tests.browser.site import Canary, Site, running_site, silent_canary
from workers.sources.browser import Browser, BrowserLimits, Harvest, Html, Url
from workers.sources.browser.programs import browser_program, driver_program
from workers.sources.egress import Egress
from workers.sources.proxy import EgressProxy, ProxySession

LIMITS = BrowserLimits(
    renders=1000, memory_bytes=2048 * 1024 * 1024, capture_s=8, max_height=20_000, max_pixels=100_000_000
)
MAX_BYTES = 32 * 1024 * 1024
SMALL = {"viewport": {"width": 800, "height": 600}, "timeoutMs": 5000}

Rendering = Callable[..., Harvest]


@pytest.fixture(scope="session")
def programs() -> None:
    """Skips where there is no browser; continuous integration must have one."""
    try:
        browser_program(LIMITS)
        driver_program(LIMITS)
    except BrowserUnavailable as error:
        if os.environ.get("CI", "").lower() in ("1", "true"):
            raise
        pytest.skip(f"no browser: {error.detail}")


@pytest.fixture(scope="module")
def browser(programs: None) -> Iterator[Browser]:
    with Browser(LIMITS) as warm:
        yield warm


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


@pytest.fixture
def canary() -> Iterator[Canary]:
    with silent_canary() as silent:
        yield silent


@pytest.fixture(scope="module")
def session() -> Iterator[ProxySession]:
    with EgressProxy() as proxy:
        yield proxy.open(Egress(), max_bytes=MAX_BYTES)


@pytest.fixture
def render_url(browser: Browser, site: Site, session: ProxySession) -> Rendering:
    """Renders an address; the site may be reached, as may what `allow` names."""

    def render(url: str, *, allow: str = "", resolve: Any = None, **options: Any) -> Harvest:
        opened = AllowList.parse(",".join(filter(None, (f"127.0.0.1:{site.port}", allow))))
        session.begin(Egress(opened, resolve=resolve), max_bytes=MAX_BYTES)
        return browser.render(Url(url), parse_render_options({**SMALL, **options}), egress=session)

    return render


@pytest.fixture
def render_html(browser: Browser) -> Rendering:
    """Renders given HTML."""

    def render(html: str, **options: Any) -> Harvest:
        return browser.render(Html(html), parse_render_options({**SMALL, **options}))

    return render
