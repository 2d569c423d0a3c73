"""A page's figures: cut out of its image, and shown by its markdown.

An engine says where they are (PageResult.figures) and links to them by number; where the pictures lie is only known
when the page is stored, so that the links are completed then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from PIL import Image

from ocr_tasks.contract import Box, figure_path
from workers.sources.encode import as_grey_if_grey, encode

# Each may be as large as its page, and an answer may name hundreds.
MOST_FIGURES = 50
LINK = re.compile(r"^!\[figure\]\(figures/(\d{1,9})\)$", re.MULTILINE)


def figure_link(number: int) -> str:
    """The markdown line that shows a page's n-th figure; text that was read cannot look like it, it is escaped."""
    return f"![figure](figures/{number})"


def cut_out(page: Image.Image, boxes: Sequence[Box]) -> list[bytes]:
    """The figures in these boxes of an L or RGB page as PNG, the first 50 of them."""
    return [encode(as_grey_if_grey(page.crop(_inside(box, page.size)))) for box in boxes[:MOST_FIGURES]]


def _inside(box: Box, size: tuple[int, int]) -> Box:
    """A box that lies on the page and holds at least one pixel of it."""
    left, top = (min(max(0, at), side - 1) for at, side in zip(box[:2], size, strict=True))
    return left, top, min(max(left + 1, box[2]), size[0]), min(max(top + 1, box[3]), size[1])


def completed_links(markdown: str, job_id: UUID, page_no: int, count: int) -> str:
    """Markdown whose links lead to the first `count` stored figures; the others' are gone."""

    def completed(link: re.Match[str]) -> str:
        number = int(link[1])
        return f"![figure]({figure_path(job_id, page_no, number)})" if 1 <= number <= count else ""

    return LINK.sub(completed, markdown)


def without_links(markdown: str) -> str:
    """Markdown for where no figures are stored."""
    return re.sub(r"\n{3,}", "\n\n", LINK.sub("", markdown)).strip("\n")
