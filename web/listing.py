"""Lists that are given a piece at a time: how long a piece is, and the cursor of the one after it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar
from uuid import UUID

from flask import request

from ocr_tasks.errors import InvalidOption

LIST_LIMIT = 200
USUAL_LIMIT = "50"


class Listed(Protocol):
    """What a list is ordered by: the newest first."""

    @property
    def id(self) -> UUID: ...
    @property
    def created_at(self) -> datetime: ...


_Listed = TypeVar("_Listed", bound=Listed)


def limit_asked_for() -> int:
    """How many are wanted, by `?limit=`; raises InvalidOption."""
    given = request.args.get("limit", USUAL_LIMIT)
    if not (given.isascii() and given.isdigit() and len(given) <= 9 and 1 <= int(given) <= LIST_LIMIT):
        raise InvalidOption(
            f"limit: {given[:40]!r} is not a number from 1 to {LIST_LIMIT}.",
            field="limit",
            value=given[:40],
            limit=LIST_LIMIT,
        )
    return int(given)


def cursor_asked_for() -> tuple[datetime, UUID] | None:
    """The last one that was seen already, by `?cursor=`; raises InvalidOption."""
    given = request.args.get("cursor")
    if not given:
        return None
    try:
        created_at, _, last_id = base64.urlsafe_b64decode(given.encode()).decode().partition("|")
        return datetime.fromisoformat(created_at), UUID(last_id)
    except (ValueError, binascii.Error, UnicodeDecodeError):
        raise InvalidOption("cursor: not one that this service gave.", field="cursor", value=given[:80]) from None


def piece(found: Sequence[_Listed], limit: int) -> tuple[Sequence[_Listed], str | None]:
    """What is shown of one more than `limit`, and the cursor of what follows, if anything does."""
    shown = found[:limit]
    if len(found) <= limit:
        return shown, None
    return shown, base64.urlsafe_b64encode(f"{shown[-1].created_at.isoformat()}|{shown[-1].id}".encode()).decode()
