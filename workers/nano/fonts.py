"""The fonts of this machine that can write the model's characters, those trained on and those kept out."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path

from PIL import ImageFont

from workers.nano.alphabet import CHARACTERS

FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts", Path("/Library/Fonts"))
KEPT_OUT = re.compile(r"caladea|opensans", re.IGNORECASE)
"""Families that are never trained on: a serif and a sans serif, to see what unseen fonts cost."""
TOO_RARE = re.compile(
    r"thin|hairline|light|black|heavy|extra|condensed|narrow|garamond|symbol|emoji|math|icon", re.IGNORECASE
)
"""Weights and widths that documents seldom have: with them all, a model of this size learns none of them well."""
SMALL = 50  # hundredths of the font's size
MISSING = "\uffff"


@lru_cache(maxsize=2)
def font_files(*, kept_out: bool) -> list[Path]:
    """Files of fonts, sorted by name; raises FileNotFoundError when this machine has none that serves."""
    files = {path.name: path for folder in FOLDERS for path in folder.rglob("*.[to]tf")}
    found = [
        path
        for name, path in sorted(files.items())
        if bool(KEPT_OUT.search(name)) == kept_out and not TOO_RARE.search(name) and _writes_all(path)
    ]
    if not found:
        raise FileNotFoundError(f"no font with the model's characters in {', '.join(map(str, FOLDERS))}")
    return found


def has_fonts(*, kept_out: bool) -> bool:
    """Whether this machine has fonts that are trained on, or that are kept out."""
    try:
        return bool(font_files(kept_out=kept_out))
    except FileNotFoundError:
        return False


@cache
def has_small_letters(path: Path) -> bool:
    """Whether its "x" is less than half as high as the font's size, which makes it far harder to read at that size."""
    _, top, _, bottom = ImageFont.truetype(str(path), 100).getbbox("x")
    return bottom - top < SMALL


def _writes_all(path: Path) -> bool:
    font = ImageFont.truetype(str(path), 20)
    missing = bytes(font.getmask(MISSING))
    return all(bytes(font.getmask(character)) != missing for character in CHARACTERS if not character.isspace())


@lru_cache(maxsize=4000)
def font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    """A font at a size in pixels."""
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
