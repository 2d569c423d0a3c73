"""Where a job's pages come from."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from ocr_tasks.contract import (
    TASK_OF_KIND,
    FileName,
    Kind,
    Priority,
    Source,
    TaskName,
    Wire,
    browser_queue,
    prepare_queue,
)
from ocr_tasks.errors import InvalidUrl
from ocr_tasks.urls import LONGEST_URL, parse_url

HTML = "text/html"
LONGEST_ID = 200


def _web_address(url: str) -> str:
    """Only what can be told without resolving anything; the addresses behind it are checked when it is fetched."""
    try:
        parse_url(url)
    except InvalidUrl as error:
        raise ValueError(error.detail.rstrip(".")) from None
    return url


def _one_part(name: str) -> str:
    if not name.isprintable():
        raise ValueError("Characters that cannot be printed are not allowed")
    if any(mark in name for mark in "/?#"):
        raise ValueError("The characters /, ? and # are not allowed")
    return name


Url = Annotated[str, Field(max_length=LONGEST_URL), AfterValidator(_web_address)]
CallersId = Annotated[str, Field(min_length=1, max_length=LONGEST_ID), AfterValidator(_one_part)]
"""An id of the caller's own: part of an address, so without `/`, `?` and `#`."""


def _addressable(dom_id: str) -> str:
    if dom_id in (".", "..", "stats"):
        raise ValueError("This is a part of an address that has a meaning of its own")
    return dom_id


DomId = Annotated[CallersId, AfterValidator(_addressable)]
"""A caller's name for a page, or the id of a harvest."""


class StoredSource(Wire):
    """A job's source as its row holds it: a blob, or an address, or what an earlier job left under a `dom_id`.

    prepared: the blob that pages are made from instead of `blob`, decrypted, say. harvest_id: of the screenshot that
    its pages are cut from, once there is one. compressed_by: the job whose vision tokens its pages are.
    """

    blob: str | None = None
    media_type: str | None = None
    size_bytes: int | None = None
    filename: FileName | None = None
    url: str | None = None
    dom_id: str | None = None
    prepared: str | None = None
    harvest_id: str | None = None
    compressed_by: str | None = None

    @property
    def pages_blob(self) -> str:
        blob = self.prepared or self.blob
        assert blob is not None
        return blob

    def is_rendered(self, kind: Kind) -> bool:
        """Whether its pages are those of a screenshot that is still to be taken."""
        return kind in RENDERED and self.harvest_id is None and (self.url is not None or self.media_type == HTML)

    def is_fetched(self, kind: Kind) -> bool:
        """Whether it is a file of the web that is still to be fetched."""
        return kind not in RENDERED and self.url is not None and self.blob is None


RENDERED = frozenset({Kind.RENDER, Kind.COMPRESS, Kind.CRAWL})


class UrlSource(Wire):
    """A page or a file of the web. dom_id: the caller's name for the harvest."""

    url: Url
    dom_id: DomId | None = None


class NamedSource(Source):
    """HTML or a file that was handed in, in the blob store, under the caller's own name."""

    dom_id: DomId | None = None


class DomSource(Wire):
    """What is stored under a dom_id: its newest harvest, or vision tokens."""

    dom_id: DomId


AnySource = Source | UrlSource | NamedSource | DomSource


def stored(source: AnySource) -> StoredSource:
    """A source as its row will hold it."""
    return StoredSource.model_validate(source.model_dump(exclude_none=True))


def entry_route(kind: Kind, source: StoredSource, priority: Priority) -> tuple[TaskName, str]:
    """The task and the queue of a job's first step."""
    # Only the browser pool needs a way to the web: what parses strangers' files has none.
    outside = source.is_rendered(kind) or source.is_fetched(kind)
    queue = browser_queue(priority) if outside else prepare_queue(priority)
    return TASK_OF_KIND[kind], queue
