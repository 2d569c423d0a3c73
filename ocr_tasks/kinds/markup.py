"""HTML that comes as bytes, as the text it means."""

from __future__ import annotations

import codecs
import re

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
SAID = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
SAID_WITHIN = 1024
"""How far into a page its own word about its encoding counts, in bytes."""
USUAL = "windows-1252"
LATIN = {"ascii", "us-ascii", "iso-8859-1", "iso8859-1", "latin1", "latin-1", "l1"}
"""What is written with these names is in `USUAL`."""


def html_text(content: bytes) -> str:
    """A page's text: by its byte order mark, else UTF-8 if it is that, else by its own word, else as browsers guess.

    Source: WHATWG HTML, 13.2.3, with UTF-8 before the page's own word: what was written anew as UTF-8 keeps that.
    """
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    for encoding in ("utf-8", _said(content)):
        try:
            return content.decode(encoding, "strict" if encoding == "utf-8" else "replace")
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode(USUAL, "replace")


def _said(content: bytes) -> str:
    """The encoding that a page names, as browsers understand it."""
    said = SAID.search(content[:SAID_WITHIN])
    name = said[1].decode().lower() if said else USUAL
    return USUAL if name in LATIN or name.startswith("utf") else name
