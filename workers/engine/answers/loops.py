"""Whether an answer went round in circles: its end repeats itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

LOOKED_AT = 20_000  # characters at the end
MARKUP = re.compile(r"<[^<>]{0,80}>|\s+")
CLOSING = re.compile(
    r"(?:\s|</?(?:table|tbody|thead|tr|td|th|center)>|<\|/?(?:ref|det)\|>|<｜[^｜<>\s]{1,40}｜>|[`|.])*\Z"
)

# How often, and over how many characters, something must come again and again. A model that ended by itself may have
# read a page that says it that often; one that had to be stopped was most likely caught in it.
TIMES_ENDED, LENGTH_ENDED = 10, 400
TIMES_STOPPED, LENGTH_STOPPED = 4, 150
TIMES_COUNTING, LENGTH_COUNTING = 20, 800  # a table of figures, cut at the length limit, looks much the same


def repeats(answer: str, *, ended: bool) -> bool:
    """Whether the end of an answer is one piece again and again; linear in its length.

    In an answer that was stopped, counting is a loop as well, and so are rows of empty cells.
    """
    if ended:
        piece = _periodic(_end_of(answer), TIMES_ENDED, LENGTH_ENDED)
        return piece is not None and any(map(str.isalnum, MARKUP.sub("", piece)))
    tail = answer[-LOOKED_AT:]
    if _periodic(tail, TIMES_STOPPED, LENGTH_STOPPED) is not None:
        return True
    return _periodic(re.sub(r"\d+", "0", tail), TIMES_COUNTING, LENGTH_COUNTING) is not None


def _end_of(answer: str) -> str:
    """The end of an answer, without the tags that close what went before."""
    tail = answer[-LOOKED_AT:]
    last = len(tail)
    while last and (tail[last - 1].isspace() or tail[last - 1] in ">`|."):
        opening = tail.rfind("<", max(0, last - 45), last) if tail[last - 1] == ">" else last - 1
        if opening < 0 or not CLOSING.match(tail, opening, last):
            break
        last = opening
    return tail[:last]


def _periodic(text: str, times: int, length: int) -> str | None:
    """The piece that the end of `text` repeats at least so many times, over at least so many characters."""
    backwards = text[::-1]
    for size, border in enumerate(_borders(backwards), start=1):
        period = size - border
        if size >= max(length, times * period):
            return text[len(text) - period :]
    return None


def _borders(text: str) -> Sequence[int]:
    """For each prefix, the length of the longest other prefix that it ends with (Knuth, Morris, Pratt)."""
    borders = [0] * len(text)
    border = 0
    for at in range(1, len(text)):
        while border and text[at] != text[border]:
            border = borders[border - 1]
        border += text[at] == text[border]
        borders[at] = border
    return borders
