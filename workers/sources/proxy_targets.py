"""Where a request to a proxy goes."""

from __future__ import annotations

import re
from collections.abc import Callable

from ocr_tasks.errors import InvalidUrl
from ocr_tasks.urls import split_authority
from workers.sources.traffic import Books

Target = tuple[str, int, str, str]
"""Host (canonical), port, authority (for `Host`), path and query."""


def authority_form(text: str) -> Target:
    """`host:port`, as CONNECT has it; raises InvalidUrl."""
    return *split_authority(text), text, ""


def absolute_form(text: str) -> Target:
    """`http://host:port/path`; path and query stay as they are. Raises InvalidUrl."""
    matched = re.fullmatch(r"(?i:http)://([^/?#@\\]*)([/?][^#]*)?(?:#.*)?", text)
    if matched is None:
        raise InvalidUrl(f"{text[:200]!r} is nothing that the proxy fetches: it must start with http://host.")
    target = matched[2] or "/"
    return *split_authority(matched[1], 80), matched[1], target if target.startswith("/") else f"/{target}"


def targeted(read: Callable[[str], Target], target: bytes, books: Books) -> Target:
    """A target, read in the form that it must have; raises InvalidUrl, booked for the place that it seems to name."""
    text = target.decode("latin-1")
    try:
        return read(text)
    except InvalidUrl as error:
        named = re.match(r"(?:\w*://)?([^/?#]{0,200}?)(?::([0-9]{1,5}))?(?:[/?#]|$)", text)
        books.refused(named[1] if named else "", int(named[2] or 80) if named else 0, error)
        raise
