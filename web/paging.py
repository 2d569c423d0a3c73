"""Lists that are read a part at a time: how long a part is, and where the next one begins."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from uuid import UUID

from ocr_tasks.errors import InvalidOption


def parse_number(name: str, given: str, largest: int) -> int:
    """A number from 1 to `largest` that a query parameter holds; raises InvalidOption."""
    if not (given.isascii() and given.isdigit() and len(given) <= 9 and 1 <= int(given) <= largest):
        raise InvalidOption(
            f"{name}: {given[:40]!r} is not a number from 1 to {largest}.", field=name, value=given[:40], limit=largest
        )
    return int(given)


def cursor(at: datetime, row_id: UUID) -> str:
    """What `next` says after this row."""
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{row_id}".encode()).decode()


def parse_cursor(given: str) -> tuple[datetime, UUID]:
    """The time and id of the last row that was seen; raises InvalidOption."""
    try:
        at, _, row_id = base64.urlsafe_b64decode(given.encode()).decode().partition("|")
        return datetime.fromisoformat(at), UUID(row_id)
    except (ValueError, binascii.Error, UnicodeDecodeError):
        raise InvalidOption("cursor: not one that this service gave.", field="cursor", value=given[:80]) from None
