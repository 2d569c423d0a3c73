"""Where a job's pages come from."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

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

HTML = "text/html"
LONGEST_URL = 8192
LONGEST_ID = 200


def _web_address(url: str) -> str:
    """Only what can be told without resolving anything; the addresses behind it are checked when it is fetched."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"This is no address of a page ({error})") from None
    if parts.scheme.lower() not in ("http", "https") or not host or not url.isprintable() or " " in url:
        raise ValueError("An address that begins with http:// or https:// and names a host is needed")
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

    def needs_browser(self, kind: Kind) -> bool:
        """Whether its pages are those of a screenshot that is still to be taken."""
        return kind in RENDERED and self.harvest_id is None and (self.url is not None or self.media_type == HTML)


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
    queue = browser_queue(priority) if source.needs_browser(kind) else prepare_queue(priority)
    return TASK_OF_KIND[kind], queue
