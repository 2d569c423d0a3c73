"""What a caller asks for: a page and the options for it, in one JSON object."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ocr_tasks.contract import Kind, Wire
from ocr_tasks.errors import InvalidOption, InvalidRequest
from ocr_tasks.kinds.options import (
    OPTIONS,
    CompressOptions,
    CrawlOptions,
    JobOptions,
    RenderJobOptions,
    parse_job_options,
)
from ocr_tasks.kinds.sources import CallersId, Url


class PageFields(Wire):
    """Where a page comes from, beside the options in one JSON object."""

    url: Url | None = None
    html: str | None = Field(None, repr=False)
    dom_id: CallersId | None = None


class RenderBody(RenderJobOptions, PageFields):
    """What `POST /api/dom/render` takes."""


class CompressBody(CompressOptions, PageFields):
    """What `POST /api/dom/compress` takes."""


class CrawlBody(CrawlOptions, PageFields):
    """What `POST /api/crawl` takes."""


BODIES: dict[Kind, type[RenderBody | CompressBody | CrawlBody]] = {
    Kind.RENDER: RenderBody,
    Kind.COMPRESS: CompressBody,
    Kind.CRAWL: CrawlBody,
}


def parse_body(kind: Kind, given: dict[str, Any]) -> tuple[PageFields, JobOptions]:
    """A page and the options for it, out of one object; raises UnknownField or InvalidOption, naming the field."""
    body = parse_job_options(BODIES[kind], given)
    fields = set(PageFields.model_fields)
    page = PageFields(url=body.url, html=body.html, dom_id=body.dom_id)
    check_page(kind, page)
    options = OPTIONS[kind].model_validate(body.model_dump(exclude=fields, exclude_unset=True))
    return page, options


def check_page(kind: Kind, page: PageFields) -> None:
    """Raise InvalidRequest or InvalidOption unless exactly one page is named, in a way that the kind takes."""
    named = [name for name in ("url", "html") if getattr(page, name) is not None]
    if len(named) > 1:
        raise InvalidRequest("Give either `url` or `html`, not both.", field="url")
    if page.html is not None and not page.html.strip():
        raise InvalidOption("html: it is empty.", field="html")
    if page.html is not None and kind == Kind.CRAWL:
        raise InvalidRequest("A crawl takes a `url`; render or compress takes `html`.", field="html")
    if named:
        return
    if kind != Kind.COMPRESS:
        wanted = "a `url`" if kind == Kind.CRAWL else "a `url` or `html`"
        raise InvalidRequest(f"Nothing to {kind}: give {wanted}.", field="url")
    if page.dom_id is None:
        raise InvalidRequest("Nothing to compress: give a `url`, `html`, or the `domId` of a harvest.", field="url")
