"""What stands side by side: columns, lists of their own, or a table."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.drawing import tables_in
from tests.unit.test_layout_order import EM, LEFT, RIGHT, column, line, read
from workers.layout.columns import beside, runs, wraps
from workers.layout.lines import Box, Line, in_rows
from workers.layout.page import imprint
from workers.layout.rules import Rule, Rules

SENDER = ("Miller Ltd.", "12 Long Street", "10115 Berlin")
CUSTOMER = ("Novak Inc.", "Jane Novak", "7 Short Road", "60311 Frankfurt")
LINKS = (("Product", "Pricing", "Releases"), ("Company", "Careers", "Contact"), ("Support", "Forum", "Status"))
HEADER = ("Article", "Count", "Price", "Amount")


def side_by_side(*columns: Sequence[str], y: float = 100, apart: float = 300) -> list[Line]:
    return [part for at, texts in enumerate(columns) for part in column(100 + apart * at, y, *texts)]


def cells(*rows: Sequence[str], y: float) -> list[Line]:
    return [
        line(100 + 300 * at, y + 45 * row, text)
        for row, some in enumerate(rows)
        for at, text in enumerate(some)
        if text
    ]


def words(*texts: Sequence[str]) -> list[str]:
    return " ".join(text for some in texts for text in some).split()


def halves(lines: Sequence[Line], gutter: tuple[float, float]) -> float | None:
    return beside(in_rows(lines), [gutter], EM)


def test_two_addresses_are_read_one_after_the_other() -> None:
    page = read(side_by_side(SENDER, CUSTOMER, apart=500))
    assert page.text.split() == words(SENDER, CUSTOMER)
    assert tables_in(page.markdown) == []


def test_three_addresses_under_their_titles_are_read_one_after_the_other() -> None:
    blocks = [("Billed to", *SENDER), ("Shipped to", *CUSTOMER[1:]), ("Sent by", *SENDER)]
    page = read(side_by_side(*blocks))
    assert page.text.split() == words(*blocks)


@pytest.mark.parametrize(
    ("left", "right", "parted"),
    [
        (SENDER, CUSTOMER, True),
        (CUSTOMER, ("Invoice No. 12", "Date 2024-03-01"), True),
        (("Name:", "Street:", "City:"), CUSTOMER, False),
        (("Subtotal", "Tax", "Total"), ("99.50", "19.00", "118.50"), False),
        (("Sender", "Receiver", "Carrier"), ("Miller", "Novak", "Fischer"), False),
    ],
)
def test_an_address_is_told_from_labels_and_amounts(left: Sequence[str], right: Sequence[str], parted: bool) -> None:
    middle = halves(side_by_side(left, right, apart=500), (300, 600))
    assert middle == (450 if parted else None)


def test_things_near_each_other_are_not_parted() -> None:
    assert halves(side_by_side(SENDER, CUSTOMER), (240, 300)) is None


def test_links_over_an_imprint_are_read_column_by_column() -> None:
    imprinted = line(100, 260, "© 2024 Miller Ltd. All rights reserved.")
    page = read([*side_by_side(*LINKS), imprinted])
    assert page.text.split() == words(*LINKS, [imprinted.text])
    assert tables_in(page.markdown) == []


def test_links_that_end_at_different_heights_need_no_imprint() -> None:
    ragged = [LINKS[0], (*LINKS[1], "Partners", "Press"), (*LINKS[2], "Chat")]
    assert read(side_by_side(*ragged)).text.split() == words(*ragged)


def test_a_table_over_an_imprint_stays_one_when_rules_part_its_rows_or_it_has_numbers() -> None:
    imprinted = line(100, 300, "Copyright Miller Ltd.")
    ruled = Rules([Rule(at, 90, 800) for at in (127, 157)])
    names = read([*side_by_side(*LINKS), imprinted], ruled)
    numbers = read([*side_by_side(*LINKS[:2], ("Rooms", "12", "7")), imprinted])
    assert [len(tables_in(page.markdown)) for page in (names, numbers)] == [1, 1]


def test_the_imprint_is_looked_for_among_the_last_lines() -> None:
    top = [line(100, 10, "Copyright law in short"), *column(100, 60, *LEFT, *RIGHT, *LEFT)]
    assert imprint(top) is None
    assert imprint([*top, line(100, 900, "(c) 2024 Miller Ltd.")]) == 900


def test_addresses_over_a_table_are_none_of_its_rows() -> None:
    lines = side_by_side(SENDER, ("Invoice: 12", "Date: 2024-03-01", "Due: 2024-04-01"), apart=600)
    lines += column(100, 205, "Bill to:", *CUSTOMER[1:3])
    rows = [HEADER, ("Blue chairs", "4", "120.00", "480.00"), ("Tables", "1", "99.50", "99.50")]
    page = read([*lines, *cells(*rows, y=330)])
    assert tables_in(page.markdown) == [[list(row) for row in rows]]


def test_one_column_that_goes_on_alone_is_a_run_of_its_own() -> None:
    lines = [*side_by_side(SENDER, SENDER, apart=500), *column(100, 250, *CUSTOMER)]
    assert [len(run) for run in runs(in_rows(lines), EM, 1.2 * EM)] == [3, 4]


def test_a_line_of_an_address_beside_a_large_title_is_no_heading_that_parts_rows() -> None:
    title, street = line(100, 90, "Quotation", em=4 * EM), line(1200, 115, "7 Short Road", em=1.5 * EM)
    others = column(1200, 100, "Novak Inc.", "60311 Frankfurt", "post@novak.example", pitch=35)
    rows = [[title, others[0]], [street], [line(100, 150, "#48882"), others[1]], [others[2]]]
    assert [len(run) for run in runs(rows, EM, 1.2 * EM)] == [4]


def test_lines_set_flush_are_running_text_though_they_come_in_pieces() -> None:
    whole = [*LEFT, *RIGHT[:2]]
    pieces = [
        Line(Box(x, 30.0 * at, x + 150, 30.0 * at + 25), half, 1.0, (), (), EM)
        for at, text in enumerate(whole)
        for x, half in ((100, text[:15]), (280, text[15:]))
    ]
    assert wraps(pieces)
    assert not wraps([*side_by_side(("One", "Two", "Three"), ("Four", "Five", "Six"))])


def test_the_last_line_of_what_runs_over_all_columns_joins_none_of_them() -> None:
    over = "An abstract runs over all of the columns that follow it, which have gutters between them."
    columns = side_by_side(LEFT, RIGHT, LEFT, y=120, apart=400)
    page = read([line(200, 30, over), line(200, 60, "They are three, and this line is short."), *columns])
    assert page.text.split() == words([over, "They are three, and this line is short."], LEFT, RIGHT, LEFT)


def test_a_footnote_of_two_lines_joins_no_columns() -> None:
    note = (
        "1 A footnote may run over more than one column of the page, and",
        "may have more than one line to say it in.",
    )
    text = (*LEFT, *RIGHT, *LEFT)
    # The gutter that the note does not reach is the clearer one.
    columns = [part for x in (100, 460, 900) for part in column(x, 100, *text)]
    assert read([*columns, *column(100, 390, *note)]).text.split() == words(text, text, text, note)


def test_a_heading_over_all_columns_ends_them() -> None:
    heading = line(100, 215, "The second part", em=26)
    page = read([*side_by_side(LEFT, RIGHT, apart=420), heading, *side_by_side(RIGHT, LEFT, y=280, apart=420)])
    assert page.text.split() == words(LEFT, RIGHT, [heading.text], RIGHT, LEFT)


def test_a_heading_of_one_column_beside_the_gap_between_two_paragraphs_ends_nothing() -> None:
    left = column(100, 100, *LEFT, pitch=30) + column(100, 220, *LEFT)
    right = [*column(520, 100, *RIGHT), line(520, 187, "A heading", em=26), *column(520, 220, *RIGHT)]
    assert read(left + right).text.split() == words(LEFT, LEFT, RIGHT, ["A heading"], RIGHT)


def test_facts_beside_an_address_are_read_after_it() -> None:
    facts = ("Details", "Due date: 19.04.2013", "Invoice date: 13 August 2017", "Customer no. 31270")
    page = read(side_by_side(("Invoice to", *CUSTOMER[1:]), facts, apart=500))
    assert page.text.split() == words(("Invoice to", *CUSTOMER[1:]), facts)
    assert tables_in(page.markdown) == []


def test_labels_with_their_values_are_one_block_beside_addresses() -> None:
    labels, values = ("Customer no.", "Invoice date", "Due date"), ("22753", "16.09.2021", "30.09.2021")
    page = read(side_by_side(("Billed to", *SENDER), ("Paid by", *CUSTOMER[1:]), labels, values, apart=250))
    pairs = [word for pair in zip(labels, values, strict=True) for word in " ".join(pair).split()]
    assert page.text.split() == words(("Billed to", *SENDER), ("Paid by", *CUSTOMER[1:])) + pairs


def test_labels_wrapped_at_the_pitch_of_their_rows_keep_their_values_beside_addresses() -> None:
    labels = ("Customer", "no.", "Invoice", "date", "PO", "number")
    values = ("22753", "16.09.2021", "PO1951")
    lines = side_by_side(("Billed to", *SENDER), ("Paid by", *CUSTOMER[1:]), labels, apart=250)
    lines += column(850, 100, *values, pitch=60)
    pairs = ("Customer no. 22753", "Invoice date 16.09.2021", "PO number PO1951")
    assert read(lines).text.split() == words(("Billed to", *SENDER), ("Paid by", *CUSTOMER[1:]), pairs)


def test_goods_with_numbers_in_their_names_stay_in_a_table() -> None:
    rows = [
        ("Article", "Stock", "Supplier"),
        ("Desk A12", "4", "Miller 24"),
        ("Lamp", "9", "Novak"),
        ("Chair B3", "1", "Berg"),
    ]
    page = read([part for at in range(3) for part in column(100 + 250 * at, 100, *(row[at] for row in rows), pitch=45)])
    assert tables_in(page.markdown) == [[list(row) for row in rows]]


def test_values_under_their_labels_are_read_with_them() -> None:
    pairs = [("Invoice date", "2012-08-24"), ("Due date", "17/07/2015"), ("Customer no.", "90103")]
    assert read(side_by_side(*pairs)).text.split() == words(*pairs)


def test_a_table_of_a_header_and_one_row_stays_one() -> None:
    header, row = ("Article", "Count", "Price"), ("Blue chairs", "4", "120.00")
    assert tables_in(read(cells(header, row, y=100)).markdown) == [[list(header), list(row)]]


def test_notes_beside_totals_are_read_before_them_and_the_totals_row_by_row() -> None:
    notes = ("Notes", *LEFT, "Thank you.")
    totals = [("Subtotal:", "85.19"), ("Tax:", "16.31"), ("Amount due:", "102.76")]
    lines = column(100, 100, *notes, pitch=29)
    lines += [
        line(x, 110 + 37 * at, text) for at, pair in enumerate(totals) for x, text in zip((560, 760), pair, strict=True)
    ]
    assert read(lines).text.split() == words(notes, *totals)


def test_short_texts_under_their_titles_are_no_table() -> None:
    left = ("Attach the following", "Note that calling any method", "stream should raise an error")
    right = ("Recommended ways", "Certain classes of names that", "have special meanings for us")
    assert read(side_by_side(left, right, apart=420)).text.split() == words(left, right)


def test_two_who_sign_are_read_one_after_the_other() -> None:
    pair = [("Emma Petrov", "Landlord"), ("Jane Novak", "Tenant")]
    assert read(side_by_side(*pair, apart=500)).text.split() == words(*pair)


def test_clauses_beside_their_numbers_are_no_table() -> None:
    numbers, texts = (
        ("1.1", "1.2", "2.1", "2.2"),
        ("Rent is due", "Pets are not", "Noise ends at ten", "Keys come back"),
    )
    page = read(side_by_side(numbers, texts, apart=120))
    assert page.text.split() == words(*zip(numbers, texts, strict=True))
    assert tables_in(page.markdown) == []
