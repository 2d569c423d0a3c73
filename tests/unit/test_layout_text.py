"""Spaces, marks and markdown."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from workers.layout.blocks import Block
from workers.layout.cells import cut_apart
from workers.layout.lines import Box, Line
from workers.layout.markdown import render
from workers.layout.spacing import mend
from workers.layout.words import joined, numeric

EM = 20.0


def spread(text: str, gaps: dict[int, float]) -> Line:
    """A line, half an em a letter, with a gap of so many ems after the letters at the places given."""
    places, free, x = [], [], 0.0
    for at in range(len(text)):
        places.append(x + EM / 4)
        x += EM / 2
        if at in gaps:
            free.append((x, x + gaps[at] * EM))
            x += gaps[at] * EM
    return Line(Box(0, 0, x, 25), text, 1.0, tuple(places), tuple(free), EM)


def mended(line: Line) -> str:
    return mend([line])[0].text


def test_a_space_dropped_between_chinese_and_latin_is_put_back() -> None:
    assert mended(spread("使用Python编程", {1: 0.3, 7: 0.3})) == "使用 Python 编程"


def test_latin_set_close_to_chinese_gets_no_space() -> None:
    assert mended(spread("使用Python编程", {1: 0.1, 7: 0.1})) == "使用Python编程"


def test_a_glyph_with_white_of_its_own_gets_no_space_on_a_page_set_close() -> None:
    page = [spread("使用Python编程", {1: 0.1, 7: 0.1}), spread("在well上海", {0: 0.1, 4: 0.3})]
    assert mend(page)[1].text == "在well上海"


def test_words_far_apart_are_parted_and_others_left() -> None:
    assert mended(spread("but1372", {2: 0.7})) == "but 1372"
    assert mended(spread("but1372", {2: 0.3})) == "but1372"


def test_the_white_beside_a_narrow_digit_is_no_space() -> None:
    assert mended(spread("156 items", {0: 0.3, 2: 0.0, 3: 0.34})) == "156 items"


def test_a_dash_with_white_on_both_sides_keeps_its_spaces_between_numbers() -> None:
    assert mended(spread("17-140", {1: 0.32, 2: 0.32})) == "17 - 140"
    assert mended(spread("2024-10-18", {3: 0.1, 4: 0.1})) == "2024-10-18"
    assert mended(spread("B-17", {0: 0.3, 1: 0.3})) == "B-17"


def test_the_dashes_of_type_of_one_width_have_no_spaces() -> None:
    assert mended(spread("2024-10-18", dict.fromkeys(range(9), 0.3))) == "2024-10-18"


def test_a_mark_with_the_room_of_a_square_is_full_width() -> None:
    assert mended(spread("我们用them;他们", {6: 0.1, 7: 0.6})) == "我们用them；他们"
    assert mended(spread("我们用them;他们", {6: 0.1, 7: 0.2})) == "我们用them;他们"


def test_a_dot_with_room_after_it_at_the_start_of_a_line_is_a_bullet() -> None:
    assert mended(spread("·数据科学", {0: 0.4})) == "• 数据科学"
    assert mended(spread("· items", {0: 0.4})) == "• items"
    assert mended(spread("·5 km", {0: 0.05})) == "·5 km"
    assert mended(spread("卡尔·马克思", {2: 0.4})) == "卡尔·马克思"


def test_full_width_marks_in_latin_text_are_made_plain() -> None:
    assert mended(spread("see （1）：yes", {})) == "see (1):yes"


@pytest.mark.parametrize(
    ("read", "meant"),
    [
        ("wor1d", "world"),
        ("86o6", "8606"),
        ("sha1", "sha1"),
        ("x86", "x86"),
        ("用1ike和we11", "用like和well"),
        ("用Goog1e和Exce1", "用Google和Excel"),
    ],
)
def test_digits_inside_words_and_letters_inside_numbers_are_mended(read: str, meant: str) -> None:
    assert mended(spread(read, {})) == meant


def test_a_line_is_cut_at_a_gap_wider_than_a_space() -> None:
    parts = cut_apart([spread("Total 12.50", {5: 2.0})])
    assert [part.text for part in parts] == ["Total", "12.50"]
    assert parts[0].box.x2 < parts[1].box.x1


def test_a_space_is_no_measure_of_the_letters_of_a_short_line() -> None:
    text, steps = "Unit Min", (16, 11, 10, 16, 21, 22, 10)
    places = tuple(414.0 + sum(steps[:at]) for at in range(len(text)))
    short = Line(Box(404, 0, 524, 30), text, 1.0, places, ((455.0, 478.0),), 22)
    assert [part.text for part in cut_apart([short])] == ["Unit", "Min"]


def test_chinese_lines_are_joined_without_a_space_and_latin_with_one() -> None:
    assert joined(["中文", "文字"]) == "中文文字"
    assert joined(["two", "words"]) == "two words"
    assert joined(["中文，", "word"]) == "中文，word"


@pytest.mark.parametrize("text", ["1,234.50", "$12", "87%", "2024-03-01", "-5", "12 kg"])
def test_amounts_are_numbers(text: str) -> None:
    assert numeric(text)


@pytest.mark.parametrize("text", ["Invoice No. 12", "A4 paper", "", "n/a"])
def test_words_are_no_numbers(text: str) -> None:
    assert not numeric(text)


AWKWARD = [
    "a * b * c", "snake_case and _this_", "<b>bold</b> & &amp;", "[link](here)", "# 5", "- dash", "1986. A year",
    "~~no~~", "back\\slash `code`", "+ plus", "===", "![x](y)", "* star", "10) ten",
]  # fmt: skip


@pytest.mark.parametrize("text", AWKWARD)
def test_a_paragraph_renders_as_the_text_that_was_read(text: str) -> None:
    markdown = render([Block("paragraph", Box(0, 0, 1, 1), [text])])
    tokens = MarkdownIt("commonmark").enable("table").enable("strikethrough").parse(markdown)
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    children = tokens[1].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    assert "".join(child.content for child in children) == text


def test_headings_are_ranked_by_size() -> None:
    sizes = {"Title": 40.0, "Part": 30.0, "Same part": 29.0, "Section": 24.0}
    blocks = [Block("heading", Box(0, 0, 1, 1), [text], size=size) for text, size in sizes.items()]
    assert render(blocks) == "# Title\n\n## Part\n\n## Same part\n\n### Section"


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("on 2017-08-I5", "on 2017-08-15"),
        ("202I-0I-04", "2021-01-04"),
        ("3o x 40", "30 x 40"),
        ("€18.9o each", "€18.90 each"),
        ("of 1,25o units", "of 1,250 units"),
        ("10l of O2 and H2O", "10l of O2 and H2O"),
        ("I/O 5 at 4 o'clock", "I/O 5 at 4 o'clock"),
    ],
)
def test_letters_like_digits_in_numbers_are_digits(text: str, meant: str) -> None:
    assert mended(spread(text, {})) == meant
