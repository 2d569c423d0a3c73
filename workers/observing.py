"""What a batcher tells of its work while it goes on; metrics listen."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called from the engine's thread, at every step: be quick."""

    def stepped(self, pages: int, seconds: float) -> None:
        """A step ended with an answer; `pages` were in the engine when it began."""

    def raised(self, *, out_of_memory: bool) -> None:
        """The engine raised instead."""


class Unobserved:
    """Nobody listens."""

    def stepped(self, pages: int, seconds: float) -> None:
        pass

    def raised(self, *, out_of_memory: bool) -> None:
        pass
