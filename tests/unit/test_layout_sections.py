"""What is read before anything under it: bars, mastheads, imprints, and headings over all columns."""

from __future__ import annotations

from tests.drawing import tables_in
from tests.unit.test_layout_grids import card, words
from tests.unit.test_layout_order import LEFT, RIGHT, column, line, read
from workers.layout.lines import Box
from workers.layout.rules import Rule, Rules, frames

OURS, YOURS = ("About us", "Careers", "Press", "Blog"), ("Contact", "Imprint")
HEADER = ["Article", "Count", "Price"]
BODY = [["Blue chairs", "4", "120.00"], ["Tables", "1", "99.50"], ["Lamps", "12", "7.25"]]


def test_columns_do_not_go_on_under_the_edge_of_a_bar() -> None:
    lines = column(100, 100, *LEFT) + column(520, 100, *RIGHT)
    lines += column(100, 300, *OURS) + column(560, 300, *YOURS)
    page = read(lines, Rules([Rule(240, 0, 1200)]))
    assert page.text.split() == words(LEFT, RIGHT, OURS, YOURS)


def test_the_rules_of_a_wide_table_are_no_edges_of_bars() -> None:
    lines = [
        line(x, 100 + 50 * at, text)
        for at, row in enumerate([HEADER, *BODY])
        for x, text in zip((100, 400, 600), row, strict=True)
    ]
    page = read(lines, Rules([Rule(88 + 50 * at, 0, 1200) for at in range(5)]))
    assert tables_in(page.markdown) == [[HEADER, *BODY]]


def test_a_date_beside_the_name_of_a_newspaper_is_none_of_its_columns() -> None:
    lines = [line(100, 40, "The Courier", em=44), line(800, 60, "No. 19")]
    lines += column(100, 140, *LEFT) + column(520, 140, *RIGHT)
    page = read(lines, Rules([Rule(110, 100, 860)]))
    assert page.text.split() == words(("The Courier", "No. 19"), LEFT, RIGHT)


def test_an_imprint_is_read_after_a_longer_column_over_it() -> None:
    lines = column(100, 100, *LEFT) + column(520, 100, *RIGHT, *RIGHT) + [line(100, 340, "© 2024 Miller Ltd.")]
    assert read(lines).text.endswith("© 2024 Miller Ltd.")


def test_a_heading_in_a_column_beside_which_others_end_is_not_over_all() -> None:
    lines = [*column(100, 100, *LEFT), *column(520, 100, *RIGHT)]
    lines += [line(100, 220, "Next", em=28), *column(100, 260, *LEFT), *column(520, 320, *RIGHT)]
    assert read(lines).text.split() == words(LEFT, ("Next",), LEFT, RIGHT, RIGHT)


def test_a_title_beside_a_picture_belongs_to_its_column() -> None:
    lines = [line(520, 100, "You must", em=28), *column(520, 140, *RIGHT), *column(100, 260, *LEFT)]
    page = read(lines, figures=[Box(100, 100, 440, 240)])
    assert page.text.split() == words(LEFT, ("You must",), RIGHT)


def test_the_edge_of_a_picture_and_that_of_its_card_make_no_frame() -> None:
    edges = Rules([Rule(100, 100, 400), Rule(300, 90, 410)], [Rule(90, 90, 300), Rule(410, 90, 300)])
    assert frames(edges) == []


def test_what_stands_between_two_pictures_is_not_framed_by_their_edges() -> None:
    edges = Rules([Rule(200, 100, 300), Rule(320, 100, 300)], [Rule(100, 90, 420), Rule(300, 90, 420)])
    pictures = [Box(100, 100, 300, 198), Box(100, 322, 300, 420), Box(400, 100, 600, 198), Box(400, 322, 600, 420)]
    lines = [*card(110, 205, "First", "4.00"), *card(410, 205, "Second", "5.00")]
    lines += [*card(110, 430, "Third", "6.00"), *card(410, 430, "Fourth", "7.00")]
    assert read(lines, edges, pictures).text.split() == [
        "First",
        "4.00",
        "Second",
        "5.00",
        "Third",
        "6.00",
        "Fourth",
        "7.00",
    ]


def test_rows_far_from_the_columns_over_them_and_near_to_what_is_under_them_go_with_that() -> None:
    lines = column(100, 100, *LEFT, *LEFT) + column(520, 100, *RIGHT, *RIGHT)
    lines += [line(100, 400, "Help"), line(520, 400, "Legal")]
    lines += [line(100, 435, "A text that is wider than the column over it is"), line(620, 435, "Imprint")]
    page = read(lines)
    assert page.text.split()[: 2 * len(words(LEFT, RIGHT))] == words(LEFT, LEFT, RIGHT, RIGHT)
