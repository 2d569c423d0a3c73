"""What one command sends: all of it is sent first, then waited for, then handed over in the order it was given."""

from __future__ import annotations

import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import fstat
from pathlib import Path
from typing import BinaryIO

from ocr_tasks.contract import Status
from ocr_tasks.exits import Exit, reason_of, report, worst
from ocr_tasks.outputs import STANDARD, deliver, emit, emit_json, name_of, say
from ocr_tasks.rest import ConnectionCut, Job, Rest, ServiceProblem, ServiceUnreachable
from ocr_tasks.waiting import Sent, make_view, outlast, wait_for


@dataclass
class Submission:
    """What one command line asks for, and how far it has come.

    send: a source of the command line becomes a job. fetch: what is handed over of one that succeeded.
    as_json: the jobs themselves are shown, as the service gave them.
    """

    rest: Rest
    send: Callable[[str], Job]
    fetch: Callable[[Job], str | bytes]
    wait: bool
    as_json: bool
    server: str | None = None  # as the caller named it, for the commands that are suggested
    sent: list[Sent] = field(default_factory=list)
    exit: Exit = Exit.FINE

    def run(self, sources: Sequence[str], targets: Sequence[Path | None]) -> Exit:
        """Raises ServiceUnreachable or KeyboardInterrupt, having said which jobs go on."""
        try:
            for source, target in zip(sources, targets, strict=True):
                self._send(source, target)
            if self.wait:
                self._wait()
        except (KeyboardInterrupt, ServiceUnreachable):
            self._leave()
            raise
        return self.exit

    def _send(self, source: str, target: Path | None) -> None:
        name = name_of(source)
        try:
            job = self.send(source)
        except ServiceProblem as problem:
            self._complain(Exit.FAILED, f"{name}: {problem}")
        except ConnectionCut as error:
            # One file may be what the service cannot take: the next one tells whether the service is gone.
            self._complain(Exit.UNREACHABLE, f"{name}: {error} If it became a job, `lightdom-ocr jobs` lists it.")
        except OSError as error:
            self._complain(Exit.FAILED, f"{name}: {error.strerror or error}")
        else:
            self.sent.append(Sent(name, target, job))
            if not self.wait:
                self._announce(job)

    def _announce(self, job: Job) -> None:
        if self.as_json:
            emit_json(job.raw)
        else:
            emit(str(job.id))

    def _wait(self) -> None:
        with make_view() as view:
            for one in wait_for(self.rest, self.sent, view):
                if one.target is not None:
                    self._deliver(one, view.say)
        for one in self.sent:
            if self.as_json:
                emit_json(one.job.raw)
            elif one.target is None:
                self._deliver(one, say)
            if one.refusal is not None:
                self._complain(Exit.FAILED, f"{one.name}: {one.refusal}")
            else:
                self.exit = worst(self.exit, report(one.job, f"{one.name}: "))
            one.settled = True

    def _deliver(self, one: Sent, say_so: Callable[[str], None]) -> None:
        if one.refusal is not None or one.job.status != Status.SUCCEEDED:
            return
        try:
            deliver(outlast(lambda: self.fetch(one.job), say_so), one.target)
        except ServiceProblem as problem:
            one.refusal = problem
        except OSError as error:
            self.exit = worst(self.exit, Exit.FAILED)
            say_so(f"{one.name}: {reason_of(error)}")

    def _complain(self, code: Exit, text: str) -> None:
        say(text)
        self.exit = worst(self.exit, code)

    def _leave(self) -> None:
        """Say what becomes of the jobs that this command no longer follows, and how to end them."""
        at = f" --server {self.server}" if self.server else ""
        for one in self.sent:
            if one.settled:
                continue
            if one.over:
                say(f"{one.name}: its result is kept: lightdom-ocr result {one.job.id}{at}")
            else:
                say(f"{one.name}: the job goes on; to end it: lightdom-ocr cancel {one.job.id}{at}")


@contextmanager
def _spooled(stream: BinaryIO) -> Iterator[BinaryIO]:
    """A copy on disk: what is sent carries its length, and a pipe claims to have 0 bytes."""
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield copy


def file_name(file: str) -> str:
    """What the service is told of a file's name."""
    return "stdin" if file == STANDARD else Path(file).name


@contextmanager
def open_source(file: str) -> Iterator[BinaryIO]:
    """A file's bytes, with a length that can be known; raises OSError."""
    if file == STANDARD:
        if sys.stdin is None:
            raise OSError("standard input is closed")
        with _spooled(sys.stdin.buffer) as spooled:
            yield spooled
        return
    with Path(file).open("rb") as opened:
        if stat.S_ISREG(fstat(opened.fileno()).st_mode):
            yield opened
            return
        with _spooled(opened) as spooled:  # `<(command)`: a pipe
            yield spooled
