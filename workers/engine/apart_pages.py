"""Pages on their way between the node and its engine's process.

Their numbers, pixels or vision tokens, lie in files of the node's memory: through the link they would cost the loop a
tenth. The engine's process reaches the files over /proc while the node has them open. The node lets go of a page's
files with the page, and may have others under their numbers by then: so each is known by its inode, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from typing import IO, Any, NamedTuple

import numpy
from PIL import Image

from ocr_tasks.contract import Operation
from workers.engine import PageDone, PageWork, WorkId
from workers.visual import VisionTokens


class PageGone(Exception):
    """The node let go of a page before it was looked at."""


class Place(NamedTuple):
    """Where the other process finds a file of this one's memory."""

    path: str
    inode: int


class SentImage(NamedTuple):
    """An image less its pixels."""

    mode: str
    size: tuple[int, int]


class SentTokens(NamedTuple):
    """Vision tokens less their features, of which there are so many rows."""

    about: VisionTokens
    rows: int


class SentWork(NamedTuple):
    """A PageWork. numbers: of its page; tokens: a file for the vision tokens that are asked for, if they are."""

    page: SentImage | SentTokens
    numbers: Place
    tokens: Place | None
    rest: dict[str, Any]


class SentDone(NamedTuple):
    """A PageDone; its vision tokens were written to the file that came with the work."""

    done: PageDone
    tokens: SentTokens | None


class PageFiles:
    """On the node's side: the files of the pages that the engine's process holds."""

    def __init__(self) -> None:
        self._files: dict[WorkId, list[int]] = {}

    def sent(self, work: PageWork) -> SentWork:
        """A page as it goes to the other process, its numbers written to a file."""
        files = [os.memfd_create("page") for _ in range(1 + (Operation.ENCODE in work.operations))]
        self._files[work.id] = files
        page, numbers = _without_numbers(work.loaded)
        with open(files[0], "wb", closefd=False) as file:
            file.write(numbers)
        rest = {field.name: getattr(work, field.name) for field in fields(work) if field.name != "load"}
        places = [Place(f"/proc/{os.getpid()}/fd/{file}", os.fstat(file).st_ino) for file in files]
        return SentWork(page, places[0], places[1] if places[1:] else None, rest)

    def received(self, sent: SentDone) -> PageDone | None:
        """What came of a page, and the end of its files; None for one that was let go of before."""
        files = self._files.get(sent.done.id)
        if files is None:
            return None
        done = sent.done if sent.tokens is None else replace(sent.done, tokens=_with_numbers(sent.tokens, files[1]))
        self.forget(done.id)
        return done

    def forget(self, page: WorkId) -> None:
        for file in self._files.pop(page, ()):
            os.close(file)

    def close(self) -> None:
        for page in list(self._files):
            self.forget(page)


class Inbox:
    """On the side of the engine's process: pages that come, and the files that their vision tokens go to."""

    def __init__(self) -> None:
        self._files: dict[WorkId, IO[bytes]] = {}

    def received(self, sent: SentWork) -> PageWork:
        """The page again; its files are opened now, because the node lets go of them with the page."""
        work = PageWork(load=_loader(sent.page, _opened(sent.numbers)), **sent.rest)
        if sent.tokens is not None and (file := _opened(sent.tokens)) is not None:
            self._files[work.id] = file
        return work

    def sent(self, done: PageDone) -> SentDone:
        """How a page ended, as it goes to the node."""
        file = self._files.pop(done.id, None)
        if file is None:
            return SentDone(replace(done, tokens=None), None)
        with file:
            if done.tokens is None:
                return SentDone(done, None)
            tokens, numbers = _without_numbers(done.tokens)
            file.write(numbers)
            assert isinstance(tokens, SentTokens)
            return SentDone(replace(done, tokens=None), tokens)

    def forget(self, page: WorkId) -> None:
        self._files.pop(page, None)  # which closes it


def _loader(page: SentImage | SentTokens, file: IO[bytes] | None) -> Callable[[], Image.Image | VisionTokens]:
    def load() -> Image.Image | VisionTokens:
        if file is None:
            raise PageGone("it is not there any more")
        with file:
            if isinstance(page, SentTokens):
                return _with_numbers(page, file.fileno())
            return Image.frombuffer(page.mode, page.size, file.read(), "raw", page.mode, 0, 1)

    return load


def _opened(place: Place) -> IO[bytes] | None:
    """A file of the node's, None when the node has let go of it."""
    try:
        file = open(place.path, "r+b")  # noqa: SIM115, PTH123 - returned open: the caller closes it
    except OSError:
        return None
    if os.fstat(file.fileno()).st_ino == place.inode:
        return file
    file.close()
    return None


def _without_numbers(page: Image.Image | VisionTokens) -> tuple[SentImage | SentTokens, Any]:
    """A page, and its numbers by themselves: bytes, or an array."""
    if isinstance(page, VisionTokens):
        about = replace(page, features=page.features[:0].copy())
        return SentTokens(about, len(page.features)), numpy.ascontiguousarray(page.features)
    return SentImage(page.mode, page.size), page.tobytes()


def _with_numbers(tokens: SentTokens, file: int) -> VisionTokens:
    """Vision tokens again, their features read from the file's beginning."""
    features = numpy.empty((tokens.rows, tokens.about.features.shape[1]), numpy.float32)
    read = os.preadv(file, [features.data.cast("B")], 0)
    assert read == features.nbytes, f"{read} bytes of vision tokens where {features.nbytes} belong"
    return replace(tokens.about, features=features)
