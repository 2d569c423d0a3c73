"""Tables whose rows are parted by lines or told apart by stripes, with no rules between their columns."""

from __future__ import annotations

from collections.abc import Sequence

from tests.drawing import tables_in
from tests.unit.test_layout_order import EM, column, line, read
from workers.layout.lines import Line
from workers.layout.rules import Rule, Rules

XS = (100, 220, 520, 700)
HEADER = ("No.", "What was bought", "Pieces", "Price")
ROWS = (
    ((("1",), ("A lamp for the desk in the", "room on the upper floor"), ("4",), ("120.00",))),
    ((("2",), ("Chairs",), ("12",), ("80.50",))),
    ((("3",), ("A cable that is long enough", "for a hall"), (), ("7.25",))),
    ((("4",), ("Glue",), ("1",), ("3.10",))),
)
TABLE = [list(HEADER), *([" ".join(cell) for cell in row] for row in ROWS)]


def row(y: float, cells: Sequence[Sequence[str]], pitch: float = 24) -> list[Line]:
    return [one for x, texts in zip(XS, cells, strict=True) for one in column(x, y, *texts, pitch=pitch)]


def lined(y: float, gap: float = 4, header: bool = True) -> tuple[list[Line], list[float]]:
    """The rows of the table, as close as lines are, and the heights of the lines between them."""
    lines: list[Line] = []
    edges = []
    for cells in [[(text,) for text in HEADER], *ROWS] if header else ROWS:
        edges.append(y - gap / 2)
        lines += row(y, cells)
        y += 24 * max(map(len, cells)) + gap
    return lines, [*edges, y - gap / 2]


def across(ys: Sequence[float], start: float = 90, end: float = 800) -> Rules:
    return Rules([Rule(y, start, end) for y in ys])


def test_what_stands_between_two_lines_is_one_row_however_its_cells_are_wrapped() -> None:
    lines, edges = lined(100)
    assert tables_in(read(lines, across(edges)).markdown) == [TABLE]


def test_the_header_over_the_first_line_belongs_to_the_table() -> None:
    lines, edges = lined(100)
    assert tables_in(read(lines, across(edges[1:])).markdown) == [TABLE]


def test_text_over_a_table_with_a_header_is_none_of_it() -> None:
    lines, edges = lined(200)
    above = [line(100, 110, "All that was bought,"), line(100, 140, "by number and price:")]
    page = read([*above, *lines], across(edges))
    assert tables_in(page.markdown) == [TABLE]
    assert page.blocks[0].text == "All that was bought,\nby number and price:"


def test_the_last_row_of_a_striped_table_needs_no_stripe() -> None:
    lines, edges = lined(100)
    assert tables_in(read(lines, across(edges[:-1])).markdown) == [TABLE]


def test_totals_under_the_last_line_are_none_of_the_table() -> None:
    lines, edges = lined(100)
    y = edges[-1] + 10
    sums = [line(520, y, "Net"), line(700, y, "210.85"), line(520, y + 40, "To pay"), line(700, y + 40, "250.91")]
    tables = tables_in(read([*lines, *sums], across(edges)).markdown)
    assert tables[0] == TABLE


def test_totals_labelled_in_the_first_column_are_none_of_the_table() -> None:
    lines, edges = lined(100)
    y = edges[-1] + 10
    sums = [line(100, y, "Net"), line(700, y, "210.85"), line(100, y + 40, "To pay"), line(700, y + 40, "250.91")]
    assert tables_in(read([*lines, *sums], across(edges)).markdown)[0] == TABLE


def test_rows_of_facts_between_lines_are_no_table() -> None:
    posts = []
    for y in (100, 260, 420):
        posts += column(100, y, "Anna Miller", "Member since:", "Posts:")
        posts += column(400, y, "I wrote this some time ago and", "would not write it again, but", "here it is.")
    assert tables_in(read(posts, across([90, 250, 410, 570])).markdown) == []


def test_boxes_over_a_table_that_fill_other_columns_are_none_of_its_rows() -> None:
    lines, edges = lined(200)
    facts = [
        one
        for x, label, value in ((100, "Date", "9 May"), (330, "Number", "R-19"), (600, "Order", "B-7"))
        for one in column(x, 110, label, value, pitch=26)
    ]
    page = read([*facts, *lines], across([100, 180, *edges]))
    assert tables_in(page.markdown)[-1] == TABLE


def test_a_table_between_its_first_and_last_line_has_all_its_rows() -> None:
    lines, edges = lined(100, gap=16)
    assert tables_in(read(lines, across([edges[0], edges[1], edges[-1]])).markdown) == [TABLE]


def test_lines_of_other_widths_part_no_rows() -> None:
    lines, edges = lined(100)
    apart = Rules([Rule(y, 90 + 40 * at, 800 - 40 * at) for at, y in enumerate(edges)])
    assert read(lines, apart).text.split() == read(lines).text.split()


def test_the_type_of_these_tables_is_that_of_the_page() -> None:
    assert all(one.em == EM for one in lined(0)[0])
