"""Pages out of a tall screenshot: cut where no text is cut, with the offset of each kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocr_tasks.contract import Box

A4 = 297 / 210
"""Height of a page over its width."""


@dataclass(frozen=True)
class Cut:
    """Rows `top` to `bottom` (the first that is not in it) of the whole: what a page's boxes are shifted by is `top`."""

    top: int
    bottom: int

    @property
    def height(self) -> int:
        return self.bottom - self.top
