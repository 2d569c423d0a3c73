"""What kind of page it is, told by what there is most of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

LayoutType = Literal["article", "listing", "table", "form", "gallery", "other"]


@dataclass
class Amounts:
    """How much of what a page has: numbers of elements, and characters of text without the space around it.

    prose: text in blocks of some length that is no link. cell_text, cell_links: in table cells.
    text_cover: share of the page's area that boxes of text take, 0 to 1.
    """

    text: int = 0
    prose: int = 0
    links: int = 0
    link_text: int = 0
    cells: int = 0
    cell_text: int = 0
    cell_links: int = 0
    inputs: int = 0
    images: int = 0
    text_cover: float = 0.0

    @property
    def link_density(self) -> float:
        return self.link_text / max(1, self.text)

    @property
    def prose_share(self) -> float:
        return self.prose / max(1, self.text)


def layout_type(page: Amounts) -> LayoutType:
    """The first rule that holds says it."""
    for layout, holds in RULES:
        if holds(page):
            return layout
    return "other"


def _is_form(page: Amounts) -> bool:
    """Three fields or more, with little text to each."""
    return page.inputs >= 3 and page.text < 300 * page.inputs and page.prose_share < 0.5


def _is_table(page: Amounts) -> bool:
    """Half of the text stands in many short cells, and is not links: a table of links is a listing in columns."""
    return (
        page.cells >= 12
        and page.cell_text >= 0.5 * page.text
        and page.cell_text < 100 * page.cells
        and page.cell_links < 0.5 * page.cell_text
    )


def _is_article(page: Amounts) -> bool:
    """Prose: much of it, or a little and hardly anything else."""
    return (page.prose >= 600 and page.prose_share >= 0.4) or (page.prose >= 100 and page.prose_share >= 0.6)


def _is_gallery(page: Amounts) -> bool:
    """Many images, a caption's worth of text to each, and text on a small part of the page."""
    return page.images >= 8 and page.text < 80 * page.images and page.text_cover < 0.2


def _is_listing(page: Amounts) -> bool:
    """Many links, which are a good part of the text."""
    return page.links >= 10 and page.link_density >= 0.25


RULES: tuple[tuple[LayoutType, Callable[[Amounts], bool]], ...] = (
    ("form", _is_form),
    ("table", _is_table),
    ("article", _is_article),
    ("gallery", _is_gallery),
    ("listing", _is_listing),
)
