"""Pages drawn by Pillow whose text is known, and where each character of it stands."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from PIL.ImageFont import FreeTypeFont

from workers.nano.architecture import SIDE
from workers.nano.fonts import font, font_files, has_small_letters
from workers.nano.texts import Writer

WIDTH, PITCH = 0.52, 1.3  # of a character and of a line, in font sizes, as fonts go
PLAIN = 0.35  # of varied pages: black on white
ANY_FONT = 0.6  # of varied pages; the others are in the upright fonts of common weight that most documents are in
COMMON = re.compile(r"(regular|sans|serif|mono)\.[to]tf$", re.IGNORECASE)
LEAST_CONTRAST = 270  # of the sums of red, green and blue
SMALLEST, LARGEST = 9, 40  # pixels of the font in the view
SCALES, STRETCHES, STRAYS = (0.88, 1.15), (0.95, 1.05), 20  # of pages that are shown again; pixels
REACH = 1.2, 1.4  # of ink from the centre of a character, across and down, in characters


@dataclass(frozen=True)
class Page:
    """A page with its text.

    image: (rows * side, columns * side, 3) uint8 of a page of so many tiles, one if it has none. text: lines joined by
    newlines. centres: (len(text), 2) float32, x and y of each character, newlines at the end of their line.
    """

    image: NDArray[numpy.uint8]
    text: str
    centres: NDArray[numpy.float32]


@dataclass(frozen=True)
class Density:
    """How much text pages have: from `least` to `most` characters, in at most `lines` lines.

    grid: columns and rows of the tiles that they are cut into; (1, 1) for a page without.
    """

    least: int
    most: int
    lines: int = 99
    grid: tuple[int, int] = (1, 1)

    def allows(self, text: str) -> bool:
        """Whether a page of this text has this density."""
        return self.grid == (1, 1) and self.least <= len(text) <= self.most and text.count("\n") < self.lines


@dataclass(frozen=True)
class Block:
    """Lines of text, (x, y) of the upper left corner of each, and their font."""

    lines: list[str]
    places: list[tuple[float, float]]
    face: FreeTypeFont

    def centres(self) -> NDArray[numpy.float32]:
        """x and y of every character and of every newline between lines."""
        ascent, descent = self.face.getmetrics()
        centres: list[tuple[float, float]] = []
        for line, (x, y) in zip(self.lines, self.places, strict=True):
            ends = _ends(self.face, line)
            middle = y + (ascent + descent) * 0.55
            centres += [(x + (start + end) / 2, middle) for start, end in itertools.pairwise(ends)]
            centres.append((x + ends[-1], middle))
        return numpy.array(centres[:-1], numpy.float32).reshape(-1, 2)

    def ink(self, width: int, height: int) -> Image.Image:
        """How much of each pixel of a page is covered, 0 to 255."""
        ink = Image.new("L", (width, height), 0)
        draw = ImageDraw.Draw(ink)
        for line, place in zip(self.lines, self.places, strict=True):
            draw.text(place, line, fill=255, font=self.face)
        return ink


class PageArtist:
    """Draws pages from a seed. kept_out_words, kept_out_fonts: with what is never trained on.

    variety: the share of pages in any font and, most of them, in any colour; the others are plain. small_letters: how
    many times as often as others a font is taken that has them.
    """

    def __init__(
        self,
        seed: int,
        *,
        kept_out_words: bool = False,
        kept_out_fonts: bool = False,
        variety: float = 1.0,
        small_letters: int = 1,
    ) -> None:
        self.random = Random(seed)
        self.noise = numpy.random.default_rng(seed)
        self.writer = Writer(self.random, kept_out=kept_out_words)
        files = font_files(kept_out=kept_out_fonts)
        self.files = [path for path in files for _ in range(small_letters if has_small_letters(path) else 1)]
        self.common = [path for path in self.files if COMMON.search(path.name)] or self.files
        self.variety = variety

    def page(self, density: Density) -> Page:
        random = self.random
        varied = random.random() < self.variety
        characters = random.randint(density.least, density.most)
        stretch = random.uniform(0.85, 1.2) if random.random() < 0.5 else 1.0
        zoom = random.choice([1.0, 1.0, random.uniform(0.8, 2.0)])
        size = density.grid[0] * SIDE, density.grid[1] * SIDE
        width, height = round(size[0] * zoom * math.sqrt(stretch)), round(size[1] * zoom / math.sqrt(stretch))
        font_size = size_for(random, characters, density) * zoom
        path = random.choice(self.files if varied and random.random() < ANY_FONT else self.common)
        block = self._block(font(path, max(6, round(font_size))), characters, width, height, density.lines)
        centres = block.centres() * numpy.array([size[0] / width, size[1] / height], numpy.float32)
        image = self._finished(block.ink(width, height), size, plain=not varied or random.random() < PLAIN)
        return Page(image, "\n".join(block.lines), centres)

    def _block(self, face: FreeTypeFont, characters: int, width: int, height: int, most: int) -> Block:
        """At most so many lines of text, all of it inside a page of (width, height)."""
        random = self.random
        pitch = round(face.size * random.uniform(1.08, 1.6))
        margin = random.uniform(0.01, 0.09) * width
        room = width - 2 * margin
        rows = min(most, max(1, int((height - 2 * margin - 1) // pitch)))
        ragged = random.random() < 0.3
        words = self.writer.words(characters)
        lines: list[str] = []
        while words and len(lines) < rows:
            line, words = self._line(words, face, room * (random.uniform(0.4, 1) if ragged else 1))
            lines.append(line)
        spare = max(0.0, height - 2 * margin - pitch * len(lines))
        top = margin + self._share() * spare
        gap = random.randrange(len(lines)) if random.random() < 0.35 else len(lines)  # more room below this line
        extra = min(spare - (top - margin), pitch * random.uniform(0.3, 1))
        widths = [face.getlength(line) for line in lines]
        left = margin + self._share() * max(0.0, room - max(widths))
        align = random.choice(["left", "left", "left", "left", "centre", "right", "indent"])
        places = []
        for number, own in enumerate(widths):
            free = max(widths) - own
            x = {"left": 0, "centre": free / 2, "right": free}.get(align, random.choice([0, min(free, face.size)]))
            places.append((left + x, top + number * pitch + (extra if number > gap else 0)))
        return Block(lines, places, face)

    def _share(self) -> float:
        """How far from its upper or left margin a block stands, as a share of the room it leaves: rather near it."""
        return self.random.random() * (1 if self.random.random() < 0.5 else 0.15)

    def _line(self, words: list[str], face: FreeTypeFont, room: float) -> tuple[str, list[str]]:
        """As many words as fit, one at least, cut if it must be."""
        line, used = words[0], 1
        while face.getlength(line) > room and len(line) > 1:
            line = line[:-1].rstrip()
        while used < len(words) and face.getlength(f"{line} {words[used]}") <= room:
            line, used = f"{line} {words[used]}", used + 1
        return line, words[used:]

    def _finished(self, ink: Image.Image, size: tuple[int, int], *, plain: bool) -> NDArray[numpy.uint8]:
        """Ink on paper of some colour, with what scanners and screens add, as the view that the engine would make."""
        random = self.random
        if random.random() < 0.15:
            ink = ink.filter(ImageFilter.GaussianBlur(random.uniform(0.2, 0.7) * ink.width / size[0]))
        if plain:
            return numpy.asarray(ImageOps.invert(ink).resize(size, Image.Resampling.BICUBIC).convert("RGB"))
        paper, colour = colours(random)
        share = numpy.asarray(ink, numpy.float32)[..., None] / 255  # (height, width, 1)
        page = numpy.array(paper, numpy.float32) * (1 - share) + numpy.array(colour, numpy.float32) * share
        if random.random() < 0.3:
            page += self.noise.normal(0, random.uniform(2, 14), page.shape[:2])[..., None]
        if random.random() < 0.1:
            page += numpy.linspace(-1, 1, page.shape[1])[None, :, None] * random.uniform(-25, 25)
        image = Image.fromarray(page.clip(0, 255).astype(numpy.uint8))
        return numpy.asarray(image.resize(size, Image.Resampling.BICUBIC))


def moved(page: Page, random: Random) -> Page:
    """The same text a little larger or smaller, elsewhere, and in other tones: for who sees patches, another page.

    A model that is shown the same page again knows it by heart, and learns no more to read from it.
    """
    height, width = page.image.shape[:2]
    size = numpy.array([width, height], numpy.float64)
    steps = numpy.abs(numpy.diff(page.centres[:, 0]))
    reach = float(numpy.median(steps)) * numpy.array(REACH) if len(steps) else 0.1 * size
    low = (page.centres.min(0) - reach).clip(0)
    high = numpy.minimum(page.centres.max(0) + reach, size)
    scale = random.uniform(*SCALES) * numpy.array([random.uniform(*STRETCHES), 1.0])
    scale = numpy.minimum(scale, size / (high - low))
    strayed = numpy.array([random.uniform(-STRAYS, STRAYS) for _ in range(2)])
    start = (low + strayed).clip(0, size - (high - low) * scale)
    image = Image.fromarray(page.image)
    paper = tuple(int(tone) for tone in numpy.median(page.image[0], axis=0))
    (across, down), (left, top) = 1 / scale, low - start / scale
    image = image.transform(
        image.size, Image.Transform.AFFINE, (across, 0, left, 0, down, top), Image.Resampling.BICUBIC, fillcolor=paper
    )
    centres = ((page.centres - low) * scale + start).astype(numpy.float32)
    return Page(numpy.asarray(_toned(image, random)), page.text, centres)


def _toned(image: Image.Image, random: Random) -> Image.Image:
    kind = random.random()
    if kind < 0.5:
        return image
    contrast = random.uniform(0.6, 1)
    brightness = random.uniform(0, 1 - contrast) * 255
    toned = image.point([round(tone * contrast + brightness) for tone in range(256)] * 3)
    return ImageOps.invert(toned) if kind > 0.9 else toned


def size_for(random: Random, characters: int, density: Density) -> float:
    """A font size, in pixels of the page, with which so many characters fit."""
    columns, rows = density.grid
    fits = SIDE * math.sqrt(0.82 * columns * rows / (characters * WIDTH * PITCH))
    if density.lines == 1:
        fits = min(fits, 0.9 * SIDE * columns / (characters * WIDTH))
    fits = min(LARGEST, fits)
    return random.uniform(max(SMALLEST, 0.55 * fits), max(SMALLEST, 0.97 * fits))


def colours(random: Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Paper and ink that can be told apart, dark on light more often than light on dark."""
    while True:
        light = tuple(random.randint(170, 255) for _ in range(3)) if random.random() < 0.6 else (255,) * 3
        grey = (random.randint(0, 70),) * 3
        dark = tuple(random.randint(0, 120) for _ in range(3)) if random.random() < 0.6 else grey
        if sum(light) - sum(dark) > LEAST_CONTRAST:
            return (light, dark) if random.random() < 0.72 else (dark, light)


def _ends(face: FreeTypeFont, line: str) -> list[float]:
    """Where each character of a line begins and the last one ends, kerning spread over all."""
    ends = [0.0, *itertools.accumulate(_advance(face, character) for character in line)]
    scale = face.getlength(line) / (ends[-1] or 1)
    return [end * scale for end in ends]


@lru_cache(maxsize=200_000)
def _advance(face: FreeTypeFont, character: str) -> float:
    return face.getlength(character)
