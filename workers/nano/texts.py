"""Text to train on and to be measured by: words in no order, so that only what is seen can be written down.

English words come from the manual that Python brings along; a tenth of them, chosen by their letters, are kept for
measuring and are never trained on. Numbers, amounts, dates, codes and words made up of syllables stand between them.
"""

from __future__ import annotations

import calendar
import re
import zlib
from functools import lru_cache
from pydoc_data.topics import topics
from random import Random
from string import ascii_letters, ascii_uppercase, digits

KEPT_OUT = 10  # one word of so many is kept for measuring
PUNCTUATION = ",.;:!?"
SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~€£§°–’“”"
ACCENTED = "äöüÄÖÜßéèàçñ"
ONSETS = ("b", *"cdfghjklmnpqrstvwxyz", "bl", "br", "ch", "cl", "dr", "fl", "gr", "pl", "qu", "sh", "st", "str", "th")
NUCLEI = (*"aeiou", "ai", "au", "ea", "ee", "ie", "oo", "ou")
CODAS = ("", *"bdfgklmnprstx", "ll", "ng", "nt", "rd", "ss", "st", "ck")
MONTHS = calendar.month_name[1:]


@lru_cache(maxsize=2)
def words(*, kept_out: bool) -> list[str]:
    """English words of two letters and more, those trained on or those kept out."""
    found = sorted(set(re.findall(r"\b[a-z]{2,14}\b", " ".join(topics.values()).lower())))
    return [word for word in found if (zlib.crc32(word.encode()) % KEPT_OUT == 0) == kept_out]


class Writer:
    """Draws text from a seeded generator. kept_out: with the words that are never trained on, and their own numbers."""

    def __init__(self, random: Random, *, kept_out: bool = False) -> None:
        self.random = random
        self.english = words(kept_out=kept_out)

    def words(self, characters: int) -> list[str]:
        """Words that make about so many characters with spaces between them."""
        found: list[str] = []
        left, capital = characters, True
        style = self.random.random()
        while left > 0:
            word, ends = self._word(style, capital=capital)
            word = word[: max(1, left)]
            found.append(word)
            left -= len(word) + 1
            capital = ends
        return found

    def _word(self, style: float, *, capital: bool) -> tuple[str, bool]:
        """A word with what follows it, and whether a sentence ends there; style: 0 prose to 1 codes and signs."""
        random = self.random
        kind = random.random()
        if kind < (0.82 if style < 0.8 else 0.45):
            word = random.choice(self.english) if random.random() < 0.8 else self._syllables()
            case = random.random()
            word = word.upper() if case < 0.06 else word.capitalize() if capital or case < 0.2 else word
            if random.random() < 0.03:
                place = random.randrange(len(word) + 1)
                word = word[:place] + random.choice(ACCENTED) + word[place:]
        else:
            word = self._figure()
        if random.random() < 0.04:
            word = random.choice(["({})", '"{}"', "'{}'", "[{}]", "“{}”", "{}’s", "{}'s", "*{}*"]).format(word)
        mark = random.choice(PUNCTUATION) if random.random() < 0.16 else ""
        return word + mark, mark in (".", "!", "?") and bool(mark)

    def _syllables(self) -> str:
        random = self.random
        count = random.choice([1, 2, 2, 3])
        return "".join(random.choice(part) for _ in range(count) for part in (ONSETS, NUCLEI, CODAS))[:12]

    def _figure(self) -> str:
        random = self.random
        number = random.randrange(10 ** random.randint(1, 6))
        kind = random.randrange(10)
        if kind < 3:
            return str(number)
        if kind == 3:
            return f"{random.choice('$€£')}{number:,}.{random.randrange(100):02}"
        if kind == 4:
            return f"{random.randrange(1, 32)} {random.choice(MONTHS)} {random.randrange(1950, 2050)}"
        if kind == 5:
            return f"{random.randrange(1950, 2050)}-{random.randrange(1, 13):02}-{random.randrange(1, 32):02}"
        if kind == 6:
            return f"{random.randrange(1000) / 10}{random.choice(['%', '°', ' kg', ' km', 'x', ' mm'])}"
        if kind == 7:
            letters = "".join(random.choices(ascii_uppercase, k=random.randint(1, 4)))
            return f"{letters}{random.choice(['-', '/', '', '_'])}{number}"
        if kind == 8:
            return "".join(random.choices(SIGNS, k=random.randint(1, 3)))
        return "".join(random.choices(ascii_letters + digits, k=random.randint(2, 8)))
