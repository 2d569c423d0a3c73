"""Pages to vision tokens, many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from workers.engine.deepseek.checkpoint import Checkpoint
    from workers.engine.deepseek.pixels import Views

PATCH = 16
# SAM's attention holds (heads, patches, patches) numbers a view: four pages of 1024 pixels are 1.6 GB in bf16.
MOST_AT_ONCE = 4 * (1024 // PATCH) ** 4


@torch.inference_mode()
def encode(checkpoint: Checkpoint, pages: Sequence[Views]) -> list[Tensor]:
    """The vision tokens of each page, (vision_tokens, hidden): of its tiles, of the whole, a separator.

    Rows end with a newline in the families that have one. Pages of one shape go together, as many as memory allows.
    """
    of_shape: dict[tuple[int, int | None], list[int]] = defaultdict(list)
    for number, views in enumerate(pages):
        of_shape[views.page.shape[-1], None if views.tiles is None else views.tiles.shape[-1]].append(number)
    encoded: dict[int, Tensor] = {}
    for numbers in of_shape.values():
        for group in _groups(numbers, pages):
            features = _encode_group(checkpoint, [pages[number] for number in group])
            encoded.update(zip(group, features, strict=True))
    return [encoded[number] for number in range(len(pages))]


def _encode_group(checkpoint: Checkpoint, pages: Sequence[Views]) -> list[Tensor]:
    model: Any = checkpoint.model  # the library types its parts as Tensor | Module
    weight = model.get_input_embeddings().weight
    page = torch.cat([views.page for views in pages]).to(weight.device, weight.dtype)  # (n, 3, side, side)
    tiled: dict[str, Any] = {}
    if pages[0].tiles is not None:
        tiles = [views.tiles for views in pages if views.tiles is not None]
        tiled["pixel_values_local"] = torch.cat(tiles).to(weight.device, weight.dtype)  # (tiles, 3, tile, tile)
        tiled["num_local_patches"] = [len(of_page) for of_page in tiles]
        if model.config.model_type != "deepseek_ocr2":  # which ends no row with a newline
            tiled["patches_grid"] = [list(views.layout.grid) for views in pages]
    found = model.get_image_features(page, return_dict=True, **tiled)
    return list(found.pooler_output)


def _groups(numbers: Sequence[int], pages: Sequence[Views]) -> Iterator[list[int]]:
    """Cut a list of pages so that each part needs no more memory than MOST_AT_ONCE, or is one page."""
    group: list[int] = []
    cost = 0
    for number in numbers:
        own = _cost(pages[number])
        if group and cost + own > MOST_AT_ONCE:
            yield group
            group, cost = [], 0
        group.append(number)
        cost += own
    if group:
        yield group


def _cost(views: Views) -> int:
    patches = [views.page.shape[-1] // PATCH]
    if views.tiles is not None:
        patches += [views.tiles.shape[-1] // PATCH] * len(views.tiles)
    return sum(side**4 for side in patches)
