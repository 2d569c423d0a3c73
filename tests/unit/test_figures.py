"""Figures: cut out of their page, and linked where it is stored."""

from __future__ import annotations

import io
import uuid

import pytest
from PIL import Image

from ocr_tasks.contract import FIGURE_PATH, Box, OcrOptions, figure_path
from tests.documents import encoded
from workers.figures import MOST_FIGURES, completed_links, cut_out, figure_link, without_links
from workers.layout.lines import Box as Place
from workers.layout.lines import Line
from workers.layout.page import arrange
from workers.layout.rules import Rules

JOB = uuid.UUID("40b4fa1e-8f46-41a4-bd8e-c6d347411670")


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((10, 20, 60, 40), (50, 20)),
        ((-10, -5, 30, 400), (30, 50)),
        ((70, 10, 400, 20), (30, 10)),
        ((50, 30, 50, 30), (1, 1)),
        ((500, 500, 600, 600), (1, 1)),
        ((60, 40, 10, 20), (1, 1)),
    ],
)
def test_a_figure_is_what_of_its_box_lies_on_the_page(box: Box, size: tuple[int, int]) -> None:
    page = Image.effect_noise((100, 50), 40)
    figure = Image.open(io.BytesIO(cut_out(page, [box])[0]))
    assert (figure.format, figure.size) == ("PNG", size)


def test_a_figure_has_the_pages_own_pixels() -> None:
    page = Image.open(io.BytesIO(encoded(Image.effect_noise((100, 50), 40), "PNG"))).convert("RGB")
    page.putpixel((15, 25), (200, 10, 30))
    figure = Image.open(io.BytesIO(cut_out(page, [(10, 20, 60, 40)])[0]))
    assert figure.convert("RGB").tobytes() == page.crop((10, 20, 60, 40)).tobytes()


def test_a_page_of_hundreds_of_figures_keeps_some_and_loses_the_other_links() -> None:
    page, boxes = Image.new("L", (20, 20)), [(1, 1, 9, 9)] * 300
    assert len(cut_out(page, boxes)) == MOST_FIGURES
    links = completed_links("\n\n".join(map(figure_link, range(1, 301))), JOB, 1, MOST_FIGURES)
    assert links.count("![figure]") == MOST_FIGURES


def test_links_lead_to_where_the_figures_are_served() -> None:
    markdown = f"# A\n\n{figure_link(1)}\n\n{figure_link(2)}\n\nb {figure_link(1)}"
    path = f"/api/jobs/{JOB}/pages/7/figures/1"
    assert completed_links(markdown, JOB, 7, 1) == f"# A\n\n![figure]({path})\n\n\n\nb ![figure](figures/1)"
    assert figure_path(JOB, 7, 1) == path
    assert FIGURE_PATH.fullmatch(path)
    assert without_links(markdown) == "# A\n\nb ![figure](figures/1)"


def test_a_picture_between_lines_is_linked_in_its_place_with_the_text_in_it() -> None:
    def line(y: float, text: str) -> Line:
        places = tuple(100 + 10 * at + 5.0 for at in range(len(text)))
        return Line(Place(100, y, 100 + 10 * len(text), y + 20), text, 0.9, places, (), 20)

    lines = [line(100, "Above the picture stands a line"), line(300, "Label"), line(650, "Below it another")]
    page = arrange(
        lines,
        Rules(),
        [Place(90, 230, 500, 600)],
        lambda box: (round(box.x1), round(box.y1), round(box.x2), round(box.y2)),
        OcrOptions(include_layout=False),
    )
    assert page.markdown == "Above the picture stands a line\n\n![figure](figures/1)\n\nLabel\n\nBelow it another"
    assert page.figures == ((90, 230, 500, 600),)
    assert "figure" not in page.text
