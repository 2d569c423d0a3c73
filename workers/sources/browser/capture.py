"""What is taken of a page that is there: its DOM, a snapshot of its text, its picture."""

from __future__ import annotations

import base64
import io
import json
import time
from dataclasses import dataclass
from typing import Any

from PIL import Image

from ocr_tasks.errors import PageTooLarge, RenderFailed, storable
from ocr_tasks.rendering import MEDIA_TYPE_OF_IMAGE
from workers.sources.browser.devtools import Refused
from workers.sources.browser.harvest import Clip, Frame
from workers.sources.browser.limits import BrowserLimits
from workers.sources.browser.page import Page
from workers.sources.browser.tree import STYLES

MAX_NODES = 500_000
MAX_DOM_CHARS = 64 * 1024 * 1024
MAX_FRAMES = 50
MAX_WIDTH = 8000
"""CSS pixels of a page's width that a screenshot shows."""
MAX_IMAGE_SIDE = 65_500
MAX_WEBP_SIDE = 16_383
QUALITY = 90
FONTS_S = 2.0

SERIALISED = """
(() => {
  const type = document.doctype;
  const quoted = text => text.includes('"') ? "'" + text + "'" : '"' + text + '"';
  const head = !type ? '' : '<!DOCTYPE ' + type.name
    + (type.publicId ? ' PUBLIC ' + quoted(type.publicId) : type.systemId ? ' SYSTEM' : '')
    + (type.systemId ? ' ' + quoted(type.systemId) : '') + '>\\n';
  const root = document.documentElement;
  if (!root) return {dom: head, title: document.title};
  const shadows = [], look = where => {
    for (const element of where.querySelectorAll('*'))
      if (element.shadowRoot) { shadows.push(element.shadowRoot); look(element.shadowRoot); }
  };
  look(document);
  let dom = root.outerHTML;
  if (shadows.length && root.getHTML) {
    const inside = root.getHTML({shadowRoots: shadows});
    dom = root.cloneNode(false).outerHTML.replace(/<\\/[^>]*>$/, '') + inside + '</' + root.localName + '>';
  }
  if (dom.length > LIMIT) return {tooLong: dom.length};
  return {dom: head + dom, title: document.title};
})()
""".replace("LIMIT", str(MAX_DOM_CHARS))


@dataclass(frozen=True)
class Picture:
    """A screenshot; sizes in pixels."""

    image: bytes
    media_type: str
    width: int
    height: int


def evaluate(page: Page, expression: str, frame: str | None = None) -> Any:
    """What an expression is in a world of our own, where the page's scripts have changed nothing."""
    world = page.call("Page.createIsolatedWorld", frameId=frame or page.target, worldName="harvest")
    answer = page.call(
        "Runtime.evaluate", expression=expression, contextId=world["executionContextId"], returnByValue=True
    )
    if "exceptionDetails" in answer:
        raise Refused(json.dumps(answer["exceptionDetails"])[:500])
    return answer["result"].get("value")


def wait_for_fonts(page: Page) -> None:
    """Fonts are first asked for when a layout needs them; a page waits for them for a moment."""
    page.call("Page.getLayoutMetrics")
    until = time.monotonic() + FONTS_S
    while time.monotonic() < until and evaluate(page, "document.fonts.status") == "loading":
        page.devtools.pause(0.03)


def take_dom(page: Page) -> tuple[str, str, tuple[Frame, ...]]:
    """The main document as HTML, its title, and the documents of its frames; raises PageTooLarge."""
    taken = evaluate(page, SERIALISED)
    if "tooLong" in taken:
        raise PageTooLarge(
            f"The page's DOM has {taken['tooLong']} characters; the limit is {MAX_DOM_CHARS}.",
            value=taken["tooLong"],
            limit=MAX_DOM_CHARS,
        )
    frames: list[Frame] = []
    left = MAX_DOM_CHARS - len(taken["dom"])
    for frame in _frames_below(page.call("Page.getFrameTree")["frameTree"])[:MAX_FRAMES]:
        try:
            inner = evaluate(page, SERIALISED, frame["id"])
        except Refused:  # it has gone meanwhile, or lives in another process
            continue
        if "dom" in inner and len(inner["dom"]) <= left:
            left -= len(inner["dom"])
            frames.append(Frame(storable(frame["url"]), storable(inner["dom"])))
    return storable(taken["dom"]), storable(taken["title"]), tuple(frames)


def _frames_below(tree: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for child in tree.get("childFrames", ()):
        found.append(child["frame"])
        found.extend(_frames_below(child))
    return found


def take_snapshot(page: Page) -> dict[str, Any]:
    """Nodes, layout and lines of text of all documents; raises PageTooLarge."""
    nodes = page.call("Memory.getDOMCounters")["nodes"]
    if nodes > MAX_NODES:
        raise PageTooLarge(f"The page has {nodes} nodes; the limit is {MAX_NODES}.", value=nodes, limit=MAX_NODES)
    return page.call("DOMSnapshot.captureSnapshot", computedStyles=list(STYLES), includeDOMRects=True)


def shown_part(page: Page, limits: BrowserLimits) -> tuple[int, int, Clip | None]:
    """Width and height of what a screenshot shows, in CSS pixels, and what it leaves out."""
    viewport, scale = page.options.viewport, page.options.device_scale_factor
    content = page.call("Page.getLayoutMetrics")["cssContentSize"]
    page_width, page_height = max(round(content["width"]), viewport.width), max(round(content["height"]), 1)
    width, height = page_width, max(page_height, viewport.height)
    if not page.options.full_page:
        return viewport.width, viewport.height, None
    reasons = []
    if width > MAX_WIDTH:
        width, reasons = MAX_WIDTH, [f"width of {MAX_WIDTH} CSS pixels"]
    for most, reason in (
        (limits.max_height, f"height of {limits.max_height} CSS pixels"),
        (int(limits.max_pixels / (width * scale * scale)), f"{limits.max_pixels} pixels in all"),
        (int(MAX_IMAGE_SIDE / scale), f"height of {MAX_IMAGE_SIDE} pixels"),
    ):
        if height > most:
            height, reasons = max(most, 1), [*reasons, reason]
    clip = Clip(page_width, page_height, width, height, ", ".join(reasons)) if reasons else None
    return width, height, clip


def take_picture(page: Page, width: int, height: int) -> Picture:
    """The upper left part of the page in this size; raises RenderFailed."""
    scale, format_ = page.options.device_scale_factor, page.options.format
    if format_ == "webp" and max(width, height) * scale > MAX_WEBP_SIDE:
        format_ = "png"
    # A PNG in half the time, and a third larger.
    options: dict[str, Any] = {"format": format_, "captureBeyondViewport": page.options.full_page}
    options["optimizeForSpeed"] = format_ == "png"
    if format_ != "png":
        options["quality"] = QUALITY
    if page.options.full_page:
        options["clip"] = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    try:
        image = base64.b64decode(page.call("Page.captureScreenshot", **options)["data"])
    except Refused as refusal:
        raise RenderFailed(f"The browser took no picture of the page ({refusal}).") from None
    with Image.open(io.BytesIO(image)) as opened:  # reads its head only
        return Picture(image, MEDIA_TYPE_OF_IMAGE[format_], *opened.size)
