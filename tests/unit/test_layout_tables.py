"""Tables from rules and from columns that line up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.drawing import tables_in
from tests.unit.test_layout_order import LEFT, column, line, read
from workers.layout.lines import Box, Line
from workers.layout.rules import Rule, Rules

HEADER = ["Article", "Count", "Price"]
BODY = [["Blue chairs", "4", "120.00"], ["Tables", "", "99.50"], ["Lamps", "12", "7.25"]]
STARTS = (100, 400, 600)


def rows_of(cells: list[list[str]], y: float = 100, pitch: float = 45) -> list[Line]:
    return [
        line(x, y + at * pitch, text)
        for at, row in enumerate(cells)
        for x, text in zip(STARTS, row, strict=True)
        if text
    ]


def grid(xs: tuple[float, ...], ys: tuple[float, ...]) -> Rules:
    return Rules([Rule(y, xs[0], xs[-1]) for y in ys], [Rule(x, ys[0], ys[-1]) for x in xs])


def test_columns_of_cells_without_rules_become_a_table() -> None:
    page = read(rows_of([HEADER, *BODY]))
    assert tables_in(page.markdown) == [[HEADER, *BODY]]
    assert [block.kind for block in page.blocks] == ["table"]


def test_the_text_of_a_table_is_read_row_by_row() -> None:
    assert read(rows_of([HEADER, *BODY])).text.split("\n")[1] == "Blue chairs\t4\t120.00"


def test_text_over_and_under_a_table_is_none_of_its_rows() -> None:
    above, below = column(100, 100, *LEFT), column(100, 420, *LEFT)
    page = read(above + rows_of([HEADER, *BODY], y=220) + below)
    assert [block.kind for block in page.blocks] == ["paragraph", "table", "paragraph"]
    assert tables_in(page.markdown) == [[HEADER, *BODY]]


def test_a_wrapped_cell_is_put_together() -> None:
    lines = rows_of([HEADER, *BODY], pitch=70)
    lines.append(line(100, 170 + 30, "with arms"))
    assert tables_in(read(lines).markdown)[0][1] == ["Blue chairs with arms", "4", "120.00"]


@pytest.mark.parametrize(("first", "rows"), [("Blue chairs", 3), ("blue chairs", 4)])
def test_a_first_cell_goes_on_at_the_pitch_of_the_rows_with_a_small_letter_under_a_capital(
    first: str, rows: int
) -> None:
    cells = [[first, "4", "120.00"], ["with arms", "", ""], ["Tables", "2", "99.50"], ["Lamps", "12", "7.25"]]
    assert len(tables_in(read(rows_of(cells)).markdown)[0]) == rows


def test_cells_set_in_the_middle_of_a_wrapped_one_share_its_row() -> None:
    lines = rows_of([HEADER, *BODY], pitch=90)
    lines = [cell for cell in lines if cell.text != "Tables"]
    lines += [line(100, 280 - 15, "Tables of oak,"), line(100, 280 + 15, "round")]
    assert tables_in(read(lines).markdown)[0][2] == ["Tables of oak, round", "", "99.50"]


def test_rows_set_close_are_apart_though_the_boxes_around_short_cells_reach_into_each_other() -> None:
    lines = [
        replace(cell, box=Box(cell.box.x1, cell.box.y1 - 6, cell.box.x2, cell.box.y2 + 6))
        if cell.text.isdigit()
        else cell
        for cell in rows_of([HEADER, *BODY], pitch=27)
    ]
    assert tables_in(read(lines).markdown) == [[HEADER, *BODY]]


def test_a_number_wrapped_at_its_hyphen_goes_on_without_a_space() -> None:
    lines = rows_of([HEADER], y=120) + rows_of([["K-", "4", "1.00"], ["L-", "5", "2.00"]], y=170, pitch=70)
    lines += [line(100, 200, "381"), line(100, 270, "382")]
    assert [row[0] for row in tables_in(read(lines).markdown)[0]] == ["Article", "K-381", "L-382"]


def test_a_wrapped_cell_of_a_header_in_a_panel_leaves_the_header_in_its_table() -> None:
    lines = [*rows_of([HEADER], y=100), line(600, 125, "in EUR"), *rows_of(BODY, y=185)]
    panel = Rules([Rule(90, 90, 760), Rule(160, 90, 760)], [Rule(90, 90, 160), Rule(760, 90, 160)])
    assert tables_in(read(lines, panel).markdown) == [[["Article", "Count", "Price in EUR"], *BODY]]


def test_striped_rows_stay_one_table_whose_header_is_its_first_row() -> None:
    stripes = Rules([Rule(140, 90, 700), Rule(185, 90, 700), Rule(230, 90, 700)], [])
    under = column(100, 320, "A paragraph that goes right under all of it, from edge to edge.")
    assert tables_in(read(rows_of([HEADER, *BODY]) + under, stripes).markdown) == [[HEADER, *BODY]]


def test_sums_under_a_table_do_not_add_columns_to_it() -> None:
    sums = [line(300, 330, "Sum"), line(450, 330, "226.75"), line(300, 365, "Tax"), line(450, 365, "43.08")]
    assert tables_in(read(rows_of([HEADER, *BODY]) + sums).markdown) == [[HEADER, *BODY]]


def test_no_table_is_made_when_none_is_wanted() -> None:
    page = read(rows_of([HEADER, *BODY]), tables=False)
    assert "|" not in page.markdown
    assert "Blue chairs 4 120.00" in page.text


def test_ruled_cells_keep_rows_and_columns_whatever_their_spacing() -> None:
    cells = [["a", "b"], ["", "d"], ["e", ""]]
    lines = [line(110, 105, "a"), line(210, 108, "b"), line(250, 150, "d"), line(180, 205, "e")]
    page = read(lines, grid((100, 200, 300), (100, 140, 190, 240)))
    assert tables_in(page.markdown) == [cells]


def test_a_line_read_across_a_rule_is_cut_there() -> None:
    lines = [line(110, 105, "left right"), line(110, 155, "one"), line(210, 155, "two")]
    page = read(lines, grid((100, 158, 300), (100, 140, 190)))
    assert tables_in(page.markdown) == [[["left", "right"], ["one", "two"]]]


def test_a_frame_around_a_paragraph_is_no_table() -> None:
    page = read([*column(110, 110, *LEFT), line(100, 300, "Below.")], grid((90, 600), (90, 220)))
    assert [block.kind for block in page.blocks] == ["paragraph", "paragraph"]


def test_a_bar_in_a_cell_does_not_make_another_column() -> None:
    page = read(rows_of([HEADER, ["a|b", "1", "2"], ["c", "3", "4"]]))
    assert tables_in(page.markdown)[0][1] == ["a|b", "1", "2"]


def test_a_table_is_boxed_by_its_cells() -> None:
    assert read(rows_of([HEADER, *BODY])).blocks[0].box == (100, 100, 660, 260)
