"""In which order the nano model learns: to see, to write a line, to see pages, to write them, and both at once."""

from __future__ import annotations

from dataclasses import dataclass

from workers.nano.pages import Density

Mix = tuple[tuple[float, Density, int], ...]
"""(weight, density, pages in a batch of all processes together) of the batches of a level."""


@dataclass(frozen=True)
class Level:
    """A part of the training. It ends when `enough` of the characters are right, or after `most` steps.

    text: the share of steps in which the decoder learns too; the others cost a quarter. What counts are characters in
    the vision tokens while it learns nothing, and then those that it writes when it is given all before them.
    sees: whether its sight is trained too, or only what it makes of what it sees. guided: whether the decoder is told
    where to look. rate: what the learning rates are multiplied by. falls: the last part of the level, in which they
    fall to nothing. variety: the share of pages in any font and colour; the others are black on white in upright fonts
    of common weight, with which shapes are found in a fraction of the time.
    """

    name: str
    mix: Mix
    enough: float
    most: int
    text: float = 1.0
    sees: bool = True
    guided: bool = True
    rate: float = 1.0
    falls: float = 0.0
    variety: float = 1.0


LINE, LINES2 = Density(4, 26, 1), Density(14, 50, 2)
SPARSE, USUAL, DENSE, OVERFULL = Density(20, 90), Density(70, 165), Density(130, 230), Density(220, 340)
WIDE, TALL = Density(100, 330, grid=(2, 1)), Density(100, 330, grid=(1, 2))
SQUARE = Density(200, 560, grid=(2, 2))
TO_SEE = (1, USUAL, 24), (1, DENSE, 24)
PAGES = (0.5, LINES2, 64), (1, SPARSE, 56), (4, USUAL, 48), (4, DENSE, 36), (0.2, OVERFULL, 24)
CUT = (0.4, WIDE, 24), (0.4, TALL, 24), (0.4, SQUARE, 12)
TO_WRITE = (
    *((weight, density, pages // 2) for weight, density, pages in PAGES),
    *((4, WIDE, 12), (3, TALL, 12), (3, SQUARE, 8)),
)

TO_READ = tuple((weight, density, pages // 2) for weight, density, pages in (*PAGES, *CUT))

LEVELS = (
    Level("to see what is plain", TO_SEE, 0.45, 2000, text=0.0, variety=0.0),
    Level("to see", TO_SEE, 0.80, 4000, text=0.0, variety=0.8),
    Level("lines", ((3, LINE, 40), (1, LINES2, 32)), 0.60, 1000),
    Level("pages", (*PAGES, *CUT), 2.0, 12_000, text=0.02, guided=False, rate=0.5, falls=0.8),
    Level("to write", TO_WRITE, 2.0, 3000, sees=False, rate=0.7, falls=1.0),
    Level("to read", TO_READ, 2.0, 4000, guided=False, rate=0.5, falls=1.0),
)
"""All that is trained on."""
