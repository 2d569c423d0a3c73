"""Lists beside each other, and a menu beside running text, told from tables: from lines whose boxes are given."""

from __future__ import annotations

import time

import pytest

from tests.unit.test_layout_order import column, line, read
from workers.layout.lines import Line

MENUS = {
    100: ["Product", "Tour", "Pricing", "Status"],
    500: ["Company", "About us", "Careers"],
    900: ["Legal", "Terms", "Privacy", "Cookies"],
}


def headed(x: float, y: float, head: str, *entries: str, weight: float = 0.2) -> list[Line]:
    return [line(x, y, head, weight=weight), *column(x, y + 30, *entries)]


def menus(weight: float = 0.2) -> list[Line]:
    return [entry for x, (head, *entries) in MENUS.items() for entry in headed(x, 400, head, *entries, weight=weight)]


def in_turn() -> list[str]:
    return ["\n".join(entries) for entries in MENUS.values()]


def test_the_lists_of_a_footer_are_read_one_after_the_other() -> None:
    page = read([line(100, 100, "Some text of the page that stands above its foot."), *menus()])
    assert page.text.replace("\n\n", "\n").endswith("\n".join(in_turn()))
    assert "table" not in [block.kind for block in page.blocks]


def test_the_line_under_a_footers_lists_is_none_of_their_entries() -> None:
    page = read([*menus(), line(100, 580, "Made by Northwind Traders")])
    assert page.text.endswith("Cookies\n\nMade by Northwind Traders")


def test_lists_without_headings_are_told_by_their_lengths() -> None:
    page = read([*column(100, 100, "Tour", "Pricing"), *column(500, 100, "About us", "Careers", "Press", "Jobs")])
    assert page.text.split() == ["Tour", "Pricing", "About", "us", "Careers", "Press", "Jobs"]


TABLES = {
    "numbers": [["Part", "Price"], ["Cable", "4.50"], ["Lamp", "12.00"], ["Chair", "80.00"]],
    "an empty cell": [["Name", "City", "Role"], ["Ada", "", "Lead"], ["Bo", "Oslo", "Clerk"], ["Cy", "Rome", "Cook"]],
    "no bold heads": [
        ["Name", "City", "Role"],
        ["Ada", "Bern", "Lead"],
        ["Bo", "Oslo", "Clerk"],
        ["Cy", "Rome", "Cook"],
    ],
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_stays_one(name: str) -> None:
    weight = 0.12 if name == "no bold heads" else 0.2
    lines = [
        line(100 + 350 * at, 100 + 40 * row, text, weight=0.12 if row else weight)
        for row, cells in enumerate(TABLES[name])
        for at, text in enumerate(cells)
        if text
    ]
    page = read(lines)
    assert [block.text.split("\n") for block in page.blocks if block.kind == "table"] == [
        ["\t".join(cells) for cells in TABLES[name]]
    ]


TEXT = ("A page may have a menu at its side", "which has nothing to do with the", "lines that it happens to stand at",
        "because those run on and on, from", "one to the next, until their end")  # fmt: skip


def test_a_menu_beside_running_text_is_read_before_it() -> None:
    page = read(column(100, 100, "Start", "Guides", "Reference", "Help", "Contact") + column(400, 100, *TEXT))
    assert page.text.replace("\n\n", "\n") == "\n".join(["Start", "Guides", "Reference", "Help", "Contact", *TEXT])
    assert "table" not in [block.kind for block in page.blocks]


def test_a_table_with_wrapped_cells_stays_one() -> None:
    lines = [line(100, 100, "Step"), line(400, 100, "What to do")]
    for row, name in enumerate(("First", "Second", "Third")):
        y = 160 + 120 * row
        lines += [
            line(100, y, name),
            *column(400, y, "Take some of the longest screws", "and turn them by hand until", "none of them moves"),
        ]
    (table,) = [block for block in read(lines).blocks if block.kind == "table"]
    told = "Take some of the longest screws and turn them by hand until none of them moves"
    assert table.text.split("\n") == ["Step\tWhat to do", *(f"{name}\t{told}" for name in ("First", "Second", "Third"))]


def test_menus_are_looked_for_quickly_in_many_rows() -> None:
    lines = [line(100 + 300 * at, 30 * row, f"Word {'abc'[at]}") for row in range(400) for at in range(3)]
    began = time.process_time()
    read(lines)
    assert time.process_time() - began < 20
