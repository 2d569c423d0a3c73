"""What can be told from the text of a line alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

CHINESE = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\u3000-\u30ff]")
WIDE_MARKS = "，。；：！？、（）《》「」『』【】"
MARKS = WIDE_MARKS + "“”‘’"
MARKER = re.compile(r"^(?:(?P<bullet>[•·●○▪■◦‣∙*\-–—])\s*|(?P<number>\d{1,3}[.)]|[a-zA-Z][.)]|\(\w{1,3}\))\s+)(?=\S)")
NUMBER = re.compile(r"^[^A-Za-z\u2e80-\u9fff]*\d[^A-Za-z\u2e80-\u9fff]*[A-Za-z%€$£]{0,3}$")


def is_chinese(character: str) -> bool:
    """Whether a character is written without spaces around it."""
    return bool(CHINESE.match(character))


def joined(parts: Sequence[str]) -> str:
    """Pieces of running text as one: a space between them, none where Chinese meets Chinese."""
    text = ""
    for part in (part for part in parts if part):
        close = not text or text[-1] in WIDE_MARKS or (is_chinese(text[-1]) and is_chinese(part[0]))
        text += part if close else " " + part
    return text


def numeric(text: str) -> bool:
    """Whether a text is a number, an amount, a share or a date."""
    return bool(NUMBER.match(text.strip()))


def labelled(text: str) -> bool:
    """Whether a text announces what stands after it."""
    return text.rstrip().endswith((":", "："))


def letters_height(text: str) -> float:
    """How high the letters of a text are together, from the lowest to the highest point, in ems."""
    return sum(letters_reach(text))


def letters_reach(text: str) -> tuple[float, float]:
    """How far the letters of a text reach above and below the line that they stand on, in ems."""
    if any(is_chinese(character) for character in text):
        return 0.8, 0.12
    high = any(
        character.isupper() or character.isdigit() or character in "bdfhkl()[]{}/|$€£%&!?@" for character in text
    )
    low = any(character in "gjpqyQ()[]{}/|@" for character in text)
    over = 0.21 if high else 0.1 if "t" in text or "i" in text else 0.0
    return 0.52 + over, 0.21 if low else 0.12 if "," in text or ";" in text else 0.0
