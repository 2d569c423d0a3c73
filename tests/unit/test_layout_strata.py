"""What a strip of white parts and what goes on across it: strata, titles side by side, floats, lists beside text."""

from __future__ import annotations

from collections.abc import Sequence

from tests.drawing import tables_in
from tests.unit.test_layout_order import LEFT, RIGHT, column, line, read
from workers.layout.lines import Line, layers
from workers.layout.pieces import Piece, Row
from workers.layout.rules import Rule, Rules
from workers.layout.strata import Strata
from workers.layout.ties import headed, ties

OURS = ("Miller Ltd.", "7 Long Lane", "Leeds", "miller@example.org")
BUYER, GOODS = ("Bill to", "Anna Novak", "3 High Street"), ("Ship to", "Novak & Co.", "Gate 4")
FACTS = (("Date", "9 May 2024"), ("Number", "R-1907"), ("Order", "B-77"))


def words(*texts: Sequence[str]) -> list[str]:
    return " ".join(text for some in texts for text in some).split()


def facts(x: float, y: float) -> list[Line]:
    return [
        one
        for at, (label, value) in enumerate(FACTS)
        for one in (line(x, y + 30 * at, label), line(x + 120, y + 30 * at, value))
    ]


def stacked(lines: Sequence[Piece]) -> list[Row]:
    return layers(lines)


def strata(lines: Sequence[Piece], rules: Rules | None = None) -> list[list[Row]]:
    return Strata(20.0, rules or Rules()).split(stacked(lines))


def test_a_gutter_by_chance_through_a_head_and_what_is_under_it_is_none() -> None:
    head = [line(100, 100, "Invoice", em=40), *column(700, 100, *OURS)]
    below = [*column(100, 280, *BUYER), *column(400, 280, *GOODS), *facts(640, 280)]
    page = read([*head, *below])
    told = [text for pair in FACTS for text in pair]
    assert page.text.split() == words(("Invoice",), OURS, BUYER, GOODS, told)


def test_columns_that_go_on_in_the_same_places_are_not_parted() -> None:
    lines = [*column(100, 100, *LEFT), *column(520, 100, *RIGHT), *column(100, 230, *LEFT), *column(520, 230, *RIGHT)]
    assert len(strata(lines)) == 1


def test_a_list_goes_on_across_a_strip_where_the_text_beside_it_changes() -> None:
    menu = column(100, 100, "Start", "Orders", "Customers", "Reports", "Messages", "Settings", pitch=60)
    cards = [line(x, y, text) for x, text in ((400, "Open"), (600, "Sent"), (800, "Paid")) for y in (100, 130)]
    text = column(400, 280, "Nothing of all this has been paid or even sent by now.", "We wait.")
    assert len(strata([*menu, *cards, *text])) == 1
    assert len(strata([*cards, *text])) == 2


def test_the_edge_of_a_side_bar_keeps_what_is_beside_it_together() -> None:
    bar = [line(100, 100, "Pulse", em=28), line(100, 240, "Overview")]
    page = [
        line(400, 100, "Good morning, dear reader of all these numbers"),
        line(400, 240, "Paid"),
        line(700, 240, "Sent"),
    ]
    more = [line(400, 270, "55,724"), line(700, 270, "13,220")]
    edge = Rules([], [Rule(300, 60, 600)])
    assert len(strata([*bar, *page, *more], edge)) == 1
    assert len(strata([*bar, *page, *more])) > 1


def test_the_lines_of_an_address_tie_what_stands_beside_them() -> None:
    above, below = stacked(column(100, 100, *OURS[:2])), stacked(column(100, 160, *OURS[2:]))
    assert ties(above, below)
    assert not ties(above, stacked(column(100, 240, *OURS[2:])))


def test_an_address_under_its_title_comes_before_the_title_beside_it() -> None:
    lines = [line(100, 100, "Miller Ltd.", em=40), line(700, 100, "Invoice", em=40), *column(100, 156, *OURS[1:])]
    assert read(lines).text.split() == words(OURS, ("Invoice",))
    rows = stacked([line(100, 100, "Contents", em=40), line(700, 100, "Page", em=40), *column(100, 260, "One", "Two")])
    assert headed(rows, 20.0) == rows


def test_what_text_flows_around_is_read_before_it() -> None:
    narrow = [f"This is line {at} of the text that flows on" for at in range(5)]
    wide = [f"and under the box its line {at} is as wide as the whole of the page is, so" for at in range(3)]
    box = column(640, 100, "The box", "Founded 1907", "Closed 1990", "in Leeds")
    page = read([*column(100, 100, *narrow), *box, *column(100, 250, *wide)])
    assert page.text.split() == words(("The box", "Founded 1907", "Closed 1990", "in Leeds"), narrow, wide)


def test_a_paragraph_over_all_columns_floats_around_none_of_them() -> None:
    below = ["Under both columns there is a paragraph that runs from the left edge to the right", "one of them."]
    page = read([*column(100, 100, *LEFT), *column(520, 100, *RIGHT), *column(100, 260, *below)])
    assert page.text.split() == words(LEFT, RIGHT, below)


def test_text_told_beside_links_makes_no_table_of_them() -> None:
    about = ("About us", "We have made 1,250 lamps and", "are still making more of them", "every day of the year.")
    help_, more = ("Help", "Questions", "Contact", "Returns"), ("More", "Press", "Careers", "Imprint")
    page = read([*column(100, 100, *about), *column(520, 100, *help_), *column(720, 100, *more)])
    assert tables_in(page.markdown) == []
    assert page.text.split() == words(about, help_, more)


def test_prices_in_larger_type_make_cards_of_columns() -> None:
    def plan(x: float, name: str, price: str, *what: str) -> list[Line]:
        return [line(x, 100, name), line(x, 140, price, em=36), line(x, 200, "per month"), *column(x, 240, *what)]

    plans = [
        ("Starter", "$3", "Audit log", "Backups"),
        ("Team", "$25", "Sign-on", "Support"),
        ("All", "$132", "Users", "Space"),
    ]
    page = read([one for at, some in enumerate(plans) for one in plan(100 + 300 * at, *some)])
    assert page.text.split() == words(*((name, price, "per month", *what) for name, price, *what in plans))


def test_the_posts_of_a_forum_are_read_one_after_the_other() -> None:
    posts, told = [], []
    for at, name in enumerate(("Anna Novak", "Paul Miller")):
        who = (name, "Member since 2012", f"{at + 31} posts")
        what = (f"{at + 4} May 2024", *LEFT, *RIGHT)
        posts += [*column(100, 100 + 400 * at, *who), *column(420, 100 + 400 * at, *what)]
        told += [who, what]
    assert read(posts).text.split() == words(*told)


def test_the_note_under_totals_is_none_of_their_rows() -> None:
    sums = [("Net", "210.85"), ("Tax", "40.06"), ("To pay", "250.91")]
    lines = [
        one
        for at, (label, amount) in enumerate(sums)
        for one in (line(600, 100 + 40 * at, label), line(800, 100 + 40 * at, amount))
    ]
    page = read([*lines, line(100, 212, "Please pay within 30 days of this letter.")])
    assert tables_in(page.markdown) == [[list(pair) for pair in sums]]


def test_rows_of_cards_with_bold_titles_are_parted_by_a_strip_and_the_rows_of_a_table_are_not() -> None:
    def card(x: float, y: float, weight: float) -> list[Line]:
        return [line(x, y, "Card", weight=weight), *column(x, y + 40, "Some words", "of a card", "told here")]

    def rows(weight: float) -> list[Row]:
        return stacked([one for y in (100, 320) for x in (100, 400, 700) for one in card(x, y, weight)])

    parts = [Strata(20.0, Rules())._table(some[:4], some[4:]) for some in (rows(0.2), rows(0.12))]
    assert parts == [False, True]
