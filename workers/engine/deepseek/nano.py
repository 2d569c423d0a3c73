"""Nano, the small demonstration model that comes with this package: where its files lie. No torch."""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

NANO = "nano"
FOLDER = Path(str(files("workers"))) / "nano" / "checkpoint"
MOST_ERROR = 0.15
"""Of the characters: a model that reads worse is for those who ask for it by name, and is not shown to others."""


def has_weights() -> bool:
    """Whether this installation has the weights."""
    return (FOLDER / "model.safetensors").is_file()


def measured_error() -> float | None:
    """The character error rate that its card gives, at the lower density; None where nothing was measured."""
    measured = FOLDER / "measured.json"
    if not measured.is_file():
        return None
    errors: list[float] = [one["error"] for one in json.loads(measured.read_text(encoding="utf-8"))["gate"]]
    return errors[0] if errors else None


def missing() -> str | None:
    """What this installation lacks to show nano to whoever did not ask for it, in words; imports nothing of it."""
    error = measured_error()
    if not has_weights():
        return "nano's weights, which this version does not have (`make train-nano` makes them)"
    if error is not None and error > MOST_ERROR:
        return (
            f"a nano that reads better: this version's gets {error:.0%} of the characters wrong "
            "(OCR_TOKEN_ENGINE=nano takes it all the same)"
        )
    if not all(find_spec(name) for name in ("torch", "transformers")):
        return "torch and transformers (pip install 'lightdom-ocr[gpu]')"
    return None


def can_run() -> bool:
    """Whether this installation has a nano that can be shown to whoever did not ask for it."""
    return missing() is None
