"""What is a space, what is a gap between cells, and which edges are a table's stripes: from lines that are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.unit.test_layout_order import EM, line, read
from workers.layout.cells import cut_apart, joined_again, within_columns
from workers.layout.lines import Box, Line
from workers.layout.rules import Rule, Rules
from workers.layout.stripes import stripes, without

USUAL = 0.3  # of an em: a space


def spread(y: float, words: Sequence[str], spaces: Mapping[int, float] | float, *, x: float = 100) -> Line:
    """A line of words with such spaces after them, in ems, 0.3 where none is given; letters are half an em wide."""
    places: list[float] = []
    gaps: list[tuple[float, float]] = []
    at = x
    for number, word in enumerate(words):
        if number:
            space = spaces if isinstance(spaces, float) else spaces.get(number - 1, USUAL)
            gaps.append((at, at + space * EM))
            places.append(at + space * EM / 2)
            at += space * EM
        places += [at + (letter + 0.5) * EM / 2 for letter in range(len(word))]
        at += len(word) * EM / 2
    return Line(Box(x, y, at, y + 1.25 * EM), " ".join(words), 0.99, tuple(places), tuple(gaps), EM, 0.12)


def texts(lines: Sequence[Line]) -> list[str]:
    return [part.text for part in cut_apart(lines)]


JUSTIFIED = tuple(
    text.split()
    for text in (
        "A paragraph of which every line was",
        "stretched until it ended where the",
        "others end has wider spaces between",
        "words than text that is only flush",
        "at its left side, and no two of them",
    )
)


def flush(words: Sequence[str], y: float) -> Line:
    """A line stretched to 21 ems."""
    letters = sum(map(len, words)) / 2
    return spread(y, words, (21 - letters) / (len(words) - 1))


def test_the_wide_spaces_of_justified_text_are_spaces() -> None:
    lines = [flush(words, 100 + 30 * row) for row, words in enumerate(JUSTIFIED)]
    assert all(max(high - low for low, high in one.gaps) > 0.75 * EM for one in lines)
    assert texts(lines) == [" ".join(words) for words in JUSTIFIED]


def test_a_gap_that_goes_on_through_the_lines_around_is_no_space() -> None:
    lines = [spread(100 + 30 * row, ("one", "two", "six", "ten"), {1: 1.5}) for row in range(3)]
    assert texts(lines) == ["one two", "six ten"] * 3


def test_a_gap_in_a_line_that_stands_alone_is_no_space() -> None:
    assert texts([spread(100, ("Total", "of", "all", "12.50"), {2: 2.0})]) == ["Total of all", "12.50"]


def test_a_gap_too_wide_for_any_space_is_none_even_in_justified_text() -> None:
    lines = [flush(JUSTIFIED[0], 100), spread(130, ("left", "of", "it", "right"), {2: 13.9}), flush(JUSTIFIED[2], 160)]
    assert texts(lines)[1:3] == ["left of it", "right"]


def test_words_stretched_so_far_that_they_seem_apart_are_one_line_again() -> None:
    words = [line(100, 130, "three"), line(220, 130, "words"), line(340, 130, "alone")]
    around = [line(100, y, "x" * 29) for y in (100, 160)]
    assert words[-1].box.x2 == around[0].box.x2
    (joined,) = [one for one in joined_again([*around, *words]) if one.box.y1 == 130]
    assert (joined.text, len(joined.places)) == ("three words alone", 17)
    assert joined.box == Box(100, 130, 390, 155)


def test_cells_that_reach_no_common_edge_stay_apart() -> None:
    cells = [line(100, 130, "three"), line(240, 130, "words"), line(420, 130, "alone")]
    assert len(joined_again([line(100, 100, "x" * 30), *cells])) == 4


def test_what_stands_now_left_and_now_right_is_read_from_top_to_bottom() -> None:
    right = [line(700, 100, "Invoice number: 17"), line(700, 130, "Date: 14 March")]
    left = [line(100, 20, "Harbor Supplies"), *(line(100, 190 + 30 * n, f"{n} Station Road") for n in range(3))]
    page = read([*left, *right])
    assert (
        page.text.split()
        == " ".join(
            ["Harbor Supplies Invoice number: 17 Date: 14 March", *(f"{n} Station Road" for n in range(3))]
        ).split()
    )


ROWS = (("Name", "City"), ("Ada", "Bern"), ("Bo", "Oslo"), ("Cy", "Rome"), ("Di", "Lima"), ("Ed", "Kyiv"))


def striped() -> tuple[list[Line], Rules, list[Box]]:
    """A table whose second, fourth and sixth rows have a background."""
    lines = [
        line(120 + 300 * at, 110 + 50 * row, text) for row, cells in enumerate(ROWS) for at, text in enumerate(cells)
    ]
    boxes = [Box(100, 100 + 50 * row, 700, 150 + 50 * row) for row in (1, 3, 5)]
    across = [Rule(y, box.x1, box.x2) for box in boxes for y in (box.y1, box.y2)]
    down = [Rule(x, box.y1, box.y2) for box in boxes for x in (box.x1, box.x2)]
    return lines, Rules(across, down), boxes


def test_the_striped_rows_of_a_table_are_its_rows() -> None:
    lines, rules, boxes = striped()
    assert stripes(boxes, lines, EM) == boxes
    assert without(rules, boxes) == Rules([rules.across[0], rules.across[-1]])  # where the stripes begin and end
    (table,) = [block for block in read(lines, rules).blocks if block.kind == "table"]
    assert table.text.split("\n") == ["\t".join(cells) for cells in ROWS]


@pytest.mark.parametrize("between", [[], [line(120, 270, "A sentence that stands between two boxes")]])
def test_boxes_one_under_the_other_are_no_stripes(between: list[Line]) -> None:
    boxes = [Box(100, 100, 700, 240), Box(100, 320, 700, 460)]
    lines = [line(120, y, "What a box says in a line or two") for y in (120, 160, 340, 380)]
    assert stripes(boxes, [*lines, *between], EM) == []


def test_a_word_too_long_for_its_column_ends_at_the_columns_edge() -> None:
    long = line(100, 190, "https://www.example.org/a/very/long/path/to/it")
    text = [line(100, 100 + 30 * at, "some words of this column here") for at in (0, 1, 2, 4, 5)]
    beside = [line(460, 100 + 30 * at, "and of the next") for at in range(6)]
    assert within_columns([*text, long, *beside])[5].box.x2 == 400
    assert within_columns([*text, long])[5] == long  # nothing stands beside it


def test_the_longest_word_of_a_column_of_a_table_is_left_as_it_is() -> None:
    mails = [line(100, 100 + 45 * at, text) for at, text in enumerate(["jo@acme.io", "an@acme.io", "li@acme.io"])]
    long = line(100, 235, "alexander.whitfield@acme.io")
    places = [line(460, 100 + 45 * at, "Leeds") for at in range(4)]
    assert within_columns([*mails, long, *places])[3] == long
