"""Reading order and blocks, from lines whose boxes are given: no model is needed."""

from __future__ import annotations

from collections.abc import Sequence

from ocr_tasks.contract import OcrOptions, PageResult
from workers.layout.lines import Box, Line
from workers.layout.page import arrange
from workers.layout.rules import Rule, Rules

EM = 20.0  # the type of these pages, in pixels; half of it is taken for the width of a letter


def line(x: float, y: float, text: str, em: float = EM, weight: float = 0.12) -> Line:
    """A line whose letters are half an em wide."""
    width = len(text) * em / 2
    places = tuple(x + (at + 0.5) * em / 2 for at in range(len(text)))
    return Line(Box(x, y, x + width, y + 1.25 * em), text, 0.99, places, (), em, weight)


def column(x: float, y: float, *texts: str, pitch: float = 30) -> list[Line]:
    return [line(x, y + at * pitch, text) for at, text in enumerate(texts)]


def read(
    lines: Sequence[Line], rules: Rules | None = None, figures: Sequence[Box] = (), tables: bool = True
) -> PageResult:
    def same(box: Box) -> tuple[int, int, int, int]:
        return int(box.x1), int(box.y1), int(box.x2), int(box.y2)

    return arrange(lines, rules or Rules(), figures, same, OcrOptions(extract_tables=tables))


LEFT = ("The first column starts here and", "goes on for some lines, as columns", "do, until it comes to its end.")
RIGHT = ("then the second one is read from", "its top, which is how people read", "a page that is set in columns.")


def test_two_columns_are_read_one_after_the_other() -> None:
    page = read(column(100, 100, *LEFT) + column(520, 100, *RIGHT))
    assert page.text.split("\n\n") == ["\n".join(LEFT), "\n".join(RIGHT)]


def test_a_title_over_two_columns_is_read_first_and_is_the_largest_heading() -> None:
    page = read([line(300, 20, "A title", em=44), *column(100, 120, *LEFT), *column(520, 120, *RIGHT)])
    assert [block.kind for block in page.blocks] == ["heading", "paragraph", "paragraph"]
    assert page.markdown.startswith("# A title\n")


def test_a_full_width_line_between_columns_ends_them() -> None:
    wide = "Between the two parts of the page there is a line that runs over both of its columns."
    lower = [line(100, 330 + 30 * at, text) for at, text in enumerate(LEFT)]
    beside = [line(520, 330 + 30 * at, text) for at, text in enumerate(RIGHT)]
    page = read(column(100, 100, *LEFT) + column(520, 100, *RIGHT) + [line(100, 250, wide)] + lower + beside)
    assert page.text.split() == " ".join([*LEFT, *RIGHT, wide, *LEFT, *RIGHT]).split()


def test_words_far_apart_in_one_line_do_not_make_columns() -> None:
    rows = column(100, 100, *LEFT)
    stretched = [line(100, 190, "Some words,"), line(250, 190, "and some more of them.")]
    assert read(rows + stretched).text.split("\n")[-1] == "Some words, and some more of them."


def test_framed_cards_are_read_card_by_card_and_row_by_row() -> None:
    cards = [(100, 100, "one"), (500, 100, "two"), (100, 300, "three"), (500, 300, "four")]
    lines = [
        part for x, y, name in cards for part in column(x + 20, y + 20, f"Card {name}", f"tells of {name}", "and ends.")
    ]
    rules = Rules(
        [Rule(at, x, x + 300) for x, y, _ in cards for at in (y, y + 140)],
        [Rule(at, y, y + 140) for x, y, _ in cards for at in (x, x + 300)],
    )
    read_names = [word for word in read(lines, rules).text.split() if word in ("one", "two", "three", "four")]
    assert read_names == ["one", "one", "two", "two", "three", "three", "four", "four"]


def test_a_navigation_bar_is_read_before_the_side_bar_under_it() -> None:
    bar = [line(x, 20, text) for x, text in ((40, "Home"), (200, "Products"), (400, "About"), (620, "Contact"))]
    side = column(40, 120, "Start", "Install", "Set up", "Run", pitch=50)
    main = [line(330, 133 + 30 * at, text) for at, text in enumerate([*LEFT, *RIGHT])]
    page = read(bar + side + main, Rules([Rule(80, 0, 900)], []))
    assert (
        page.text.split() == " ".join(["Home Products About Contact Start Install Set up Run", *LEFT, *RIGHT]).split()
    )


def test_paragraphs_are_told_by_the_gap_between_them() -> None:
    page = read(column(100, 100, *LEFT) + column(100, 230, *RIGHT))
    assert page.text == "\n".join(LEFT) + "\n\n" + "\n".join(RIGHT)
    assert page.markdown == " ".join(LEFT) + "\n\n" + " ".join(RIGHT)


def test_a_bold_line_over_a_paragraph_is_a_heading() -> None:
    page = read([line(100, 70, "In bold", weight=0.19), *column(100, 105, *LEFT)])
    assert [block.kind for block in page.blocks] == ["heading", "paragraph"]


def test_list_entries_keep_their_markers_and_their_second_lines() -> None:
    page = read(
        column(100, 100, "• first of them, which needs more", "than a single line", "• second", "1. one", "2) two")
    )
    assert page.markdown == "- first of them, which needs more than a single line\n- second\n\n1. one\n2) two"
    assert [block.kind for block in page.blocks] == ["list"] * 4


def test_lines_ended_on_purpose_stay_apart_in_markdown() -> None:
    address = ("Jane Miller", "12 Long Street", "10115 Berlin, which lies in Germany")
    assert read(column(100, 100, *address)).markdown == "  \n".join(address)


def test_a_picture_stands_where_it_is_and_keeps_the_words_in_it() -> None:
    caption, picture = line(100, 650, "Figure 1. A picture."), Box(100, 230, 500, 600)
    page = read([*column(100, 100, *LEFT), line(200, 400, "Label"), caption], figures=[picture])
    assert [(block.kind, block.text) for block in page.blocks[1:]] == [("figure", "Label"), ("paragraph", caption.text)]


def test_a_page_without_lines_is_flagged_empty() -> None:
    page = read([])
    assert (page.text, page.markdown, page.blocks, page.flags) == ("", "", (), ("empty",))


def test_hundreds_of_rows_are_ordered_in_seconds() -> None:
    rows = [
        line(x, 100 + 30 * at, text) for at in range(400) for x, text in ((100, LEFT[at % 3]), (520, RIGHT[at % 3]))
    ]
    assert read(rows).text.count("\n\n") == 1
