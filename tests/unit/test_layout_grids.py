"""Rows of cells: tables whose cells are wrapped, cards in rows, and blocks that stand over other columns."""

from __future__ import annotations

from collections.abc import Sequence

from tests.drawing import tables_in
from tests.unit.test_layout_order import EM, LEFT, RIGHT, column, line, read
from workers.layout.grids import Columns, card_rows
from workers.layout.lines import Box, Line, in_rows
from workers.layout.pieces import Piece
from workers.layout.rules import Rule, Rules

SPANS = [(100.0, 400.0), (480.0, 560.0), (640.0, 940.0)]
RISKS = (
    (("R1",), ("Low",), ("The pump may fail when it is not", "looked after for some time")),
    (("R2",), ("High",), ("A part comes too late", "because of the customs")),
    (("R3",), (), ("Nobody reads the manual",)),
    (("R4",), ("High",), ("The warehouse is full at the", "end of every quarter")),
)


def card(x: float, y: float, title: str, *texts: str) -> list[Line]:
    return [line(x, y, title, weight=0.2), *column(x, y + 40, *texts)]


def risks(y: float = 100, apart: float = 20) -> list[Line]:
    """Rows whose last cells are wrapped, `apart` pixels further from each other than lines."""
    found = []
    for cells in RISKS:
        for x, texts in zip((100, 240, 400), cells, strict=True):
            found += column(x, y, *texts)
        y += 30 * max(map(len, cells)) + apart
    return found


def words(*texts: Sequence[str]) -> list[str]:
    return " ".join(text for some in texts for text in some).split()


def test_cells_of_running_text_stay_in_their_rows() -> None:
    rows = [[" ".join(texts) for texts in cells] for cells in RISKS]
    assert tables_in(read(risks()).markdown) == [rows]


def test_rows_set_as_close_as_lines_are_told_by_the_rules_between_them() -> None:
    edges = [95.0, 157.0, 219.0, 251.0]
    rules = Rules([Rule(y, 90, 760) for y in edges])
    rows = [[" ".join(texts) for texts in cells] for cells in RISKS]
    assert tables_in(read(risks(apart=2), rules).markdown) == [rows]


def test_text_that_ends_over_a_ruled_table_is_none_of_its_header() -> None:
    rules = Rules([Rule(y, 90, 760) for y in (157.0, 227.0, 277.0)])
    page = read([line(100, 40, "The last words of a text that ends"), *risks()], rules)
    assert tables_in(page.markdown)[0][0] == ["R1", "Low", " ".join(RISKS[0][2])]


def test_columns_break_where_all_of_them_are_empty_and_start_again() -> None:
    rows = in_rows(risks())
    spans = [(100.0, 130.0), (240.0, 300.0), (400.0, 760.0)]
    assert [len(row.rows) for row in Columns(list(map(list, rows)), spans, EM).cell_rows()] == [2, 2, 1, 2]


def test_text_beside_a_list_is_no_table_though_some_lines_stand_on_one_height() -> None:
    page = read(column(100, 100, "Home", "Products", "Prices", "Contact", pitch=47) + column(400, 100, *LEFT, *RIGHT))
    assert page.text.split() == words(("Home", "Products", "Prices", "Contact"), LEFT, RIGHT)
    assert tables_in(page.markdown) == []


def test_cards_are_read_row_by_row() -> None:
    texts = [("First card", *LEFT), ("Second card", *RIGHT), ("Third card", *RIGHT), ("Fourth card", *LEFT)]
    lines = [
        part
        for at, (title, *rest) in enumerate(texts)
        for part in card(100 + 420 * (at % 2), 100 + 250 * (at // 2), title, *rest)
    ]
    assert read(lines).text.split() == words(*texts)


def test_cards_beside_a_list_are_read_row_by_row_after_it() -> None:
    texts = [("First card", "Red, 12.00"), ("Second card", "Blue"), ("Third card", "Green"), ("Fourth card", "White")]
    links = ("Home", "Products", "All prices", "Contact", "About", "Imprint")
    figures = [
        Box(400 + 300 * (at % 2), 100 + 300 * (at // 2), 600 + 300 * (at % 2), 200 + 300 * (at // 2)) for at in range(4)
    ]
    lines = column(100, 100, *links, pitch=37)
    for box, (title, *rest) in zip(figures, texts, strict=True):
        lines += card(box.x1, box.y2 + 10, title, *rest)
    assert read(lines, figures=figures).text.split() == words(links, *texts)


def test_a_heading_over_a_row_of_cards_goes_with_it() -> None:
    texts = [("First card", *LEFT), ("Second card", *RIGHT), ("Third card", *RIGHT), ("Fourth card", *LEFT)]
    lines = [*card(100, 100, *texts[0]), *card(520, 100, *texts[1]), line(100, 320, "More of these", em=26)]
    lines += [*card(100, 360, *texts[2]), *card(520, 360, *texts[3])]
    assert read(lines).text.split() == words(texts[0], texts[1], ("More of these",), texts[2], texts[3])


def test_headings_that_stand_on_one_height_in_columns_of_text_part_nothing() -> None:
    left, right = [*LEFT, *RIGHT, *LEFT], [*RIGHT, *LEFT, *RIGHT]
    lines = [*column(100, 100, *left), line(100, 390, "Here", weight=0.2), *column(100, 420, *left)]
    lines += [*column(520, 100, *right), line(520, 390, "There", weight=0.2), *column(520, 420, *right)]
    assert read(lines).text.split() == words(left, ("Here",), left, right, ("There",), right)


def test_one_card_alone_makes_no_row() -> None:
    rows: list[list[Piece]] = [[piece] for piece in card(100, 100, "Title", "A text")]
    found = Columns(rows, [(100.0, 300.0), (400.0, 500.0)], EM).cell_rows()
    assert len(card_rows(found, 30)) == 1


def test_blocks_over_a_table_are_none_of_its_rows() -> None:
    sender = ("Billed to", "Novak Inc.", "7 Short Road", "60311 Frankfurt")
    payment = ("Payment method", "Bank transfer", "Hanse Bank", "Account 630263")
    goods = [["Article", "Count", "Price"], ["Blue chairs", "4", "120.00"], ["Tables", "1", "99.50"]]
    lines = [*column(100, 100, *sender), *column(400, 100, *payment)]
    lines += [
        line(x, 320 + 45 * at, text)
        for at, row in enumerate(goods)
        for x, text in zip((100, 520, 640), row, strict=True)
    ]
    page = read(lines)
    assert page.text.split() == words(sender, payment, *goods)
    assert tables_in(page.markdown) == [goods]


def test_rows_of_cards_may_start_with_pictures_and_frames_of_uneven_heights() -> None:
    first = [line(100, 260, "Blue lamp"), line(480, 262, "Red lamp")]
    second = [line(100, 500, "Green lamp"), line(480, 500, "Grey lamp")]
    pictures = [Box(100, 100, 400, 240), Box(480, 110, 780, 240), Box(100, 330, 400, 480), Box(480, 338, 780, 480)]
    page = read([*first, *second], figures=pictures)
    assert page.text.split("\n\n") == ["Blue lamp", "Red lamp", "Green lamp", "Grey lamp"]


def test_a_side_bars_heading_at_the_height_of_one_in_the_text_starts_no_row_of_cards() -> None:
    text = [*column(100, 100, *LEFT), line(100, 250, "What came next", em=30, weight=0.2), *column(100, 300, *LEFT)]
    bar = [
        *column(560, 100, "Latest", "Lamps", "Chairs"),
        line(560, 256, "Archive", weight=0.2),
        *column(560, 300, "May", "June"),
    ]
    page = read([*text, *bar])
    assert page.text.split() == words(LEFT, ("What came next",), LEFT, ("Latest Lamps Chairs Archive May June",))
