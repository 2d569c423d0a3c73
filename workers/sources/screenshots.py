"""A tall screenshot becomes page images, and the text that stands on each of them is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ocr_tasks.jobs.harvests import PageSpan, TextRun
from workers.sources.cuts import open_screenshot
from workers.sources.encode import PageImage, page_image
from workers.sources.pixels import as_page


def cut_out(path: Path, spans: Sequence[PageSpan], max_pixels: int) -> Iterator[PageImage]:
    """The given pages of a screenshot that this service took, one after the other."""
    with open_screenshot(path.read_bytes(), max_pixels) as screenshot:
        screenshot.load()
        whole = as_page(screenshot)
        for span in spans:
            yield page_image(span.page_no, whole.crop((0, span.top, whole.width, span.bottom)), None)


def text_on(span: PageSpan, runs: Sequence[TextRun]) -> str:
    """The visible text of a page, in the order of the DOM; what begins below what came before, on a line of its own.

    A run belongs to the page that its middle lies on.
    """
    lines: list[str] = []
    bottom = None
    for run in runs:
        _, y1, _, y2 = run.box
        if not span.top <= (y1 + y2) // 2 < span.bottom:
            continue
        if bottom is not None and y1 < bottom and lines:
            lines[-1] += f" {run.text.strip()}"
        else:
            lines.append(run.text.strip())
        bottom = y2
    return "\n".join(lines)
