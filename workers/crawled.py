"""What is stored of a crawled page beside its harvest: its content taken apart, its language, its kind of layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from ocr_tasks.errors import storable
from ocr_tasks.jobs.crawls import NewCrawl
from workers.crawled_language import language_of
from workers.crawled_layout import layout_type
from workers.crawled_markup import Markup, look_through

LONGEST_TEXT = 200_000
"""Characters of a page's text, and of its markdown, that a row holds; the harvest and the result have all of it."""


def crawl_of(harvest: Mapping[Any, Any], dom: str, markdown: str, *, session_id: str | None, now: datetime) -> NewCrawl:
    """A crawled page's row.

    harvest: its row; dom: its HTML after scripts; markdown: what was read on its pages. Never raises, whatever the
    page holds; takes seconds at most.
    """
    url, final_url = harvest["url"], harvest["final_url"]
    found = look_through(dom, final_url or url)
    found.amounts.text_cover = text_cover(harvest["text_runs"], harvest["width"] * harvest["height"])
    return NewCrawl(
        id=uuid4(),
        url=storable(url or final_url or ""),
        crawl_session_id=session_id,
        harvest_id=harvest["id"],
        language=language_of(harvest["text"]),
        layout_type=layout_type(found.amounts),
        extracted_content=_storable(extracted_content(found, harvest["title"], harvest["text"], markdown)),
        crawled_at=now,
    )


def extracted_content(found: Markup, title: str | None, text: str, markdown: str) -> dict[str, Any]:
    """What `extracted_content` holds. counts are of all there are; lists and texts are bounded, see `truncated`."""
    amounts = found.amounts
    return {
        "title": title,
        "description": found.description,
        "languageTags": found.language_tags,
        "canonicalUrl": found.canonical_url,
        "headings": [{"level": level, "text": heading} for level, heading in found.headings],
        "links": [{"text": label, "href": href} for label, href in found.links],
        "counts": {
            "links": amounts.links,
            "images": amounts.images,
            "tables": found.tables,
            "forms": found.forms,
            "inputs": amounts.inputs,
        },
        "structuredDataTypes": found.json_types,
        "text": text[:LONGEST_TEXT],
        "markdown": markdown[:LONGEST_TEXT],
        "truncated": found.truncated or max(len(text), len(markdown)) > LONGEST_TEXT,
    }


def text_cover(runs: Sequence[Mapping[str, Any]], area: int) -> float:
    """The share of a page's area (pixels) that the boxes of its text take; those that overlap count twice, up to 1."""
    covered = sum(max(0, x2 - x1) * max(0, y2 - y1) for x1, y1, x2, y2 in (run["box"] for run in runs))
    return float(min(1.0, covered / max(1, area)))


def _storable(value: Any) -> Any:
    """JSON of which Postgres takes every text."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {name: _storable(one) for name, one in value.items()}
    return [_storable(one) for one in value] if isinstance(value, list) else value
