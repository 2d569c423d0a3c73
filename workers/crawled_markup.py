"""What a page's DOM says of itself: headings, links, descriptions, and how much there is of what.

The DOM is looked through once, without building a tree: however deep it is, it costs no more. All that is kept is
bounded; a DOM that has more than is looked at says so (`truncated`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

from workers.crawled_layout import Amounts

# Bounds on what is looked at. Steps are tags, their attributes and pieces of text: a million take some five seconds.
MOST_CHARACTERS = 16 * 1024 * 1024
MOST_STEPS = 1_000_000
PIECE = 128 * 1024  # characters
LONGEST_CONSTRUCT = 256 * 1024  # characters of a tag or a comment: the parser needs a hundred times as much for one

# Bounds on what is kept.
MOST_HEADINGS = 200
MOST_LINKS = 500
MOST_NAMES = 20
LONGEST_TEXT = 300
LONGEST_URL = 2000
LONGEST_JSON = 1024 * 1024
MOST_NODES = 10_000

LONG_BLOCK = 80  # characters that make a block of text prose
HEADINGS = {f"h{level}": level for level in range(1, 7)}
FIELDS = frozenset({"select", "textarea"})
NO_FIELDS = frozenset({"hidden", "submit", "button", "reset", "image"})
UNSEEN = frozenset({"script", "style", "template", "noscript", "title"})
INLINE_NAMES = """a abbr b bdi bdo big br cite code data del dfn em font i img ins kbd label mark q ruby rt s samp small
    span strike strong sub sup time tt u var wbr"""
INLINE = frozenset(INLINE_NAMES.split())


@dataclass
class Markup:
    """What was found. links: (text, address) of different addresses; amounts count all of them."""

    amounts: Amounts = field(default_factory=Amounts)
    tables: int = 0
    forms: int = 0
    description: str | None = None
    canonical_url: str | None = None
    language_tags: list[str] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    json_types: list[str] = field(default_factory=list)
    truncated: bool = False


def look_through(dom: str, url: str | None) -> Markup:
    """Read a DOM's HTML. url: where it came from, for the addresses in it. Raises nothing, whatever the markup is."""
    reader = _Reader(url or "")
    reader.found.truncated = len(dom) > MOST_CHARACTERS
    try:
        for start in range(0, min(len(dom), MOST_CHARACTERS), PIECE):
            reader.look_at(dom[start : min(start + PIECE, MOST_CHARACTERS)])
        reader.end_block()
    except _Enough:
        reader.found.truncated = True
    return reader.found


class _Enough(Exception):
    """More steps than are allowed."""


class _Kept:
    """Text that is kept up to a length, its white space made single."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.length = 0

    def add(self, text: str) -> None:
        if self.length < LONGEST_TEXT:
            self.pieces.append(text[:LONGEST_TEXT])
            self.length += len(text)

    def __str__(self) -> str:
        return shortened(" ".join(self.pieces))


def shortened(text: str, limit: int = LONGEST_TEXT) -> str:
    """Text in one line, up to a length."""
    return " ".join(text[: 4 * limit].split())[:limit]


class _Reader(HTMLParser):
    def __init__(self, url: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found, self.base = Markup(), url
        self.steps = self.unseen = self.in_cells = self.block = 0
        self.skipping = False
        self.link: tuple[str | None, _Kept] | None = None
        self.heading: tuple[int, _Kept] | None = None
        self.json: list[str] | None = None
        self.addresses: set[str] = set()

    def look_at(self, piece: str) -> None:
        """Feed a piece. A construct that grows too long is given up, with all up to the next `>`."""
        if self.skipping:
            _, end, piece = piece.partition(">")
            self.skipping = not end
        try:
            self.feed(piece)
        except (ValueError, AssertionError):  # `&#` and 5,000 digits, `<![x[`: nothing that a browser writes
            self._give_up()
        if len(self.rawdata) > LONGEST_CONSTRUCT:
            self._give_up()

    def _give_up(self) -> None:
        if name := re.match(r"<([a-z][a-z0-9]{0,20})[\s/]", self.rawdata, re.IGNORECASE):
            self.handle_starttag(name[1].lower(), [])
        self.skipping = self.cdata_elem is None
        self.rawdata = ""
        self.found.truncated = True

    def _step(self, count: int = 1) -> None:
        self.steps += count
        if self.steps > MOST_STEPS:
            raise _Enough

    # -- tags ---------------------------------------------

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._step(1 + len(attrs))
        amounts = self.found.amounts
        if tag not in INLINE:
            self.end_block()
        if tag in UNSEEN:
            self.unseen += 1
            if tag == "script" and "ld+json" in (dict(attrs).get("type") or ""):
                self.json = []
        elif tag in ("html", "meta", "link", "base"):
            self._head(tag, {name: value or "" for name, value in reversed(attrs)})
        elif self.unseen:
            return
        elif tag == "a":
            self._end_link()
            href = dict(attrs).get("href")
            self.link = (href, _Kept())
            amounts.links += href is not None
        elif tag in HEADINGS:
            self._end_heading()
            self.heading = (HEADINGS[tag], _Kept())
        elif tag in ("td", "th"):
            amounts.cells += 1
            self.in_cells += 1
        elif tag in FIELDS or (tag == "input" and (dict(attrs).get("type") or "").lower() not in NO_FIELDS):
            amounts.inputs += 1
        elif tag == "img":
            amounts.images += 1
        else:
            self.found.tables += tag == "table"
            self.found.forms += tag == "form"

    def handle_endtag(self, tag: str) -> None:
        self._step()
        if tag not in INLINE:
            self.end_block()
        if tag in UNSEEN:
            self.unseen = max(0, self.unseen - 1)
            self._end_json()
        elif tag == "a":
            self._end_link()
        elif tag in HEADINGS:
            self._end_heading()
        elif tag in ("td", "th"):
            self.in_cells = max(0, self.in_cells - 1)

    # -- text ---------------------------------------------

    def handle_data(self, data: str) -> None:
        self._step()
        if self.json is not None:
            self.json.append(data)
        text = data.strip()
        if self.unseen or not text:
            return
        amounts, length = self.found.amounts, len(text)
        amounts.text += length
        if self.in_cells:
            amounts.cell_text += length
        if self.heading is not None:
            self.heading[1].add(text)
        if self.link is None:
            self.block += length
            return
        self.link[1].add(text)
        amounts.link_text += length
        if self.in_cells:
            amounts.cell_links += length

    def end_block(self) -> None:
        """What stood together is prose if there was enough of it."""
        if self.block >= LONG_BLOCK:
            self.found.amounts.prose += self.block
        self.block = 0

    def _end_link(self) -> None:
        link, self.link = self.link, None
        if link is None or link[0] is None or len(self.found.links) >= MOST_LINKS:
            return
        address = self._absolute(link[0])
        if address is not None and address not in self.addresses:
            self.addresses.add(address)
            self.found.links.append((str(link[1]), address))

    def _end_heading(self) -> None:
        heading, self.heading = self.heading, None
        if heading is not None and len(self.found.headings) < MOST_HEADINGS and (text := str(heading[1])):
            self.found.headings.append((heading[0], text))

    # -- what the page says of itself ---------------------------------------------

    def _head(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "html":
            self._language(attributes.get("lang", ""))
        elif tag == "base" and "href" in attributes:
            self.base = self._absolute(attributes["href"]) or self.base
        elif tag == "link" and "canonical" in attributes.get("rel", "").lower().split():
            self.found.canonical_url = self.found.canonical_url or self._absolute(attributes.get("href", ""))
        elif tag == "meta":
            name = (attributes.get("name") or attributes.get("property") or attributes.get("http-equiv") or "").lower()
            content = attributes.get("content", "")
            if name == "description" or (name == "og:description" and self.found.description is None):
                self.found.description = shortened(content, 4 * LONGEST_TEXT) or self.found.description
            elif name in ("content-language", "og:locale"):
                self._language(content)

    def _language(self, tag: str) -> None:
        tags = self.found.language_tags
        name = tag.strip()[:35].replace("_", "-")
        if name and name not in tags and len(tags) < MOST_NAMES:
            tags.append(name)

    def _absolute(self, href: str) -> str | None:
        """The address of an http(s) link, or None."""
        try:
            address = urljoin(self.base, href[: 2 * LONGEST_URL].strip())
            usable = urlsplit(address).scheme in ("http", "https") and len(address) <= LONGEST_URL
        except ValueError:
            return None
        return address if usable else None

    def _end_json(self) -> None:
        text, self.json = "".join(self.json or ()), None
        if text and len(text) <= LONGEST_JSON:
            for name in types_in(text):
                if name not in self.found.json_types and len(self.found.json_types) < MOST_NAMES:
                    self.found.json_types.append(name)


def types_in(json_ld: str) -> Iterator[str]:
    """The types that structured data (JSON-LD) names."""
    try:
        left: list[Any] = [json.loads(json_ld)]
    except (ValueError, RecursionError):
        return
    for _ in range(MOST_NODES):
        if not left:
            return
        node = left.pop()
        if isinstance(node, dict):
            names = node.get("@type")
            yield from (name[:100] for name in (names if isinstance(names, list) else [names]) if isinstance(name, str))
            node = list(node.values())
        if isinstance(node, list):
            left.extend(child for child in reversed(node[:MOST_NODES]) if isinstance(child, dict | list))
