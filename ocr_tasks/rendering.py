"""How a page is to be rendered: what a caller may ask of the browser, and within which limits."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from ocr_tasks.contract import Wire, validated
from ocr_tasks.errors import InvalidOption

ImageFormat = Literal["png", "webp", "jpeg"]
MEDIA_TYPE_OF_IMAGE: dict[ImageFormat, str] = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}

MIN_SIDE, MAX_SIDE = 16, 4000
"""Sides of a viewport, in CSS pixels. With the largest device scale that is below the 16,383 px of a WebP."""
MAX_VIEWPORT_MPX = 64
"""Megapixels of a viewport times its device scale squared."""
MAX_PAUSE_MS = 60_000
MIN_TIMEOUT_MS, MAX_TIMEOUT_MS = 1_000, 300_000
MAX_SELECTOR = 500
MAX_HEADERS, MAX_HEADER_BYTES = 32, 8 * 1024

EVENTS = ("load", "domcontentloaded", "networkidle")
SELECTOR = "css="

# Hop-by-hop (RFC 9110, 7.6.1), of the connection or the message's framing, or the browser's own to say.
REFUSED_HEADERS = frozenset(
    ("connection", "content-length", "expect", "host", "http2-settings", "keep-alive", "te", "trailer", "upgrade")
) | {"transfer-encoding", "via"}
REFUSED_PREFIXES = ("proxy-", "sec-", "access-control-")


class Viewport(Wire):
    """The window that the page is laid out in, in CSS pixels."""

    width: int = Field(1920, ge=MIN_SIDE, le=MAX_SIDE)
    height: int = Field(1080, ge=MIN_SIDE, le=MAX_SIDE)


def _number(given: object) -> object:
    """A form or a shell says milliseconds as text."""
    return int(given) if isinstance(given, str) and re.fullmatch(r"[0-9]{1,9}", given) else given


class RenderOptions(Wire):
    """What the browser is asked for.

    `wait_for`: when the page counts as there. `load` (its event, with images and frames), `domcontentloaded`,
    `networkidle` (loaded, and half a second without a request under way), `css=SELECTOR` (loaded, and an element that
    the selector matches is visible), or a number: so many milliseconds after `load`.
    `timeout_ms`: how long that may take. A page that is not there by then is taken as it stands and the harvest says
    so (`settled`); only a selector that was not found is an error.
    `javascript`: None is off for HTML that was given and on for addresses.
    `headers` go to the origin of the address alone, to no other host that the page loads from or is redirected to.
    """

    viewport: Viewport = Viewport()
    full_page: bool = True
    format: ImageFormat = "png"
    javascript: bool | None = None
    wait_for: Annotated[int | str, BeforeValidator(_number)] = "load"
    timeout_ms: int = Field(30_000, ge=MIN_TIMEOUT_MS, le=MAX_TIMEOUT_MS)
    headers: dict[str, str] = Field({}, max_length=MAX_HEADERS)
    user_agent: str | None = Field(None, min_length=1, max_length=500, pattern=r"^[\x20-\x7e]+$")
    device_scale_factor: float = Field(1, ge=0.25, le=4, allow_inf_nan=False)
    color_scheme: Literal["light", "dark"] = "light"

    @field_validator("wait_for")
    @classmethod
    def _waitable(cls, wait_for: int | str) -> int | str:
        if isinstance(wait_for, bool):
            raise ValueError("It is an event, css=SELECTOR or milliseconds")
        if isinstance(wait_for, int):
            if not 0 <= wait_for <= MAX_PAUSE_MS:
                raise ValueError(f"Milliseconds go from 0 to {MAX_PAUSE_MS}")
        elif wait_for.startswith(SELECTOR):
            if not 0 < len(wait_for.removeprefix(SELECTOR).strip()) <= MAX_SELECTOR:
                raise ValueError(f"A selector has 1 to {MAX_SELECTOR} characters")
            if not wait_for.isprintable():
                raise ValueError("Characters that cannot be printed are not allowed")
        elif wait_for not in EVENTS:
            raise ValueError(f"It is one of {', '.join(EVENTS)}, or css=SELECTOR, or milliseconds")
        return wait_for

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", name):
                raise ValueError(f"{name[:100]!r} is no name of a header")
            if name.lower() in REFUSED_HEADERS or name.lower().startswith(REFUSED_PREFIXES):
                raise ValueError(f"The header {name} is not the caller's to set")
            if not re.fullmatch(r"[\x20-\x7e\t]*", value):
                raise ValueError(f"The value of the header {name} has characters other than printable ASCII")
        if (size := sum(len(name) + len(value) for name, value in headers.items())) > MAX_HEADER_BYTES:
            raise ValueError(f"Headers have {size} bytes; the limit is {MAX_HEADER_BYTES}")
        return headers

    def scripts(self, *, given_html: bool) -> bool:
        """Whether the page's scripts run."""
        return (not given_html) if self.javascript is None else self.javascript

    @property
    def selector(self) -> str | None:
        """The CSS selector to wait for, if one is."""
        wait_for = self.wait_for
        return wait_for.removeprefix(SELECTOR) if isinstance(wait_for, str) and wait_for.startswith(SELECTOR) else None


def parse_render_options(given: dict[str, Any]) -> RenderOptions:
    """Options as a caller gave them (camelCase); raises UnknownField or InvalidOption, naming field and value."""
    options = validated(RenderOptions, given)
    check_viewport(options)
    return options


def check_viewport(options: RenderOptions) -> None:
    """Raise InvalidOption for a viewport that has too many pixels at its device scale."""
    viewport, scale = options.viewport, options.device_scale_factor
    megapixels = viewport.width * viewport.height * scale * scale / 1e6
    if megapixels > MAX_VIEWPORT_MPX:
        raise InvalidOption(
            f"deviceScaleFactor: A viewport of {viewport.width} x {viewport.height} at a scale of {scale:g} has "
            f"{megapixels:.1f} megapixels; the limit is {MAX_VIEWPORT_MPX}.",
            field="deviceScaleFactor",
            value=scale,
            limit=MAX_VIEWPORT_MPX,
        )
