"""Pages out of a tall screenshot: cut where no text is cut, with the offset of each kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from ocr_tasks.contract import Box

A4 = 297 / 210
"""Height of a page over its width."""
SHORTEST = 0.5
"""A cut is looked for from this share of a page's height on."""
BAND_ROWS = 256
"""Rows that are looked at together: what is in memory beside the image is one band of it."""
TOLERANCE = 8
"""Levels by which pixels of a blank row may differ, of 255: JPEG and WebP leave some noise."""

Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(frozen=True)
class Cut:
    """A page of the whole: its rows from `top` to `bottom`, which is the first that is not in it."""

    top: int
    bottom: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def on_page(self, box: Box) -> Box:
        """A box of the whole as one of this page's image, cut to it."""
        left, top, right, bottom = box
        return left, max(0, top - self.top), right, min(self.height, bottom - self.top)

    def on_whole(self, box: Box) -> Box:
        """A box of this page's image as one of the whole."""
        left, top, right, bottom = box
        return left, top + self.top, right, bottom + self.top


def blank_rows(image: Image.Image) -> Bools:
    """Which rows are of one colour all along: (height,) bool."""
    width, height = image.size
    blank = np.zeros(height, dtype=np.bool_)
    for top in range(0, height, BAND_ROWS):
        bottom = min(height, top + BAND_ROWS)
        band = np.asarray(image.crop((0, top, width, bottom)).convert("L"))
        blank[top:bottom] = np.ptp(band, axis=1) <= TOLERANCE
    return blank


def cut_pages(
    width: int,
    height: int,
    boxes: Sequence[Box] = (),
    *,
    blank: Bools | None = None,
    ratio: float = A4,
    tallest: int | None = None,
) -> list[Cut]:
    """Cut a picture of `width` x `height` pixels into pages of about `ratio`, from top to bottom.

    They follow on each other and hold every row. None is higher than a page (`tallest` pixels, width x ratio unless
    given). A cut is looked for where a page has at least `SHORTEST` of that: the middle of the widest stripe of
    `blank` rows that no box lies on, else the lowest row between boxes. Where boxes are in the way all along, it goes
    above them; through them only when they are as tall as a page. The last page is no sliver if that can be helped.
    """
    most = max(1, tallest if tallest is not None else round(width * ratio))
    least = max(1, round(most * SHORTEST))
    inside = _inside_text(height, boxes)
    cuts, top = list[Cut](), 0
    while height - top > most:
        left = height - top
        lowest = min(most, left - 1)
        if left < most + least:  # what remains behind this page would be a sliver
            lowest = min(lowest, max(least, left - least))
        bottom = top + _best(inside, blank, top, min(least, lowest), lowest)
        cuts.append(Cut(top, bottom))
        top = bottom
    return [*cuts, Cut(top, height)] if height > top else cuts


def page_images(image: Image.Image, cuts: Sequence[Cut]) -> Iterator[Image.Image]:
    """The pages one by one: one at a time is in memory beside the whole."""
    for cut in cuts:
        yield image.crop((0, cut.top, image.width, cut.bottom))


def open_screenshot(content: bytes, max_pixels: int) -> Image.Image:
    """A screenshot of our own, as tall as it may be: Pillow's own limit is lower."""
    image = Image.open(BytesIO(content))
    if image.width * image.height > max_pixels:
        raise ValueError(f"{image.width} x {image.height} pixels; the limit is {max_pixels}")
    return image


def _inside_text(height: int, boxes: Sequence[Box]) -> Bools:
    """At which rows a cut just above the row would go through a box: (height + 1,) bool."""
    steps = np.zeros(height + 2, dtype=np.int64)
    for _, top, _, bottom in boxes:
        first, last = max(0, top) + 1, min(height, bottom)
        if first < last:
            steps[first] += 1
            steps[last] -= 1
    return np.cumsum(steps)[: height + 1] > 0


def _best(inside: Bools, blank: Bools | None, top: int, least: int, most: int) -> int:
    """The height of the page that begins at `top`."""
    heights = np.arange(least, most + 1)
    free = ~inside[top + heights]
    if not free.any():
        return _above_text(inside, top, least, most)
    if blank is not None:
        # A cut has a row above and a row below it.
        empty = free & blank[top + heights - 1] & blank[np.minimum(top + heights, len(blank) - 1)]
        if empty.any():
            return int(heights[_middle_of_widest(empty)])
    return int(heights[np.flatnonzero(free)[-1]])


def _above_text(inside: Bools, top: int, least: int, most: int) -> int:
    """A cut above all that is in the way, however short the page becomes; through it when there is no such place."""
    for height in range(least - 1, 0, -1):
        if not inside[top + height]:
            return height
    return most


def _middle_of_widest(empty: Bools) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], empty, [False])).astype(np.int8)))
    starts, ends = edges[::2], edges[1::2]
    widest = int(np.argmax(ends - starts))
    return int((starts[widest] + ends[widest] - 1) // 2)
