"""Pages out of a tall screenshot: cut where no text is cut, with the offset of each kept."""

from __future__ import annotations

from dataclasses import dataclass

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
