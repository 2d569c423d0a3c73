"""Stored vision tokens: what they are, and the container that keeps them. No torch."""

from __future__ import annotations

from workers.visual.container import FORMAT, Header, describe, pack, require, unpack
from workers.visual.tokens import VisionTokens

__all__ = ["FORMAT", "Header", "VisionTokens", "describe", "pack", "require", "unpack"]
