"""Engines: what reads a page. One protocol for all of them; this module imports none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol
from uuid import UUID

from PIL import Image

from ocr_tasks.contract import OcrOptions, Operation, PageResult, Priority, TokenDtype
from ocr_tasks.errors import OcrError
from workers.visual import VisionTokens


class WorkId(NamedTuple):
    """One try at one page."""

    job_id: UUID
    page_no: int
    attempt: int


@dataclass(frozen=True)
class PageWork:
    """A page to be worked on. `alone`: nothing else may be in the engine with it.

    `load` decodes what it is worked on from: its image or, to decode alone, its vision tokens. The batcher has that
    done shortly before the page's turn, so that pages which wait cost no memory.

    What the sets of operations ask for:
    - read: the page's text. A flagged one is read once more, in a better mode.
    - encode: its vision tokens, and no text.
    - read and encode: both, in one pass; the vision tokens are those of the reading that was kept.
    - decode: the text of vision tokens, read once.
    - encode and decode: vision tokens, and the text that they will give once they are stored as `stored_as`.

    source_text: text whose text tokens are to be counted, such as what the page is known to say.
    """

    id: WorkId
    load: Callable[[], Image.Image | VisionTokens]
    options: OcrOptions = field(default_factory=OcrOptions)
    operations: frozenset[Operation] = frozenset({Operation.READ})
    priority: Priority = Priority.INTERACTIVE
    alone: bool = False
    source_text: str | None = None
    stored_as: TokenDtype = "int8"

    @cached_property
    def loaded(self) -> Image.Image | VisionTokens:
        """What the page is worked on from, loaded when it is first asked for."""
        return self.load()

    @property
    def image(self) -> Image.Image:
        """The page's image, RGB or L."""
        assert not isinstance(self.loaded, VisionTokens), "the page is vision tokens and has no image"
        return self.loaded

    @property
    def tokens(self) -> VisionTokens:
        """The page's vision tokens."""
        assert isinstance(self.loaded, VisionTokens), "the page is an image"
        return self.loaded

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the page in pixels, which its boxes are measured in."""
        return self.loaded.page_size if isinstance(self.loaded, VisionTokens) else self.loaded.size


@dataclass(frozen=True)
class PageDone:
    """How a page ended: with a result, or with the error that it itself caused.

    tokens: of a page that was encoded, where that came to an end; its result has no text unless it was read or decoded
    as well. source_text_tokens: of `source_text`, where there was one.
    """

    id: WorkId
    outcome: PageResult | OcrError
    tokens: VisionTokens | None = None
    source_text_tokens: int | None = None


class OutOfMemory(Exception):
    """The device has no room for what is in the engine: raised by `step` after it halved its `capacity`."""


class DeviceLost(Exception):
    """The device, or what this process holds on it, is beyond repair (a fatal CUDA error): raised by `step` or `admit`.

    The process ends at once, like one whose device hangs, and whoever supervises it starts a fresh one.
    """


class Engine(Protocol):
    """What the batcher drives, always from one thread.

    Pages admitted come back from some later `step`, each once, unless they were evicted. When `step` raises, the
    engine must hold nothing any more: the batcher admits what was in it again, one page at a time; after OutOfMemory as
    many at a time as the engine now says it can hold, which must be less than before. DeviceLost ends the process.
    """

    name: str
    revision: str  # of the model and of what the engine does with it; part of every cache key
    capacity: int  # pages it can hold at once
    operations: frozenset[Operation]

    def admit(self, works: Sequence[PageWork]) -> None:
        """Take pages in; no heavy work here."""

    def step(self) -> Sequence[PageDone]:
        """Do a bounded piece of work; return the pages that ended with it."""

    def evict(self, ids: Collection[WorkId]) -> None:
        """Let go of pages that nobody waits for any more; ids it does not hold are no error."""

    def close(self) -> None:
        """Free the device."""
