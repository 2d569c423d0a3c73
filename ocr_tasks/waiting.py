"""Waiting for jobs: ask again and again, outlast a restart of the service, show how many pages ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Protocol, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from ocr_tasks.contract import TERMINAL
from ocr_tasks.outputs import pages_of, say
from ocr_tasks.rest import Job, Rest, ServiceProblem, ServiceUnreachable

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
PAUSE_GROWTH = 1.5
OUTAGE_S = 30.0
LINE_EVERY_S = 5.0

_T = TypeVar("_T")


@dataclass
class Sent:
    """A file that became a job, and what is known of it.

    `refusal`: why the service no longer tells. `settled`: the caller has heard all there is."""

    name: str
    target: Path | None
    job: Job
    refusal: ServiceProblem | None = None
    settled: bool = False

    @property
    def over(self) -> bool:
        return self.refusal is not None or self.job.status in TERMINAL


def wait_for(rest: Rest, sent: Sequence[Sent], view: View) -> Iterator[Sent]:
    """Each of them as soon as it is over; raises ServiceUnreachable after an outage of OUTAGE_S."""
    waiting = list(sent)
    pause_s = FIRST_PAUSE_S
    while waiting:
        for one in waiting:
            _ask(rest, one, view)
            if one.over:
                yield one
        waiting = [one for one in waiting if not one.over]
        if waiting:
            sleep(pause_s)
            pause_s = min(pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)


def _ask(rest: Rest, one: Sent, view: View) -> None:
    try:
        one.job = outlast(lambda: rest.job(one.job.id), view.say)
    except ServiceProblem as problem:
        one.refusal = problem
    view.show(one)


def outlast(call: Callable[[], _T], say_so: Callable[[str], None]) -> _T:
    """The answer to a call that may be made twice, across a restart of the service; says once that it waits.

    Raises what the call raised last, after OUTAGE_S of it.
    """
    until: float | None = None
    while True:
        try:
            return call()
        except (ServiceUnreachable, ServiceProblem) as error:
            if isinstance(error, ServiceProblem) and not error.passing:
                raise
            now = monotonic()
            if until is None:
                until = now + OUTAGE_S
                say_so(f"{error} Trying again for {OUTAGE_S:g} s.")
            if now >= until:
                raise
        sleep(min(LONGEST_PAUSE_S, OUTAGE_S / 10))


# -- what a person sees of it, on stderr ---------------------------------------------


class View(Protocol):
    """Shows how far each job is."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...
    def show(self, one: Sent) -> None: ...
    def say(self, text: str) -> None: ...


def make_view() -> View:
    """Bars on a terminal, lines now and then elsewhere."""
    return Bars() if sys.stderr is not None and sys.stderr.isatty() else Lines()


class Bars:
    """One bar a file; it counts pages, and swings to and fro until their number is known."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(),
            TextColumn("{task.fields[pages]}"),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._bars: dict[int, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def show(self, one: Sent) -> None:
        bar = self._bars.get(id(one))
        if bar is None:
            bar = self._bars[id(one)] = self._progress.add_task(_end_of(one.name), total=None, pages="", status="")
        pages, fits = one.job.pages, len(self._bars) < self._progress.console.height
        self._progress.update(
            bar,
            total=pages.total,
            completed=pages.ended,
            pages=f"{pages_of(one.job)} pages",
            status=one.job.status,
            visible=fits or not one.over,  # those that still run must not fall below the edge of the screen
        )
        if one.over:
            self._progress.stop_task(bar)

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _end_of(name: str) -> str:
    """The last 40 characters: of a long path, the file's own name counts."""
    return name if len(name) <= 40 else f"…{name[-39:]}"


@dataclass
class Lines:
    """A line when a job's status changes, and every LINE_EVERY_S while its pages end."""

    _said: dict[int, tuple[str, str, float]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        return None

    def show(self, one: Sent) -> None:
        status, pages, now = one.job.status, pages_of(one.job), monotonic()
        before = self._said.get(id(one))
        if before and before[0] == status and (before[1] == pages or now - before[2] < LINE_EVERY_S):
            return
        self._said[id(one)] = (status, pages, now)
        self.say(f"{one.name}: {status}, {pages} pages")

    def say(self, text: str) -> None:
        say(text)
