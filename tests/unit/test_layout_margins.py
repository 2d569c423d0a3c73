"""What stands over, under and beside the text of columns: bylines, feet, footnotes, letterheads, quotes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.unit.test_layout_order import LEFT, RIGHT, column, line, read
from workers.layout.lines import Box, Line, layers
from workers.layout.margins import Margins
from workers.layout.pieces import Row
from workers.layout.rules import Rule, Rules
from workers.layout.sections import Sections

TITLE = "What people read on a page"
ONE = ("Jane Miller", "University of Leeds", "miller@example.org")
TWO = ("Paul Novak", "Institute of Time", "novak@example.org")
TEXT = (*LEFT, *RIGHT, *LEFT)


def words(*texts: Sequence[str]) -> list[str]:
    return " ".join(text for some in texts for text in some).split()


def columns(y: float, *xs: float) -> list[Line]:
    return [part for x in xs for part in column(x, y, *TEXT)]


def centred(x: float, y: float, *texts: str) -> list[Line]:
    return [line(x - len(text) * 5, y + 30 * at, text) for at, text in enumerate(texts)]


@pytest.mark.parametrize("apart", [20, 60])
def test_authors_side_by_side_under_a_title_are_read_one_after_the_other_before_the_columns(apart: float) -> None:
    lines = [line(300, 20, TITLE, em=44), *column(100, 100, *ONE), *column(520, 100, *TWO)]
    page = read([*lines, *columns(190 + apart, 100, 520)])
    assert page.text.split() == words((TITLE,), ONE, TWO, TEXT, TEXT)


def test_authors_of_uneven_length_centred_over_columns_of_other_widths_are_bylines_too() -> None:
    blocks = ((250, (*ONE[:2], "Leeds", ONE[2])), (560, TWO), (860, ("Ann Berg", "Office of Maps", "berg@example.org")))
    lines = [line(300, 20, TITLE, em=44), *(part for x, block in blocks for part in centred(x, 100, *block))]
    page = read([*lines, *columns(240, 100, 520)])
    assert page.text.split() == words((TITLE,), *(block for _, block in blocks), TEXT, TEXT)


def test_the_first_paragraphs_of_columns_under_a_title_are_no_bylines() -> None:
    first = (*LEFT, "It has four lines of text.")
    paragraphs = [part for x in (100, 520) for y in (100, 250) for part in column(x, y, *first)]
    page = read([line(100, 20, TITLE, em=44), *paragraphs])
    assert page.text.split() == words((TITLE,), first, first, first, first)


def test_a_number_under_the_middle_column_is_read_last() -> None:
    page = read([*columns(100, 100, 460, 820), *centred(640, 420, "– 12 –")])
    assert page.text.split() == words(TEXT, TEXT, TEXT, ("– 12 –",))


def test_an_author_over_the_middle_column_is_read_first() -> None:
    page = read([line(400, 20, TITLE, em=44), *centred(640, 90, "Jane Miller"), *columns(130, 100, 460, 820)])
    assert page.text.split() == words((TITLE, "Jane Miller"), TEXT, TEXT, TEXT)


@pytest.mark.parametrize("y", [62, 110])
def test_an_author_as_wide_as_the_middle_column_is_read_first_where_it_stands_apart(y: float) -> None:
    author = line(460, y, "Jane Miller and Paul Novak"[: len(TEXT[0])])
    page = read([line(400, 20, TITLE, em=44), author, *columns(140, 100, 460, 820)])
    apart = words((TITLE, author.text), TEXT, TEXT, TEXT)
    assert (page.text.split() == apart) == (y == 62)


def test_a_footnote_under_a_rule_is_read_after_all_columns_and_a_caption_with_its_picture() -> None:
    note = line(100, 400, "1 As was told.")
    page = read([*columns(100, 100, 520), note], Rules([Rule(385, 100, 300)]))
    assert page.text.split() == words(TEXT, TEXT, (note.text,))
    under = read([*columns(100, 100, 520), line(100, 560, "Figure 1. A map")], figures=[Box(100, 380, 430, 550)])
    assert under.text.split() == words(TEXT, ("Figure 1. A map",), TEXT)


def test_columns_without_anything_under_them_have_no_foot() -> None:
    rows = layers([*columns(100, 100, 520), line(100, 370, "goes on for a line.")])
    assert Margins(20.0, Rules()).under([list(row) for row in rows]) == 0


def test_a_title_beside_an_address_is_parted_from_blocks_under_them() -> None:
    sender = ("7 Long Lane", "Leeds", "post@example.org")
    blocks = (("Bill to", "Anna Novak", "3 High Street"), ("Ship to", "Novak & Co.", "Gate 4"))
    lines = [line(100, 100, "Miller Ltd.", em=30), *column(100, 145, *sender), line(800, 100, "Quotation", em=40)]
    lines += [*column(100, 290, *blocks[0]), *column(400, 290, *blocks[1])]
    page = read([*lines, *column(760, 290, "Date 9 May 2024", "Number R-1907")])
    assert page.text.split() == words(
        ("Miller Ltd.", *sender, "Quotation"), *blocks, ("Date 9 May 2024", "Number R-1907")
    )


def test_what_stands_under_notes_and_totals_is_read_after_both() -> None:
    notes = ("Notes", *LEFT)
    totals = [("Net", "210.85"), ("Tax", "40.06"), ("To pay", "250.91")]
    pairs = [
        line(x, 104 + 42 * at, text) for at, pair in enumerate(totals) for x, text in zip((700, 900), pair, strict=True)
    ]
    page = read([*column(100, 100, *notes), *pairs, line(100, 270, "Thank you for your business.")])
    assert page.text.split() == words(notes, *totals, ("Thank you for your business.",))


def test_a_side_bar_goes_on_beside_the_rules_of_a_quote() -> None:
    menu = column(900, 100, "Start", "Orders", "Reports", "Settings", "Messages", pitch=60)
    text = [*column(100, 100, *LEFT), line(100, 235, "A quote of some words", em=28), *column(100, 320, *RIGHT)]
    rows: list[Row] = [list(row) for row in layers([*text, *menu])]
    assert len(Sections(20.0, Rules([Rule(at, 100, 800) for at in (215, 290)])).split(rows)) == 1


def test_the_rules_of_a_quote_part_nothing_from_a_side_bar_that_ends_over_them() -> None:
    aside = column(900, 100, "More to read", "Orders of last", "year are here")
    text = [*column(100, 100, *LEFT), line(100, 235, "A quote of some words", em=34), *column(100, 320, *RIGHT)]
    rows: list[Row] = [list(row) for row in layers([*text, *aside])]
    assert len(Sections(20.0, Rules([Rule(at, 100, 800) for at in (215, 290)])).split(rows)) == 1


@pytest.mark.parametrize("heading", [True, False])
def test_a_quote_in_large_type_is_read_where_the_text_starts_to_flow_around_it(heading: bool) -> None:
    wide = "The text over it runs on from the left edge of the page to the right one, which is"
    narrow = [f"and this is line {at} of what flows around" for at in range(4)]
    quote = ("A quote that", "is taller than", "all the text", "beside it and", "goes on")
    lines = [*column(100, 100, wide, "here."), *column(100, 190, *narrow)]
    lines += [line(640, 196 + 38 * at, text, em=28) for at, text in enumerate(quote)]
    under = [line(100, 400, "A heading", em=28)] if heading else column(100, 400, wide)
    page = read([*lines, *under])
    assert page.text.split() == words((wide, "here."), quote, narrow, [one.text for one in under])
