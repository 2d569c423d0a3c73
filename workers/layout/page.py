"""From the lines of a page to its result: blocks in reading order, text and markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ocr_tasks.contract import Block, OcrOptions, PageResult
from workers.layout.lines import Box, Line, in_rows


def arrange(
    lines: Sequence[Line],
    pixels: npt.NDArray[np.uint8],
    original: Callable[[Box], tuple[int, int, int, int]],
    options: OcrOptions,
) -> PageResult:
    """Make a page's result of its lines; `original` turns a box into pixels of the page's image."""
    ordered = [line for row in in_rows(lines) for line in row]
    text = "\n".join(line.text for line in ordered)
    blocks = tuple(
        Block(kind="paragraph", text=line.text, box=original(line.box), score=round(line.score, 3)) for line in ordered
    )
    return PageResult(
        text=text, markdown=text, blocks=blocks if options.include_layout else (), flags=() if text else ("empty",)
    )
