"""Answers in the published output format become pages: labels, boxes, tables, formulas; broken ones lose no word."""

from __future__ import annotations

import random
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_tasks.contract import OcrOptions
from tests.answers import DOCUMENT, UNLIMITED, written
from workers.engine.answers import Answer, parse_answer
from workers.engine.answers.grounding import LABELS
from workers.safehtml import safe_html

WIDTH, HEIGHT = 1998, 2997  # two and three times the grid that models write boxes on
EOS = "<｜end▁of▁sentence｜>"


def parsed(text: str, *, ended: bool = True, width: int = WIDTH, height: int = HEIGHT, **options: Any) -> Answer:
    return parse_answer(text, width=width, height=height, ended=ended, options=OcrOptions(**options))


def kinds(answer: Answer) -> list[str]:
    return [block.kind for block in answer.blocks]


# -- the published format ---------------------------------------------


def test_a_grounded_page_becomes_blocks_in_its_order_with_boxes_in_pixels() -> None:
    page = parsed(DOCUMENT + EOS)
    assert [(block.kind, block.text, block.box) for block in page.blocks[:4]] == [
        ("heading", "Annual Report", (400, 300, 1600, 390)),
        ("paragraph", "The harbour office counted \\(1{,}204\\) ships.\nIt closed at noon.", (200, 450, 1800, 600)),
        ("heading", "1. Tonnage", (200, 660, 800, 720)),
        ("figure", "", (200, 750, 1800, 1500)),
    ]
    assert kinds(page)[4:] == ["paragraph", "table", "formula", "list", "other"]
    assert page.figures == ((200, 750, 1800, 1500),)
    assert page.flags == ()


def test_its_markdown_has_headings_figures_tables_and_formulas() -> None:
    assert parsed(DOCUMENT).markdown == (
        "# Annual Report\n\n"
        "The harbour office counted \\(1{,}204\\) ships.  \nIt closed at noon.\n\n"
        "## 1. Tonnage\n\n"
        "![figure](figures/1)\n\n"
        "Figure 1 | Ships by month\n\n"
        "| Month | Ships |\n| --- | --- |\n| May | < 90 |\n| June | 1,114 |\n\n"
        "\\[ m = \\sum_{i=1}^{n} m_i \\]\n\n"
        "- barges\n- tugs\n\n"
        "Page 4 of 6"
    )


def test_its_text_is_plain() -> None:
    assert parsed(DOCUMENT).text == (
        "Annual Report\n\nThe harbour office counted \\(1{,}204\\) ships.\nIt closed at noon.\n\n1. Tonnage\n\n"
        "Figure 1 | Ships by month\n\nMonth\tShips\nMay\t< 90\nJune\t1,114\n\n"
        "\\[\nm = \\sum_{i=1}^{n} m_i\n\\]\n\n- barges\n- tugs\n\nPage 4 of 6"
    )


def test_the_form_of_unlimited_ocr_is_read_as_well() -> None:
    page = parsed(UNLIMITED)
    assert kinds(page) == ["other", "heading", "paragraph", "figure", "paragraph", "table", "formula"]
    assert page.blocks[1].box == (200, 300, 1000, 360)
    assert page.text.startswith("CITY MAGAZINE\n\nFree Speech\n\nIt was a cold day.")
    assert page.markdown.endswith("\\[ x^2 \\]")


def test_text_without_grounding_is_taken_as_its_markdown() -> None:
    page = parsed("# Title\n\nTwo lines\nof text.\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
                  "<table><tr><td>x</td></tr></table>\nend", prompt="free")  # fmt: skip
    assert [(block.kind, block.text) for block in page.blocks] == [
        ("heading", "Title"),
        ("paragraph", "Two lines\nof text."),
        ("list", "- one\n- two"),
        ("table", "a\tb\n1\t2"),
        ("table", "x"),
        ("paragraph", "end"),
    ]
    assert {block.box for block in page.blocks} == {None}


def test_a_wrapping_fence_goes_and_code_stays_code() -> None:
    page = parsed("```markdown\n# Title\n```\n\n```python\nprint('`')\n```", prompt="free")
    assert [(block.kind, block.text) for block in page.blocks] == [("heading", "Title"), ("other", "print('`')")]
    assert page.markdown == "# Title\n\n```\nprint('`')\n```"


def test_what_was_located_is_a_block_at_each_place() -> None:
    answer = "<|ref|>table<|/ref|><|det|>[[0, 0, 999, 999], [333, 333, 666, 666]]<|/det|>"
    page = parsed(answer, prompt="locate", locate="table")
    assert [(block.kind, block.text, block.box) for block in page.blocks] == [
        ("other", "table", (0, 0, 1998, 2997)),
        ("other", "table", (666, 999, 1332, 1998)),
    ]


def test_a_reference_that_is_no_label_is_text() -> None:
    page = parsed("<|ref|>Total: 12.50<|/ref|><|det|>[[0, 0, 999, 111]]<|/det|>\n")
    assert [(block.kind, block.text, block.box) for block in page.blocks] == [
        ("other", "Total: 12.50", (0, 0, 1998, 333))
    ]


def test_a_heading_ends_at_an_empty_line() -> None:
    page = parsed("<|ref|>title<|/ref|><|det|>[[1, 1, 9, 9]]<|/det|>\n### Two\nlines\n\nand more")
    assert [(block.kind, block.text) for block in page.blocks] == [("heading", "Two\nlines"), ("paragraph", "and more")]
    assert page.markdown == "### Two lines\n\nand more"


def test_a_picture_keeps_the_text_in_it_and_a_table_beside_it() -> None:
    page = parsed("<|det|>image [0, 0, 333, 333]<|/det|>Label\n<table><tr><td>x</td></tr></table>end")
    assert [(block.kind, block.text) for block in page.blocks] == [
        ("figure", "Label"), ("table", "x"), ("paragraph", "end"),
    ]  # fmt: skip
    assert parsed("<|ref|>image<|/ref|>Label").blocks[0].box is None


def test_several_pictures_under_one_label_are_several_figures_and_text_gets_one_box_around_all() -> None:
    two = "<|det|>[[0, 0, 333, 333], [333, 333, 999, 999]]<|/det|>"
    page = parsed(f"<|ref|>image<|/ref|>{two}<|ref|>text<|/ref|>{two}word")
    assert page.figures == ((0, 0, 666, 999), (666, 999, 1998, 2997))
    assert [block.box for block in page.blocks] == [*page.figures, (0, 0, 1998, 2997)]
    assert page.markdown == "![figure](figures/1)\n\n![figure](figures/2)\n\nword"


@pytest.mark.parametrize("label", sorted(LABELS))
def test_every_label_has_its_kind(label: str) -> None:
    page = parsed(f"<|ref|>{label}<|/ref|><|det|>[[1, 1, 9, 9]]<|/det|>words")
    assert kinds(page) == [LABELS[label]]


@pytest.mark.parametrize(("answer", "kind", "text"), [
    ("<|det|>doodle [1, 2, 3, 4]<|/det|>words", "other", "words"),
    ("<|det|>doodle [1, 2<|/det|> words", "paragraph", "doodle [1, 2 words"),
    ("<|det|>doodle<|/det|> words", "paragraph", "doodle words"),
    ("<|det|>title<|/det|> words", "heading", "words"),
    ("<|det|>title [1, 2", None, ""),
    ("words <|det|>", "paragraph", "words"),
    ("words<|/ref|> and<|/det|> more", "paragraph", "words and more"),
    ("<|ref|>one <|ref|>two<|/ref|> three", "other", "one\n\ntwo three"),
])  # fmt: skip
def test_half_a_mark_and_unknown_labels_lose_no_text(answer: str, kind: str | None, text: str) -> None:
    page = parsed(answer)
    assert (kinds(page)[-1:], page.text) == ([kind] if kind else [], text)


# -- boxes ---------------------------------------------


@pytest.mark.parametrize(
    ("given_box", "box"),
    [
        ("[[0, 0, 999, 999]]", (0, 0, 1998, 2997)),
        ("[0,0,999,999]", (0, 0, 1998, 2997)),
        ("[[[0, 0, 999, 999]]]", (0, 0, 1998, 2997)),
        ("[[900, 800, 100, 200]]", (200, 600, 1800, 2400)),
        ("[[-5, 0, 1200, 999]]", (0, 0, 1998, 2997)),
        (f"[[0, 0, {'9' * 5000}, 999]]", (0, 0, 1998, 2997)),
        ("[[0.5, 0, 99.5, 9]]", (1, 0, 199, 27)),
        ("[[5, 5, 5, 90]]", None),
        ("[[1000, 5, 1010, 90]]", None),
        ("[[1, 2, 3]]", None),
        ("[[1, 2, 3, 4, 5]]", None),
        ("[[1, 2, 3, 4], [9, 9, 9]]", (2, 6, 6, 12)),
        ("[[1, 2, 3, 4], [10, 20, 3", (2, 6, 6, 12)),
        ("[]", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_box_is_put_right_or_dropped_and_its_text_kept(given_box: str, box: object) -> None:
    page = parsed(f"<|ref|>text<|/ref|><|det|>{given_box}<|/det|>\nwords")
    assert [(block.kind, block.text, block.box) for block in page.blocks] == [("paragraph", "words", box)]


def test_a_box_thinner_than_a_pixel_is_a_pixel_wide() -> None:
    for given_box, box in (("[[998, 998, 999, 999]]", (9, 9, 10, 10)), ("[[500, 500, 501, 501]]", (5, 5, 6, 6))):
        page = parsed(f"<|ref|>text<|/ref|><|det|>{given_box}<|/det|>x", width=10, height=10)
        assert page.blocks[0].box == box


@pytest.mark.parametrize("payload", ["__import__('os')", "[[1, 2, 3, a]]", "{1: 2}", "hello world", "[[1;2;3;4]]"])
def test_what_stands_in_place_of_a_box_is_text(payload: str) -> None:
    page = parsed(f"<|ref|>text<|/ref|><|det|>{payload}<|/det|>words")
    assert page.text == f"{payload}words"
    assert parsed(f"<|det|>{payload}<|/det|>words").text == f"{payload}words"


# -- tables ---------------------------------------------


def table(html: str, **options: Any) -> Answer:
    return parsed(f"<|ref|>table<|/ref|><|det|>[[0, 0, 999, 999]]<|/det|>\n{html}", **options)


def test_a_table_with_spans_stays_html_and_its_text_keeps_the_columns() -> None:
    page = table(
        '<table><tr><td rowspan="2">a</td><td colspan=\\"2\\">b</td></tr><tr><td>c</td><td>d</td></tr></table>'
    )
    assert page.text == "a\tb\n\tc\td"
    assert page.markdown == (
        '<table><tr><td rowspan="2">a</td><td colspan="2">b</td></tr><tr><td>c</td><td>d</td></tr></table>'
    )
    assert '<td colspan="2">b</td>' in safe_html(page.markdown)


@pytest.mark.parametrize("cut", range(8, len("<table><tr><td>one</td><td>two</td></tr></table>")))
def test_a_table_that_was_cut_off_is_closed(cut: int) -> None:
    page = table("<table><tr><td>one</td><td>two</td></tr></table>"[:cut], ended=False)
    assert kinds(page) == (["table"] if cut >= 15 else [])
    assert "onetwo".startswith(page.text.replace("\t", "")), page.text
    assert "<" not in page.text


def test_nothing_of_a_cell_can_become_html() -> None:
    page = table(
        '<table><tr><td colspan="2" onclick="x()"><script>alert(1)</script>&lt;img src=x&gt;</td></tr></table>'
    )
    assert page.text == "<script>alert(1)</script><img src=x>"
    html = safe_html(page.markdown)
    assert "onclick" not in html
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_spans_are_bounded() -> None:
    page = table('<table><tr><td colspan="9999" rowspan="9999">a</td><td>b</td></tr><tr><td>c</td></tr></table>')
    assert page.text.replace("\t", "") == "ab\nc"
    assert len(page.text) < 500
    assert 'colspan="100" rowspan="2"' in page.markdown


def test_text_around_and_between_the_cells_is_kept_in_order() -> None:
    page = table("before <table>one<tr>two<td>three</td>four</tr><caption>five</caption></table> after")
    assert re.findall(r"[a-z]+", page.text) == ["before", "one", "two", "three", "four", "five", "after"]


def test_a_table_with_pipes_is_a_table_and_one_without_any_cells_is_its_text() -> None:
    assert (
        kinds(table("| a \\| b | c |\n|---|---|\n| 1 | 2 |")),
        table("| a \\| b | c |\n|---|---|\n| 1 | 2 |").text,
    ) == (
        ["table"],
        "a | b\tc\n1\t2",
    )
    assert [(block.kind, block.text) for block in table("no cells here").blocks] == [("table", "no cells here")]


def test_pipes_in_cells_reach_html_as_they_were() -> None:
    for cell in ("a | b", "\\(\\|x\\|\\)", "\\(|x|\\)", "a \\", "\\\\|"):
        page = table(f"<table><tr><td>{cell}</td><td>next</td></tr><tr><td>one</td><td>two</td></tr></table>")
        assert page.text == f"{cell}\tnext\none\ttwo"
        html = safe_html(page.markdown)
        assert html.count("<td>") + html.count("<th>") == 4
        assert f">{cell}</t" in html


def test_without_tables_their_rows_are_lines_of_text() -> None:
    page = parsed(DOCUMENT, extract_tables=False)
    assert "table" not in kinds(page)
    assert "Month Ships\nMay < 90\nJune 1,114" in page.text


def test_without_layout_there_are_no_blocks_but_figures() -> None:
    page = parsed(DOCUMENT, include_layout=False)
    assert page.blocks == ()
    assert page.figures == ((200, 750, 1800, 1500),)
    assert page.markdown == parsed(DOCUMENT).markdown


# -- markdown that cannot bite ---------------------------------------------

HOSTILE = [
    "<img src=x onerror=alert(1)>", "<script>x</script>", "![x](http://evil/x.png)", "[x](javascript:alert)",
    "[x]: http://evil", "[x][y]", "<http://evil>", "\\\\<b>x</b>", "\\<b>", "\\\\[x](http://evil)",
    "\\( <img src=x> [x](http://evil) ![y](http://evil) \\)", "![figure](figures/1)",
    "![figure](/api/jobs/40b4fa1e-8f46-41a4-bd8e-c6d347411670/pages/1/figures/1)",
    "<table><tr><td>x</td></tr></table", "`<b>` ![figure](figures/1)",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("form", ["{}", "<|ref|>text<|/ref|><|det|>[[1, 1, 9, 9]]<|/det|>\n{}",
                                  "<|ref|>title<|/ref|><|det|>[[1, 1, 9, 9]]<|/det|>\n# {}",
                                  "<|ref|>equation<|/ref|><|det|>[[1, 1, 9, 9]]<|/det|>\n{}",
                                  "<|ref|>{}<|/ref|><|det|>[[1, 1, 9, 9]]<|/det|>"])  # fmt: skip
def test_what_was_read_can_make_neither_html_nor_links_nor_images(text: str, form: str) -> None:
    from markdown_it import MarkdownIt

    markdown = parsed(form.format(text)).markdown
    tokens = MarkdownIt("commonmark", {"html": True}).parse(markdown)  # a reader that would let everything through
    made = {token.type for token in tokens} | {inner.type for token in tokens for inner in token.children or ()}
    assert not made & {"html_block", "html_inline", "link_open", "image"}, markdown
    html = safe_html(markdown)
    assert "<img" not in html
    assert "<a" not in html


@pytest.mark.parametrize(
    ("text", "tag"),
    [("# no heading", "h1"), ("a\n===", "h1"), ("a\n---", "h2"), ("> 9 cm", "blockquote"), ("```\ncode", "pre"),
     ("***", "hr"), ("      far in", "pre")],
)  # fmt: skip
def test_lines_of_a_text_do_not_become_something_else(text: str, tag: str) -> None:
    page = parsed(f"<|ref|>text<|/ref|><|det|>[[1, 1, 9, 9]]<|/det|>\n{text}")
    assert f"<{tag}" not in safe_html(page.markdown)
    assert kinds(page) == ["paragraph"]


def test_formulas_reach_html_as_they_were_written() -> None:
    page = parsed("<|ref|>text<|/ref|><|det|>[[1, 1, 9, 9]]<|/det|>\nwith \\(a_1 * b_1 < c*\\) and \\[x_2\\] **bold**")
    assert "with \\(a_1 * b_1 &lt; c*\\) and \\[x_2\\] <strong>bold</strong>" in safe_html(page.markdown)
    assert page.text == "with \\(a_1 * b_1 < c*\\) and \\[x_2\\] bold"


# -- flags ---------------------------------------------

ROW = "<tr><td>May</td><td>90</td></tr>"


@pytest.mark.parametrize(
    ("text", "ended", "flags"),
    [
        ("A page.", True, ()),
        ("A page that was cut", False, ("no_eos", "truncated")),
        ("", True, ("empty",)),
        (f" {EOS}", True, ("empty",)),
        ("<|ref|>text<|/ref|><|det|>[[1, 1, 9, 9]]<|/det|>\n\n", True, ("empty",)),
        ("<|ref|>image<|/ref|><|det|>[[1, 1, 9, 9]]<|/det|>", True, ()),
        ("", False, ("no_eos", "truncated", "empty")),
        ("Once. " + "and again " * 40, False, ("no_eos", "repetition")),
        ("Once. " + "and again " * 60, True, ("repetition",)),
        ("Once. " + "and again " * 5, True, ()),
        ("A form\n<table>" + "<tr><td></td><td></td></tr>" * 60 + "</table>", True, ()),
        ("A form\n<table>" + "<tr><td></td><td></td></tr>" * 60, False, ("no_eos", "repetition")),
        ("<table>" + ROW * 60 + "</table>" + EOS, True, ("repetition",)),
        ("<table>" + ROW * 6 + "</table>", True, ()),
        ("".join(f"{n}. see page {n + 7}; " for n in range(200)), False, ("no_eos", "repetition")),
        ("".join(f"{n}. see page {n + 7}; " for n in range(200)), True, ()),
        ("".join(f"<tr><td>{n}</td><td>{n * 7}</td></tr>" for n in range(12)), False, ("no_eos", "truncated")),
        ("Name ......................... 12\n" * 3, True, ()),
    ],
)
def test_flags_tell_what_is_wrong_with_an_answer(text: str, ended: bool, flags: tuple[str, ...]) -> None:
    assert parsed(text, ended=ended).flags == flags


# -- whatever comes ---------------------------------------------

MARKUP = ["<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", EOS, "<table>", "</table>", "<tr>", "</tr>",
          "<td>", "</td>", '<td colspan="3">', "<br>", "<center>", "[[", "]]", "[1, 2, 3, 4]", "[[10, 20, 30, 40]]",
          "\n", "\n\n", "|", "**", "\\(", "\\)", "\\[", "\\]", "- ", "#", "```\n", "\\", "\0", "\ud800"]  # fmt: skip
MARKUP += [f"<|ref|>{label}<|/ref|><|det|>[[10, 20, 30, 40], [50, 60, 70, 80]]<|/det|>\n"
           for label in ("title", "text", "image", "table", "equation", "list", "code", "seal")]  # fmt: skip
WORDS = st.from_regex(r"[bfgjkqvwxz]{1,6}ß", fullmatch=True)  # no label is like these


@settings(max_examples=250, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(MARKUP), WORDS), max_size=40), st.booleans(), st.booleans())
def test_no_word_of_any_answer_is_lost_and_their_order_is_kept(parts: list[str], ended: bool, tables: bool) -> None:
    page = parsed(" ".join(parts), ended=ended, extract_tables=tables)
    words = [part for part in parts if part.endswith("ß")]
    assert re.findall("[bfgjkqvwxz]+ß", page.text) == words
    assert re.findall("[bfgjkqvwxz]+ß", page.markdown) == words
    for block in page.blocks:
        assert block.box is None or (
            0 <= block.box[0] < block.box[2] <= WIDTH and 0 <= block.box[1] < block.box[3] <= HEIGHT
        )


@settings(max_examples=200, deadline=None)
@given(st.text(), st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_any_text_gives_a_page_inside_its_edges(text: str, width: int, height: int, ended: bool) -> None:
    page = parsed(text, ended=ended, width=width, height=height)
    safe_html(page.markdown)
    assert ("no_eos" in page.flags) is not ended


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_cut_of_a_good_answer_keeps_the_words_before_it(data: st.DataObject) -> None:
    answer = data.draw(st.sampled_from([DOCUMENT, UNLIMITED]))
    cut = data.draw(st.integers(0, len(answer)))
    whole, part = parsed(answer).text.split(), parsed(answer[:cut], ended=False).text.split()
    assert part[:-1] == whole[: max(0, len(part) - 1)], answer[:cut][-60:]


LONG = {
    "marks": "<|ref|><|det|>", "open cells": "<td", "cells": "<td>x", "spans": '<td colspan="100" rowspan="100">x',
    "rows": "<tr><td rowspan=100 colspan=100>x</td></tr>", "stars": "**a", "backslashes": "\\", "formulas": "\\(\\[",
    "fences": "```\n", "fences of all lengths": "````\n```\n", "pipes": "|-|-\n", "hashes": "#\n", "lists": "- \n-",
    "brackets": "[[", "digits": "1", "boxes": "<|det|>[[1, 2, 3, 4], [", "blanks": " ", "lines": "\n", "tags": "<",
    "bars": "<｜", "tables": "<table>", "closed": "</table>", "bold lines": "***\n", "periods": "ab" * 8 + "c",
}  # fmt: skip


@pytest.mark.parametrize("piece", LONG.values(), ids=LONG)
def test_time_grows_with_the_length_and_no_faster(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        started = time.process_time()
        parsed(text, ended=False)
        return time.process_time() - started

    assert (
        min(seconds(48_000) for _ in range(3)) < 6 * seconds(12_000) + 0.05
    )  # the longer one is as much as 8,000 tokens may be


# -- there and back ---------------------------------------------


def test_a_layout_that_is_written_as_a_model_would_is_read_exactly() -> None:
    for seed in range(60):
        layout, answer = written(random.Random(seed))
        page = parsed(answer)
        assert [(block.kind, block.text, block.box) for block in page.blocks] == layout
        assert page.text == "\n\n".join(text for _, text, _ in layout if text)
