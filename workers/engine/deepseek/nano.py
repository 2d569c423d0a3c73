"""Nano, the small demonstration model that comes with this package: where its files lie. No torch."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

NANO = "nano"
FOLDER = Path(str(files("workers"))) / "nano" / "checkpoint"


def has_weights() -> bool:
    """Whether this installation has the weights."""
    return (FOLDER / "model.safetensors").is_file()


def missing() -> str | None:
    """What this installation lacks for nano, in words; imports nothing of it."""
    if not has_weights():
        return "nano's weights, which this version does not have (`make train-nano` makes them)"
    if not all(find_spec(name) for name in ("torch", "transformers")):
        return "torch and transformers (pip install 'lightdom-ocr[gpu]')"
    return None


def can_run() -> bool:
    """Whether this installation has all that nano needs."""
    return missing() is None
