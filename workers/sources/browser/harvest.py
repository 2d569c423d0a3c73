"""What a render gives: the page's DOM, its visible text with the place of each piece, and its screenshot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ocr_tasks.contract import Box
from ocr_tasks.errors import OcrError


@dataclass(frozen=True)
class Url:
    """A page on the web, reached through the egress proxy and in no other way."""

    url: str


@dataclass(frozen=True)
class Html:
    """A page that was handed in; it reaches neither network nor files."""

    html: str


Source = Url | Html


@dataclass(frozen=True)
class Blocked:
    """A request that was not let out, and why."""

    url: str
    reason: str


class Refusal(Protocol):
    """A place that the egress proxy did not connect to."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def code(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def blocked(self) -> bool: ...


class Books(Protocol):
    """What went through an egress proxy."""

    @property
    def refused(self) -> Sequence[Refusal]: ...


class Egress(Protocol):
    """The proxy that a page's requests go through: a port on 127.0.0.1, and books that are about this page alone."""

    @property
    def port(self) -> int: ...

    def traffic(self) -> Books:
        """What went through until now."""

    def error_of(self, host: str, port: int) -> OcrError | None:
        """Why the last connection to a place was refused; None when it was not."""


@dataclass(frozen=True)
class TextRun:
    """Visible text that stands on one line and belongs to one text node. `box` is in pixels of the screenshot."""

    text: str
    box: Box


@dataclass(frozen=True)
class Frame:
    """A document inside the page, as its scripts left it."""

    url: str
    dom: str


@dataclass(frozen=True)
class Clip:
    """The screenshot does not show the whole page: sizes of page and picture, in CSS pixels, and which limit did it."""

    page_width: int
    page_height: int
    width: int
    height: int
    reason: str


@dataclass(frozen=True)
class Timings:
    """Milliseconds: until the main document was there, until what was waited for, and of each capture."""

    navigation_ms: int
    settle_ms: int
    snapshot_ms: int
    screenshot_ms: int
    total_ms: int


@dataclass(frozen=True)
class Harvest:
    """A page as the browser showed it.

    `url`, `final_url` and `status` are None for given HTML. `dom` is the main document after its scripts, doctype
    included; open shadow roots are written as declarative ones. `frames` are the documents inside it.
    `runs` are what the screenshot shows, in the order of the DOM, those of frames and shadow roots at their place;
    `text` is the same with the line breaks of the layout, as `innerText` has them.
    `width` and `height` are pixels of `image`: CSS pixels x `device_scale`.
    `media_type` may be image/png where WebP was asked for: a WebP's sides end at 16,383 px.
    `settled`: whether what was waited for came about in time.
    """

    url: str | None
    final_url: str | None
    status: int | None
    title: str
    dom: str
    frames: tuple[Frame, ...]
    runs: tuple[TextRun, ...]
    text: str
    image: bytes
    media_type: str
    width: int
    height: int
    device_scale: float
    clip: Clip | None
    settled: bool
    blocked: tuple[Blocked, ...]
    timings: Timings
    browser: str
