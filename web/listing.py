"""Lists that are given a piece at a time: how long a piece is, and the cursor of the one after it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from flask import request

from ocr_tasks.errors import InvalidOption

LIST_LIMIT = 200
USUAL_LIMIT = 50

_Listed = TypeVar("_Listed", bound=Any)


def number_asked_for(name: str, usual: int, largest: int) -> int:
    """A number from 1 to `largest` that a query parameter holds; raises InvalidOption."""
    given = request.args.get(name, str(usual))
    if not (given.isascii() and given.isdigit() and len(given) <= 9 and 1 <= int(given) <= largest):
        raise InvalidOption(
            f"{name}: {given[:40]!r} is not a number from 1 to {largest}.", field=name, value=given[:40], limit=largest
        )
    return int(given)


def limit_asked_for(usual: int = USUAL_LIMIT, largest: int = LIST_LIMIT) -> int:
    """How many are wanted, by `?limit=`; raises InvalidOption."""
    return number_asked_for("limit", usual, largest)


def cursor_asked_for() -> tuple[datetime, UUID] | None:
    """The time and id of the last one that was seen already, by `?cursor=`; raises InvalidOption."""
    given = request.args.get("cursor")
    if not given:
        return None
    try:
        at, _, last_id = base64.urlsafe_b64decode(given.encode()).decode().partition("|")
        return datetime.fromisoformat(at), UUID(last_id)
    except (ValueError, binascii.Error, UnicodeDecodeError):
        raise InvalidOption("cursor: not one that this service gave.", field="cursor", value=given[:80]) from None


def piece(
    found: Sequence[_Listed], limit: int, at: Callable[[_Listed], datetime] = lambda row: row.created_at
) -> tuple[Sequence[_Listed], str | None]:
    """What is shown of one more than `limit`, and the cursor of what follows, if anything does.

    at: the time that the list is ordered by.
    """
    shown = found[:limit]
    if len(found) <= limit:
        return shown, None
    last = shown[-1]
    return shown, base64.urlsafe_b64encode(f"{at(last).isoformat()}|{last.id}".encode()).decode()
