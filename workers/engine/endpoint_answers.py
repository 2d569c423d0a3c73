"""What an OpenAI-compatible server answers, taken apart; none of it is trusted to be what it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx


@dataclass(frozen=True)
class Completion:
    """An answer; `took_ms` is the time of the request that brought it, token counts as the server reports them."""

    text: str
    ended: bool
    took_ms: int
    prompt_tokens: int | None
    text_tokens: int | None


@dataclass(frozen=True)
class Trouble:
    """Why one try brought nothing. `busy`: for a reason that is surely not the request's."""

    reason: str
    busy: bool
    told_s: float | None = None


def completion_of(answer: httpx.Response, took_ms: int) -> Completion | Trouble:
    """The completion in an answer with status 200."""
    body = json_of(answer)
    try:
        choice = body["choices"][0]
        text = choice["message"]["content"] or ""
    except (KeyError, IndexError, TypeError):
        text = None
    if not isinstance(text, str):
        return Trouble("its answer was no chat completion", busy=False)
    usage = body.get("usage")
    count: Callable[[str], Any] = usage.get if isinstance(usage, dict) else lambda _: None
    return Completion(
        text,
        choice.get("finish_reason") == "stop",
        took_ms,
        _count(count("prompt_tokens")),
        _count(count("completion_tokens")),
    )


def _count(told: object) -> int | None:
    return told if isinstance(told, int) and 0 <= told < 2**31 else None


def json_of(answer: httpx.Response) -> dict[str, Any]:
    """An answer's object; an empty one for whatever else it is."""
    try:
        body = answer.json()
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def retry_after_s(answer: httpx.Response) -> float | None:
    """Seconds that a server asks to be left alone for, given as such or as a date."""
    told = answer.headers.get("Retry-After", "")
    if told.isascii() and told.isdigit():
        return float(told[:9])
    try:
        at = parsedate_to_datetime(told)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
