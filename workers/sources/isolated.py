"""A file becomes page images without a worker pool: parsed in child processes, which may crash, hang or eat memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ocr_tasks.errors import OcrError, ParserDied, Problem
from workers.children import tie_to
from workers.sources.encode import PageFailure, PageImage
from workers.sources.limits import Limits

# -P: a file in the current folder must not stand in for a module of ours.
CHILD = (sys.executable, "-P", "-m", "workers.sources.child")


@dataclass(frozen=True)
class Costs:
    """What a child may take: seconds for one page (or to open the file), bytes of address space."""

    timeout_s: float
    memory_bytes: int


class Died(Exception):
    """The child ended without an answer; the text says why, as the end of a sentence about the page."""


class IsolatedSource:
    """One file. Its child is started by `count`; for each page that kills it, `pages` starts another."""

    def __init__(
        self,
        path: Path,
        media_type: str,
        *,
        limits: Limits,
        costs: Costs,
        password: str | None = None,
        command: Sequence[str] = CHILD,
    ) -> None:
        self.costs = costs
        self.command = command
        self._request = {
            "path": str(path.absolute()),
            "mediaType": media_type,
            "limits": asdict(limits),
            "memoryBytes": costs.memory_bytes,
            "password": password,
        }
        self._child: subprocess.Popen[bytes] | None = None

    def count(self) -> int:
        """How many pages the file has; raises SourceError, as `documents.inspect` does, or ParserDied."""
        try:
            return self._open()
        except Died as death:
            raise ParserDied(f"The file could not be opened: {death}.") from None

    def pages(self, page_nos: Sequence[int]) -> Iterator[PageImage | PageFailure]:
        """The pages asked for, in that order, a few ahead of whoever takes them. To be asked once, after `count`.

        A page that cannot be made is a PageFailure and the others go on.
        """
        left = list(page_nos)
        while left:
            try:
                if self._child is None:
                    self._open()
                self._tell(left)
                while left:
                    page = self._next_page()
                    left.remove(page.page_no)
                    yield page
            except Died as death:
                yield PageFailure(left.pop(0), ParserDied(f"The page could not be rasterised: {death}."))
            except OcrError as error:  # of the whole file
                yield from (PageFailure(page_no, error) for page_no in left)
                left = []
        self.close()

    def close(self) -> None:
        """End the child, whatever it is doing."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]

    # -- the child ---------------------------------------------

    def _open(self) -> int:
        self._child = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C is for us
            preexec_fn=tie_to(os.getpid(), signal.SIGKILL),
        )
        self._tell(self._request)
        count: int = self._answer()[0]["pages"]
        return count

    def _tell(self, line: object) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(line).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None

    def _next_page(self) -> PageImage | PageFailure:
        head, content = self._answer()
        if "error" in head:
            return PageFailure(head["pageNo"], error_of(head["error"]))
        return PageImage(head["pageNo"], content, head["mediaType"], head["width"], head["height"], head["dpi"])

    def _answer(self) -> tuple[dict[str, Any], bytes]:
        """The child's next line and the bytes behind it; raises Died, or the error that the file as a whole has."""
        assert self._child is not None
        assert self._child.stdout is not None
        with _deadline(self._child, self.costs.timeout_s) as late:
            line = self._child.stdout.readline()
            head: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
            size = head.get("sizeBytes", 0)
            content = self._child.stdout.read(size)
        if not head or len(content) < size:
            raise self._death(late=late.is_set())
        if "error" in head and "pageNo" not in head:
            raise error_of(head["error"])
        return head, content

    def _death(self, *, late: bool = False) -> Died:
        self.close()
        if late:
            return Died(f"it took longer than {self.costs.timeout_s:g} s")
        return Died("it made its parser crash, or use too much memory")


@contextmanager
def _deadline(child: subprocess.Popen[bytes], seconds: float) -> Iterator[threading.Event]:
    """Kill the child when the block takes longer than that; the event says whether it did."""
    late = threading.Event()

    def end() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def error_of(problem: Problem) -> OcrError:
    """The error that a problem document speaks of."""
    known = {"type", "title", "status", "detail", "code"}
    extensions = {name: value for name, value in problem.items() if name not in known}
    return _kinds()[problem["code"]](problem["detail"], **extensions)


def _kinds() -> dict[str, type[OcrError]]:
    """Every kind of error, by its code."""
    found, left = dict[str, type[OcrError]](), [OcrError]
    while left:
        kind = left.pop()
        found.setdefault(kind.code, kind)
        left.extend(kind.__subclasses__())
    return found
