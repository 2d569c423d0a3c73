"""Tables without rules whose cells wrap."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.drawing import tables_in
from tests.unit.test_layout_order import LEFT, column, line, read
from workers.layout.lines import Line
from workers.layout.rules import Rule, Rules, grids
from workers.layout.wrapped import wrapped_tables

HEADER = (("Name of", "the part"), ("Stock", "at the end", "of May"), ("Price",), ("Kept", "since"))
PARTS = (
    (("Desk lamp",), ("4",), ("120.00",), ("3 May", "2017")),
    (("Chair with", "arms and", "wheels"), ("12",), ("99.50",), ("2019",)),
    (("Shelf",), (), ("45.10",), ("2021-", "04-12")),
    (("Filter of", "glass"), ("7",), ("8.25",), ()),
)
SHARE = {"top": 0.0, "middle": 0.5, "bottom": 1.0}


def drawn(rows: Sequence[Sequence[Sequence[str]]], y: float, align: str) -> list[Line]:
    """Lines of cells 28 pixels apart in rows with 16 pixels of room between them."""
    lines: list[Line] = []
    for row in rows:
        height = max(map(len, row))
        for at, cell in enumerate(row):
            lines += column(100 + 220 * at, y + SHARE[align] * 28 * (height - len(cell)), *cell, pitch=28)
        y += 28 * height + 16
    return lines


def texts(rows: Sequence[Sequence[Sequence[str]]]) -> list[list[str]]:
    return [[" ".join(cell).replace("- ", "-") for cell in row] for row in rows]


@pytest.mark.parametrize("align", SHARE)
def test_cells_that_wrap_stand_in_their_rows_however_these_are_aligned(align: str) -> None:
    page = read(drawn((HEADER, *PARTS), 100, align))
    assert tables_in(page.markdown) == [texts((HEADER, *PARTS))]


def test_the_cells_of_a_narrow_column_may_have_many_lines() -> None:
    long = ("Life what", "this had", "there", "government", "committee,", "way that", "used old", "good and", "is now")
    rows = (HEADER, *PARTS, (long, ("30",), ("12.00",), ("2020",)))
    assert tables_in(read(drawn(rows, 100, "middle")).markdown) == [texts(rows)]


def test_a_table_right_under_a_paragraph_keeps_its_header() -> None:
    page = read(
        [
            *column(100, 70, "A paragraph that runs over all of its columns to the right edge of the table"),
            *drawn((HEADER, *PARTS), 100, "top"),
        ]
    )
    assert tables_in(page.markdown) == [texts((HEADER, *PARTS))]


def test_totals_under_a_table_and_blocks_over_it_are_none_of_its_rows() -> None:
    blocks = [
        *column(100, 100, "Bill to", "3 High Street", "10115 Berlin"),
        *column(320, 100, "Ship to", "Gate 4", "Leeds 7"),
    ]
    sums = [line(540, 660, "Sum"), line(760, 660, "210.85")]
    (table,) = wrapped_tables(
        [*blocks, *column(760, 100, "9 May", "R-1907", "B-77"), *drawn((HEADER, *PARTS), 230, "top"), *sums], 20.0
    )
    assert table.cells == texts((HEADER, *PARTS))


def test_columns_of_text_and_cards_are_no_table() -> None:
    text = [part for x in (100, 460, 820) for part in column(x, 100, *LEFT, *LEFT)]
    assert wrapped_tables(text, 20.0) == []


def test_edges_between_the_cells_of_a_header_alone_make_no_grid() -> None:
    across = [Rule(at, 100, 900) for at in (100, 150, 200)]
    sides = [Rule(at, 100, 200) for at in (100, 900)]
    assert grids(Rules(across, [*sides, Rule(400, 100, 150)])) == []
    assert len(grids(Rules(across, [*sides, Rule(400, 100, 200)]))) == 1
