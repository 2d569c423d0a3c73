"""The trained model as a checkpoint that the engine loads like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from workers.nano.alphabet import tokenizer
from workers.nano.architecture import SIDE

MOST_TILES = 6
PROCESSOR = {
    "image_processor_type": "UnlimitedOcrImageProcessor",
    "size": {"height": SIDE, "width": SIDE},
    "tile_size": SIDE,
    "max_patches": MOST_TILES,
}
GENERATION = {"no_repeat_ngram_size": 0, "do_sample": False}
"""A token is a character here: twenty of them come again in honest text."""


def write_release(model: Any, folder: Path) -> None:
    """Write weights in bfloat16, config, tokenizer and what the engine must know of the views."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        served = type(model)(model.config)  # the one in training has hooks, and states of its last step
    served.load_state_dict(model.state_dict())
    served.to(torch.bfloat16)
    served.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    for name, content in (("preprocessor_config.json", PROCESSOR), ("generation_config.json", GENERATION)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
