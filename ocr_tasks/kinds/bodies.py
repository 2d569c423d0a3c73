"""What a caller asks for: a page or a file, and the options for it, in one JSON object or form."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ocr_tasks.contract import Kind, OcrOptions, Wire, validated
from ocr_tasks.errors import InvalidOption, InvalidRequest
from ocr_tasks.kinds.options import (
    OPTIONS,
    CompressOptions,
    CrawlOptions,
    JobOptions,
    RenderJobOptions,
    parse_job_options,
)
from ocr_tasks.kinds.sources import DomId, DomSource, Url


class PageFields(Wire):
    """Where a page comes from, beside the options in one JSON object."""

    url: Url | None = None
    html: str | None = Field(None, repr=False)
    dom_id: DomId | None = None


class AddressFields(Wire):
    """The address of a document."""

    url: Url | None = None


class FileFields(Wire):
    """What a form says of a file beside the options for it."""

    dom_id: DomId | None = None


class OcrBody(OcrOptions, AddressFields):
    """What `POST /api/ocr/process` takes as JSON."""


class RenderBody(RenderJobOptions, PageFields):
    """What `POST /api/dom/render` takes."""


class CompressBody(CompressOptions, PageFields):
    """What `POST /api/dom/compress` takes as JSON."""


class CompressForm(CompressOptions, FileFields):
    """What `POST /api/dom/compress` takes as a form, beside the file."""


class CrawlBody(CrawlOptions, PageFields):
    """What `POST /api/crawl` takes."""


BODIES: dict[Kind, type[OcrBody | RenderBody | CompressBody | CrawlBody]] = {
    Kind.OCR: OcrBody,
    Kind.RENDER: RenderBody,
    Kind.COMPRESS: CompressBody,
    Kind.CRAWL: CrawlBody,
}


def parse_body(kind: Kind, given: dict[str, Any]) -> tuple[PageFields, JobOptions]:
    """A page and the options for it, out of one object.

    Raises InvalidRequest, UnknownField, InvalidOption or InvalidPageRange, each naming the field.
    """
    body = parse_job_options(BODIES[kind], given)
    page = PageFields(**{name: getattr(body, name, None) for name in PageFields.model_fields})
    check_page(kind, page)
    return page, _options_in(kind, body)


def parse_form(given: dict[str, Any]) -> tuple[str | None, CompressOptions]:
    """The caller's name for a file to be compressed, and the options for it; raises as `parse_body` does."""
    form = parse_job_options(CompressForm, given)
    options = _options_in(Kind.COMPRESS, form)
    assert isinstance(options, CompressOptions)
    return form.dom_id, options


def parse_dom_id(given: str) -> str:
    """The name of a page in an address; raises InvalidOption."""
    return validated(DomSource, {"domId": given}).dom_id


def _options_in(kind: Kind, body: Wire) -> JobOptions:
    """Those of a body's fields that are options, as they were given: a dump would lose a password."""
    model = OPTIONS[kind]
    return model.model_validate({name: getattr(body, name) for name in body.model_fields_set & set(model.model_fields)})


def check_page(kind: Kind, page: PageFields) -> None:
    """Raise InvalidRequest or InvalidOption unless exactly one page is named, in a way that the kind takes."""
    named = [name for name in ("url", "html") if getattr(page, name) is not None]
    if len(named) > 1:
        raise InvalidRequest("Give either `url` or `html`, not both.", field="url")
    if page.html is not None and not page.html.strip():
        raise InvalidOption("html: it is empty.", field="html")
    if page.html is not None and kind == Kind.CRAWL:
        raise InvalidRequest("A crawl takes a `url`; render or compress takes `html`.", field="html")
    if named or (kind == Kind.COMPRESS and page.dom_id is not None):
        return
    verb = "read" if kind == Kind.OCR else kind
    wanted = {Kind.RENDER: "a `url` or `html`", Kind.COMPRESS: "a `url`, `html`, or the `domId` of a harvest"}
    raise InvalidRequest(f"Nothing to {verb}: give {wanted.get(kind, 'a `url`')}.", field="url")
