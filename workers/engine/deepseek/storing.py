"""Between what the decoder is given for a page and what is stored of it.

Newlines and the separator are parameters of the model: they are left out when vision tokens are stored, and put back
from the model that decodes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ocr_tasks.contract import Mode
from ocr_tasks.errors import InvalidVisionTokens
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.modes import ViewLayout
from workers.engine.deepseek.resolutions import TOKEN_SIDE
from workers.visual import VisionTokens, require

if TYPE_CHECKING:
    from workers.engine.deepseek.checkpoint import Checkpoint


class Storing:
    """Vision tokens of one checkpoint. Works on the CPU, whatever device the model is on."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        model: Any = checkpoint.model.model
        self.model = checkpoint.name
        self.revision = checkpoint.revision
        self.separator = model.view_separator.detach().float().cpu()  # (hidden,)
        # DeepSeek-OCR 2 ends no row with a newline.
        newlines = checkpoint.family is not Family.DEEPSEEK_OCR2
        self.newline = model.image_newline.detach().float().cpu() if newlines else None  # (hidden,)

    def stored(self, features: Tensor, layout: ViewLayout, mode: Mode, size: tuple[int, int]) -> VisionTokens:
        """What is stored of a page of (width, height) pixels; features (vision_tokens, hidden) with constants."""
        own = features[self._varying(layout)].float().cpu()
        return VisionTokens(
            model=self.model,
            revision=self.revision,
            mode=mode,
            side=layout.side,
            tile_side=layout.tile_side,
            grid=layout.grid,
            page_size=size,
            vision_tokens=layout.vision_tokens,
            features=own.numpy(),
        )

    def restored(self, tokens: VisionTokens) -> Tensor:
        """What the decoder is given for stored tokens: (vision_tokens, hidden) float32, constants among them.

        Raises InvalidVisionTokens for those of another model, or too few or too many for how the page was cut.
        """
        require(tokens, model=self.model, revision=self.revision, hidden=len(self.separator))
        self._check_counts(tokens)
        varying = self._varying(layout_in(tokens))
        features = torch.empty(len(varying), len(self.separator))
        features[varying] = torch.tensor(tokens.features)
        if self.newline is not None:
            features[~varying] = self.newline
        features[-1] = self.separator
        return features

    def _varying(self, layout: ViewLayout) -> Tensor:
        """Which of a page's vision tokens differ from page to page, (vision_tokens,); the others are constants."""
        end = [False] * (self.newline is not None)
        whole, tile = layout.side // TOKEN_SIDE, layout.tile_side // TOKEN_SIDE
        columns, rows = layout.grid
        lines = ([True] * (columns * tile) + end) * (rows * tile) + ([True] * whole + end) * whole
        return torch.tensor([*lines, False])

    def _check_counts(self, tokens: VisionTokens) -> None:
        """Before anything is made as large as a header says."""
        whole, tile = tokens.side // TOKEN_SIDE, tokens.tile_side // TOKEN_SIDE
        columns, rows = tokens.grid
        stored = columns * rows * tile**2 + whole**2
        constant = 1 + (whole + rows * tile if self.newline is not None else 0)
        if (len(tokens.features), tokens.vision_tokens) != (stored, stored + constant):
            raise InvalidVisionTokens(
                f"{len(tokens.features)} of {tokens.vision_tokens} vision tokens are stored; of a page in "
                f"{tokens.side} pixels with {columns} x {rows} tiles it is {stored} of {stored + constant}.",
                reason="counts",
                value=len(tokens.features),
                limit=stored,
            )


def layout_in(tokens: VisionTokens) -> ViewLayout:
    """How the page was cut that these are the vision tokens of."""
    return ViewLayout(tokens.side, tokens.tile_side, tokens.grid, tokens.vision_tokens)
