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


def can_run() -> bool:
    """Whether this machine has all that nano needs; imports nothing of it."""
    return has_weights() and all(find_spec(name) for name in ("torch", "transformers"))
