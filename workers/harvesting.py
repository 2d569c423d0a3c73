"""The first step of a job about a page of the web: a browser renders it, and what it shows is stored.

Runs in the browser pool's processes, each with a warm browser and an egress proxy of its own.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from pydantic.alias_generators import to_camel

from ocr_tasks.contract import Kind, select_pages
from ocr_tasks.jobs.harvests import NewHarvest, PageSpan, TextRun
from ocr_tasks.jobs.inspecting import InspectClaim, Inspected
from ocr_tasks.kinds.markup import html_text
from ocr_tasks.kinds.sources import StoredSource
from ocr_tasks.rendering import RenderOptions
from workers.runtime import Runtime
from workers.sources.browser import Browser, Harvest, Html, Url, browser_limits
from workers.sources.cuts import blank_rows, cut_pages, open_screenshot
from workers.sources.egress import Egress
from workers.sources.proxy import EgressProxy

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Kit:
    """What a process renders with."""

    browser: Browser
    proxy: EgressProxy

    def close(self) -> None:
        self.browser.close()
        self.proxy.close()


_of_process: dict[int, Kit] = {}


def kit(runtime: Runtime) -> Kit:
    """This process's browser, and the proxy in front of it."""
    pid = os.getpid()
    if pid not in _of_process:
        _of_process[pid] = Kit(Browser(browser_limits(runtime.settings)), EgressProxy())
    return _of_process[pid]


def close_browser() -> None:
    """End this process's browser, if there is one."""
    if (mine := _of_process.pop(os.getpid(), None)) is not None:
        mine.close()


def harvested(runtime: Runtime, claim: InspectClaim) -> Inspected:
    """Render a job's page and store what it showed; raises what `Browser.render` raises, and TooManyPages."""
    options = claim.options
    assert isinstance(options, RenderOptions)
    harvest = _rendered(runtime, claim.source, options)
    new = _stored(runtime, claim, harvest, options)
    source = {"harvestId": str(new.id)}
    log.info("page_rendered", url=new.final_url, pages=len(new.pages), blocked=len(new.blocked), **new.timings)
    if claim.kind == Kind.RENDER:
        return Inspected(len(new.pages), 0, source, new)
    total = len(select_pages(options.page_range, len(new.pages), limit=runtime.settings.max_pages))
    return Inspected(len(new.pages), total, source, new)


def _rendered(runtime: Runtime, source: StoredSource, options: RenderOptions) -> Harvest:
    mine, settings = kit(runtime), runtime.settings
    if source.url is None:
        assert source.blob is not None
        page = Html(html_text(runtime.blobs.get(source.blob)))
        return mine.browser.render(page, options)
    with mine.proxy.open(Egress.of(settings), max_bytes=settings.render_max_bytes) as session:
        return mine.browser.render(Url(source.url), options, egress=session)


def _stored(runtime: Runtime, claim: InspectClaim, harvest: Harvest, options: RenderOptions) -> NewHarvest:
    """A harvest with its bytes in the blob store; the row that refers to them comes later, within the grace period."""
    dom, harvest_id = harvest.dom.encode("utf-8", "replace"), uuid4()
    return NewHarvest(
        id=harvest_id,
        dom_id=claim.source.dom_id or str(harvest_id),
        url=harvest.url,
        final_url=harvest.final_url,
        http_status=harvest.status,
        title=harvest.title or None,
        text=harvest.text,
        text_runs=tuple(TextRun(text=run.text, box=run.box) for run in harvest.runs),
        frames=[_wire(frame) for frame in harvest.frames],
        dom_blob=runtime.blobs.put(dom),
        dom_bytes=len(dom),
        image_blob=runtime.blobs.put(harvest.image),
        media_type=harvest.media_type,
        image_bytes=len(harvest.image),
        width=harvest.width,
        height=harvest.height,
        device_scale=harvest.device_scale,
        clip=_wire(harvest.clip) if harvest.clip else None,
        settled=harvest.settled,
        pages=_spans(harvest, runtime.settings.max_page_pixels),
        options=_shown(options),
        timings=_wire(harvest.timings),
        blocked=[_wire(one) for one in harvest.blocked],
        browser=harvest.browser,
    )


def _wire(value: DataclassInstance) -> dict[str, Any]:
    return {to_camel(name): field for name, field in asdict(value).items()}


def _spans(harvest: Harvest, max_pixels: int) -> tuple[PageSpan, ...]:
    """Where a screenshot is cut into pages."""
    image = open_screenshot(harvest.image, max_pixels)
    boxes = [run.box for run in harvest.runs]
    cuts = cut_pages(image.width, image.height, boxes, blank=blank_rows(image))
    return tuple(PageSpan(page_no=n, top=cut.top, bottom=cut.bottom) for n, cut in enumerate(cuts, 1))


def _shown(options: RenderOptions) -> dict[str, Any]:
    """The options that a page was rendered with; headers by their names alone, for they may hold secrets."""
    names = dict.fromkeys(options.headers, "…")
    fields = set(RenderOptions.model_fields)
    return options.model_copy(update={"headers": names}).model_dump(mode="json", by_alias=True, include=fields)
