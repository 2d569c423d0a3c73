"""What is told of a crawled page, whatever its markup is."""

from __future__ import annotations

import json
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_tasks.jobs.crawls import NewCrawl
from workers.crawled import LONGEST_TEXT, crawl_of
from workers.crawled_language import language_of
from workers.crawled_markup import MOST_CHARACTERS, MOST_LINKS, look_through, types_in

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SENTENCE = "The council approved the budget for the next year and asked the treasurer to report in May. "
PAGE = """<html lang="en-GB"><head><title>Budget</title><base href="/town/">
<meta property="og:description" content="second"><meta name="Description" content=" What was
 decided "><meta property="og:locale" content="en_US">
<link rel="alternate canonical" href="budget?y=2026">
<script type="application/ld+json">{"@graph": [{"@type": ["NewsArticle", "Article"], "author": {"@type": "Person"}}]}
</script><script>var a = "<h1>no heading</h1><a href='/no'>no link</a>";</script></head>
<body><h1>The <b>budget</b></h1><template><h2>unseen</h2></template>
<p>Read <a href="may.html#top">what  came
 of it</a>, <a href="may.html#top">again</a>, <a href="javascript:alert(1)">no</a>, <a href="mailto:a@b.c">no</a>,
<a href="http://[bad/">no</a> <a name="anchor">no</a> <a href="//other.example/x?a=1&amp;b=2">other</a></p>
<h3>Costs</h3><table><tr><td>1</td></tr></table><form><input type="hidden"><input><select></select></form><img src="a">
</body></html>"""


def harvest(text: str = SENTENCE, **changes: Any) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "url": "http://town.example/start",
        "final_url": "http://town.example/news/today",
        "title": "Budget",
        "text": text,
        "text_runs": [{"text": text, "box": [0, 0, 100, 50]}],
        "width": 1000,
        "height": 500,
        **changes,
    }


def crawled(dom: str, text: str = SENTENCE, markdown: str = "", **changes: Any) -> NewCrawl:
    return crawl_of(harvest(text, **changes), dom, markdown, session_id="s1", now=NOW)


def test_what_a_page_says_of_itself_is_found() -> None:
    crawl = crawled(PAGE, markdown="# The budget")
    assert (crawl.url, crawl.crawl_session_id, crawl.language) == ("http://town.example/start", "s1", "en")
    assert crawl.extracted_content == {
        "title": "Budget",
        "description": "What was decided",
        "languageTags": ["en-GB", "en-US"],
        "canonicalUrl": "http://town.example/town/budget?y=2026",
        "headings": [{"level": 1, "text": "The budget"}, {"level": 3, "text": "Costs"}],
        "links": [
            {"text": "what came of it", "href": "http://town.example/town/may.html#top"},
            {"text": "other", "href": "http://other.example/x?a=1&b=2"},
        ],
        "counts": {"links": 6, "images": 1, "tables": 1, "forms": 1, "inputs": 2},
        "structuredDataTypes": ["NewsArticle", "Article", "Person"],
        "text": SENTENCE,
        "markdown": "# The budget",
        "truncated": False,
    }
    assert crawl.view().wire()["extractedContent"] == crawl.extracted_content


def test_lists_and_texts_end_somewhere_and_say_so() -> None:
    dom = "".join(f'<h2>{n}</h2><a href="/{n}">{"x" * 5000}</a>' for n in range(3000))
    content = crawled(dom, "y" * (LONGEST_TEXT + 1)).extracted_content
    assert content["counts"]["links"] == 3000
    assert len(content["links"]) == MOST_LINKS
    assert content["truncated"]
    assert len(json.dumps(content)) < LONGEST_TEXT + 300_000


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (SENTENCE, "en"),
        ("Le conseil a approuvé le budget de l'année prochaine et demandé un rapport.", "fr"),
        ("議会は来年度の予算を承認し、会計担当者に五月の報告を求めた。", "ja"),
        ("议会批准了明年的预算，并要求财务主管在五月提交报告。", "zh"),
        ("وافق المجلس على ميزانية العام المقبل وطلب من أمين الصندوق تقديم تقرير.", "ar"),
        ("", None),
        ("Login", None),
        ("12.00 34.50 99.90 " * 50, None),
        ("Home About Contact Login Register Cart", None),
        ("x = f(y); z[q] = {w: k}; " * 20, None),
    ],
)
def test_a_language_is_told_where_there_is_enough_text(text: str, language: str | None) -> None:
    assert language_of(text) == language


def paragraphs(count: int) -> str:
    return f"<p>{SENTENCE * 3}</p>" * count


def links(count: int, around: str = "{}") -> str:
    return "".join(around.format(f'<a href="/{n}">Entry number {n}</a>') for n in range(count))


ROW = "<tr><td>Anna Long</td><td>12.50</td><td>2026-11-25</td></tr>"
LAYOUTS = {
    "an article between menus": ("article", links(30) + "<h1>News</h1>" + paragraphs(12) + links(10)),
    "an article whose paragraphs are no p": ("article", f"<div>{SENTENCE * 4}<br>{SENTENCE * 4}</div>" * 5),
    "a note": ("article", f"<h1>Note</h1><p>{SENTENCE * 2}</p>"),
    "results of a search": ("listing", links(40, "<li>{} <span>of the year</span></li>")),
    "a listing laid out as a table": ("listing", f"<table>{links(40, '<tr><td>{}</td></tr>')}</table>"),
    "figures": ("table", f"<h1>Costs</h1><p>{SENTENCE}</p><table>{ROW * 40}</table>"),
    "a table that frames an article": ("article", f"<table><tr><td>{paragraphs(8)}</td></tr></table>"),
    "a registration": ("form", "<form>" + "<label>Name <input></label>" * 5 + "</form>" + links(12)),
    "an article with a search box": ("article", "<form><input><input><input></form>" + paragraphs(12)),
    "thumbnails": ("gallery", "<a href='/p'><img src='a'></a>" * 30),
    "nothing": ("other", ""),
    "a few words": ("other", "<h1>Closed</h1><p>Come back tomorrow.</p>"),
}


@pytest.mark.parametrize(("layout", "dom"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_told_by_what_there_is_most_of(layout: str, dom: str) -> None:
    assert crawled(f"<html><body>{dom}</body></html>").layout_type == layout


def test_many_images_beside_much_text_are_no_gallery() -> None:
    dom = "<img src='a'>" * 30 + "<span>label</span>" * 10
    runs = [{"text": "label", "box": [0, 0, 1000, 300]}]
    assert crawled(dom, text_runs=runs).layout_type == "other"


# -- hostile markup ---------------------------------------------

BIG = 30_000_000
HOSTILE = {
    "deep": "<div>" * 100_000 + "deep" + "</div>" * 100_000,
    "deeper": "<b>" * (BIG // 3),
    "a gigantic attribute": '<img src="data:' + "A" * BIG + '"><a href="/after">after</a>',
    "an attribute that never ends": '<a title="' + "x" * BIG,
    "countless attributes": "<a" + " a=1" * (BIG // 4) + ">",
    "attributes without an end": "<a " + "b " * (BIG // 2),
    "quotes": "<a " + "b='" * (BIG // 3),
    "brackets": "<" * BIG,
    "ends": "</" * (BIG // 2),
    "comments": "<!--" * (BIG // 4),
    "declarations": "<!" * (BIG // 2),
    "sections": "<![x[" * 100_000 + "<![CDATA[" * 100_000,
    "instructions": "<?" * (BIG // 2),
    "a script without an end": "<script>" + "</scrip " * (BIG // 8),
    "ampersands": "&" * BIG + "&#" * 100_000,
    "a character of many digits": "&#" + "9" * 5000 + ";" + '<a href="&#' + "9" * 5000 + '">',
    "headings, links and cells": "<h1><a href=/x>y</a><td>" * (BIG // 24),
    "styles": "<style>" + "<p>" * (BIG // 3),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_markup_takes_long(name: str) -> None:
    began = time.process_time()
    look_through(HOSTILE[name], "http://a.example/")
    assert time.process_time() - began < 20


def test_what_is_kept_while_looking_is_small() -> None:
    dom = ('<a href="/{}">' + "x" * 1000 + "</a>") * 8000 + "<i " + "a=1 " * 2_000_000
    tracemalloc.start()
    look_through(dom, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


def test_what_follows_a_construct_that_was_given_up_is_read() -> None:
    found = look_through('<img src="data:' + "A" * 3_000_000 + '"><a href="/after">after</a>', "http://a.example/")
    assert found.links == [("after", "http://a.example/after")]
    assert found.amounts.images == 1
    assert found.truncated
    assert look_through("x" * (MOST_CHARACTERS + 1), None).truncated
    assert not look_through("<p>x</p>", None).truncated


def test_structured_data_of_any_form_gives_its_types() -> None:
    assert list(types_in('{"@type": "A", "b": [{"@type": ["B", 1]}]}')) == ["A", "B"]
    for bad in ("", "{", "[" * 200_000, "9" * 10_000, "null", '"x"', '{"@type": {"@type": "C"}}'):
        assert list(types_in(bad)) in ([], ["C"])


SCRAPS = """< > <! <!-- --> <![x[ ]]> <? / = " ' & &# &#x0; &#xd800; a td </td> h1 </h1> <a href="//[" <base href="%"
    script <script type="application/ld+json"> </script> <meta content=" <template> </template> 文"""
PIECES = st.sampled_from([*SCRAPS.split(), " ", "\0", "\ud800"])
MARKUP = st.lists(PIECES | st.text(max_size=8), max_size=60).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    MARKUP,
    st.text(max_size=200),
    st.text(max_size=30) | st.none(),
    st.lists(st.integers(-9, 9), min_size=4, max_size=4),
)
def test_no_page_makes_it_raise(dom: str, text: str, title: str | None, box: list[int]) -> None:
    runs = [{"text": text, "box": box}]
    crawl = crawled(dom, text, text, title=title, text_runs=runs, url=text or None, final_url=None, width=1, height=1)
    stored = json.dumps(crawl.extracted_content, ensure_ascii=False)
    assert "\\u0000" not in stored
    stored.encode()
