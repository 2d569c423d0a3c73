"""Mends what the recogniser gets wrong about spaces and full-width marks, by the gaps between the letters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from workers.layout.lines import Line
from workers.layout.words import CHINESE, MARKS, is_chinese

BESIDE_CHINESE = 0.21  # of an em: without a space 90 % of gaps are below 0.2, with one 98 % above 0.23
SPACED, CLOSE = 0.13, 0.45  # the same on pages that set Latin among Chinese with spaces, and without
BETWEEN_WORDS = 0.5  # of an em: never reached inside a word, where the recogniser itself misses few spaces
LIKE_SPACES = 0.8  # of the gaps at the spaces that it did read in a line: inside words hardly any is above 0.7
LEAST_SPACE = 0.15  # of an em: narrower gaps at spaces are no measure
BESIDE_DASH, AROUND_DASH = 0.24, 0.75  # of an em, on each side or together: a hyphen has 0.2 at most
AFTER_BULLET = 0.25  # of an em
ONE_WIDTH = 0.3  # gaps a letter
AFTER_FULL_WIDTH = 0.42  # of an em: a full-width mark takes half of its square, 0.46 and more
FULL_WIDTH = {",": "，", ";": "；", ":": "：", "!": "！", "?": "？", ".": "。"}
HALF_WIDTH = {"，": ",", "；": ";", "：": ":", "！": "!", "？": "?", "（": "(", "）": ")", "．": ".", "％": "%"}

ALIKE = "oOIl"
ALIKE_DIGITS = str.maketrans(ALIKE, "0011")
NUMBERED = re.compile(r"(?<![^\s€$£(~-])[€$£(]?[\dOoIl]*\d[\dOoIl]*(?:[.,:/-]?[\dOoIl])*(?=[\s%).,;:]|$)")

DASH = re.compile(r"\d ?[-–] ?\d")

Placed = list[tuple[str, float]]  # characters and where their middles are


def mend(lines: Sequence[Line]) -> list[Line]:
    """The lines of a page with their spaces and marks as printed; those whose characters have no places stay."""
    placed = [line for line in lines if len(line.places) == len(line.text)]
    beside = sorted(gap for line in placed for gap in _gaps_beside_chinese(line))
    usual = beside[len(beside) // 2] if beside else BESIDE_CHINESE
    # A page keeps to one way; a glyph with much white of its own would look like a space by itself.
    least = SPACED if usual > 0.26 else CLOSE if usual < 0.17 else BESIDE_CHINESE
    mended = [_mended(line, least) if len(line.places) == len(line.text) else line for line in lines]
    if any(CHINESE.search(line.text) for line in lines):  # in such type hyphens have much white
        return mended
    return [_around_dashes(line) if len(line.places) == len(line.text) else line for line in mended]


def _gaps_beside_chinese(line: Line) -> list[float]:
    """The gaps of a line where a Chinese and a Latin letter or digit meet, in ems."""
    letters = [(character, place) for character, place in zip(line.text, line.places, strict=True) if character != " "]
    return [
        gap_between(line, left, right)
        for (before, left), (after, right) in pairwise(letters)
        if is_chinese(before) != is_chinese(after) and before.isalnum() and after.isalnum()
    ]


def _mended(line: Line, beside_chinese: float) -> Line:
    placed = list(zip(line.text, line.places, strict=True))
    chinese = CHINESE.search(line.text) and sum(is_chinese(each) and each not in MARKS for each in line.text)
    if chinese:
        placed = _without_spaces_at_marks(_full_width(placed, line, chinese))
    else:
        placed = [(HALF_WIDTH.get(character, character), place) for character, place in placed]
    placed = _bulleted(_spaced(placed, line, beside_chinese), line)
    text = _digits_and_letters("".join(character for character, _ in placed), bool(chinese))
    return replace(line, text=text, places=tuple(place for _, place in placed))


def gap_between(line: Line, left: float, right: float) -> float:
    """The widest stretch without ink whose middle lies between two places, in ems."""
    return max((high - low for low, high in line.gaps if left < (low + high) / 2 < right), default=0.0) / line.em


def _bulleted(placed: Placed, line: Line) -> Placed:
    """A dot before a gap at the start of a line is a bullet, which the recogniser takes for a Chinese middle dot."""
    letters = [each for each in placed if each[0] != " "]
    if len(letters) < 2 or letters[0][0] != "·":
        return placed
    (_, dot), second = letters[:2]
    if gap_between(line, dot, second[1]) < AFTER_BULLET:
        return placed
    return [("•", dot), (" ", (dot + second[1]) / 2), *placed[placed.index(second) :]]


def _full_width(placed: Placed, line: Line, chinese: int) -> Placed:
    """Marks made full-width where the room after them, or the rest of the line at its end, says so."""
    if chinese < 0.3 * sum(character != " " for character, _ in placed):
        return placed
    wide = sum(character in MARKS for character, _ in placed) > sum(character in ",;:!?" for character, _ in placed)
    mended: Placed = []
    for at, (character, place) in enumerate(placed):
        after = next((place for character, place in placed[at + 1 :] if character != " "), None)
        roomy = wide if after is None else gap_between(line, place, after) > AFTER_FULL_WIDTH
        mended.append((FULL_WIDTH.get(character, character) if roomy else character, place))
    return mended


def _without_spaces_at_marks(placed: Placed) -> Placed:
    kept: Placed = []
    for at, (character, place) in enumerate(placed):
        beside = {kept[-1][0] if kept else "", placed[at + 1][0] if at + 1 < len(placed) else ""}
        if character != " " or not beside & set(MARKS):
            kept.append((character, place))
    return kept


def _spaced(placed: Placed, line: Line, beside_chinese: float) -> Placed:
    """Characters with the spaces that the recogniser dropped."""
    spaced = placed[:1]
    between_words = _between_words(placed, line)
    for at, (after, place) in enumerate(placed[1:], 1):
        before, left = placed[at - 1]
        around = "".join(character for character, _ in placed[max(0, at - 2) : at + 2])
        if is_chinese(before) != is_chinese(after) and before.isalnum() and after.isalnum():
            least = beside_chinese
        else:
            least = between_words if _may_be_parted(before, after, around) else float("inf")
            # Digits are all equally wide: a narrow 1 has white on both sides.
            least = max(least, BETWEEN_WORDS) if before.isdigit() and after.isdigit() else least
        if gap_between(line, left, place) > least:
            spaced.append((" ", (left + place) / 2))
        spaced.append((after, place))
    return spaced


def _around_dashes(line: Line) -> Line:
    """A line with the spaces around a dash between two numbers that has white on both sides.

    In type of one width all letters have.
    """
    if not DASH.search(line.text):
        return line
    placed = list(zip(line.text, line.places, strict=True))
    if len(line.gaps) > 2 * line.text.count("-") + ONE_WIDTH * len(placed):
        return line
    spaced: Placed = []
    for at, (character, place) in enumerate(placed):
        before = next((each for each in reversed(placed[:at]) if each[0] != " "), None)
        after = next((each for each in placed[at + 1 :] if each[0] != " "), None)
        if character not in "-–" or before is None or after is None or not (before[0] + after[0]).isdigit():
            spaced.append((character, place))
            continue
        white = gap_between(line, before[1], place), gap_between(line, place, after[1])
        apart = min(white) > BESIDE_DASH or sum(white) > AROUND_DASH
        if apart and spaced[-1][0] != " ":
            spaced.append((" ", (before[1] + place) / 2))
        spaced.append((character, place))
        if apart and placed[at + 1][0] != " ":
            spaced.append((" ", (place + after[1]) / 2))
    text = "".join(character for character, _ in spaced)
    return replace(line, text=text, places=tuple(place for _, place in spaced))


def _between_words(placed: Placed, line: Line) -> float:
    """From which gap on words of a line are parted, in ems: by those at the spaces that were read, if there are any."""
    triples = zip(placed, placed[1:], placed[2:], strict=False)
    gaps = [gap_between(line, left, right) for (_, left), (space, _), (_, right) in triples if space == " "]
    measures = sorted(gap for gap in gaps if gap > LEAST_SPACE)
    return min(BETWEEN_WORDS, LIKE_SPACES * measures[len(measures) // 2]) if measures else BETWEEN_WORDS


def _may_be_parted(before: str, after: str, around: str) -> bool:
    """Whether a space may have been dropped between two neighbours, in the four characters around."""
    if is_chinese(before) or is_chinese(after):
        return False
    # A place is only about right: the gap of a space that was read may seem to be one letter off.
    return " " not in around and (before.isalnum() or before in "©·") and (after.isalnum() or after in "(·")


def _digits_and_letters(text: str, chinese: bool) -> str:
    """A one inside a word is an l, an l or o inside a number a digit; of the same length.

    The Latin letters of Chinese fonts look more alike: there a word may begin or end with such an l.
    """
    inside = r"[A-Z]?[1a-z]*[a-z]{2}[1a-z]*" if chinese else r"[A-Z]?[a-z]+1[a-z]+"
    text = re.sub(rf"(?<![A-Za-z0-9_]){inside}(?![A-Za-z0-9_])", lambda word: word[0].replace("1", "l"), text)
    return NUMBERED.sub(lambda number: _digits(number[0]), text)


def _digits(token: str) -> str:
    """A number with the letters that look like digits made digits, when it starts with one or has more of them."""
    if token[-1] == "l":  # litres
        return _digits(token[:-1]) + "l" if len(token) > 1 else token
    digits, alike = sum(map(str.isdigit, token)), sum(character in ALIKE for character in token)
    starts = token.lstrip("€$£(")[0].isdigit()
    return token.translate(ALIKE_DIGITS) if digits > alike or starts else token
