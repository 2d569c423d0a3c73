"""Keeps named child processes running, and stops them in order."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from workers.children import spawn
from workers.guardian import Guardian

log = logging.getLogger(__name__)

DATABASE, BROKER, PROGRAMS = 0, 1, 2  # layers: what others lean on stops last


@dataclass(frozen=True)
class Program:
    """A child to keep running; `spawn` starts it as the leader of a process group of its own, and may raise OSError."""

    name: str
    spawn: Callable[[], subprocess.Popen[bytes]]
    stop_signal: signal.Signals = signal.SIGTERM
    layer: int = PROGRAMS
    grace_s: float = 10  # to stop in

    @classmethod
    def command(
        cls,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        grace_s: float = 10,
    ) -> Program:
        """A program that is a plain command, its output in `log`."""
        return cls(name, lambda: spawn(argv, log=log, env=env, pass_fds=pass_fds), grace_s=grace_s)


@dataclass
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0
    deaths: int = 0  # in a row
    code: int | None = None  # that it last ended with
    due_at: float = 0  # when to start it (again)


class Supervisor:
    """Restarts what dies, ever more slowly; a child that ran for `healthy_s` seconds starts with a clean sheet.

    It runs in the thread that calls it, and only there: children are tied to the thread that started them.
    """

    def __init__(
        self,
        *,
        backoff_s: float = 0.5,
        backoff_max_s: float = 30,
        healthy_s: float = 30,
        guardian: Guardian | None = None,
    ) -> None:
        self.backoff_s = backoff_s
        self.backoff_max_s = backoff_max_s
        self.healthy_s = healthy_s
        self.guardian = guardian
        self._children: dict[str, _Child] = {}

    # -- running ---------------------------------------------

    def start(self, program: Program) -> None:
        """Start a program now, and keep it running from here on."""
        if program.name in self._children:
            raise ValueError(f"{program.name} is already supervised")
        child = self._children[program.name] = _Child(program)
        self._spawn(child)

    def adopt(self, program: Program, process: subprocess.Popen[bytes] | None) -> None:
        """Keep a program running that was started elsewhere."""
        if program.name in self._children:
            raise ValueError(f"{program.name} is already supervised")
        self._children[program.name] = _Child(program, process, time.monotonic())

    @property
    def running(self) -> dict[str, int]:
        """The pids of the children that run, by name."""
        return {name: child.process.pid for name, child in self._children.items() if child.process}

    def dying(self, deaths: int) -> list[str]:
        """The names of the children that have died at least `deaths` times in a row."""
        return [name for name, child in self._children.items() if child.deaths >= deaths]

    def refusing(self, code: int, deaths: int = 1) -> list[str]:
        """Like `dying`, of those that are down and last ended with this exit code."""
        down = [name for name in self.dying(deaths) if self._children[name].process is None]
        return [name for name in down if self._children[name].code == code]

    def watch(self, timeout_s: float) -> None:
        """Restart what died and is due; then wait until a child dies or is due, `timeout_s` seconds at most."""
        self._reap()
        now = time.monotonic()
        for child in self._children.values():
            if child.process is None and child.due_at <= now:
                self._spawn(child)
        due = [child.due_at - now for child in self._children.values() if child.process is None]
        _wait_for_exit(self.running.values(), max(0.0, min([timeout_s, *due])))
        self._reap()

    def _spawn(self, child: _Child) -> None:
        child.started_at = time.monotonic()
        try:
            child.process = child.program.spawn()
        except Exception as error:  # noqa: BLE001 - the others must go on running
            self._died(child, f"cannot be started: {error}")
            return
        if self.guardian is not None and child.program.layer == PROGRAMS:  # servers know how to end by themselves
            self.guardian.watch(child.process.pid)

    def _reap(self) -> None:
        for child in self._children.values():
            if child.process is not None and (ending := _ended(child.process)) is not None:
                if self.guardian is not None:
                    self.guardian.forget(child.process.pid)
                child.code, child.process = child.process.returncode, None
                self._died(child, ending)

    def _died(self, child: _Child, ending: str) -> None:
        ran_s = time.monotonic() - child.started_at
        child.deaths = 1 if ran_s >= self.healthy_s else child.deaths + 1
        # 2**30 seconds are enough: a float must not overflow
        pause_s = min(self.backoff_max_s, self.backoff_s * 2.0 ** min(child.deaths - 1, 30))
        child.due_at = time.monotonic() + pause_s
        log.warning("%s %s after %.1f s; starting it again in %.1f s", child.program.name, ending, ran_s, pause_s)

    # -- stopping ---------------------------------------------

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop all, the last layer first; what is left of a layer after its grace is killed.

        In a hurry, programs are killed at once; servers keep their short grace, to leave their data in order.
        """
        for layer in sorted({child.program.layer for child in self._children.values()}, reverse=True):
            leaving = [child for child in self._children.values() if child.program.layer == layer]
            _stop(leaving, hurry if layer == PROGRAMS else lambda: False)
            for child in leaving:
                if self.guardian is not None and child.process is not None:
                    self.guardian.forget(child.process.pid)
        self._children.clear()


def _stop(leaving: Sequence[_Child], hurry: Callable[[], bool]) -> None:
    deadline = time.monotonic() + max(child.program.grace_s for child in leaving)
    running = [(child.program, child.process) for child in leaving if child.process]
    for program, process in running:
        with suppress(ProcessLookupError):
            os.kill(process.pid, program.stop_signal)
    while running := [(program, process) for program, process in running if _ended(process) is None]:
        if hurry() or time.monotonic() > deadline:
            break
        _wait_for_exit([process.pid for _, process in running], 0.1)
    for program, process in running:
        log.warning("%s did not stop in time: killed", program.name)
        _kill_group(process.pid)
        process.wait()


def _wait_for_exit(pids: Iterable[int], timeout_s: float) -> None:
    with ExitStack() as opened:
        poll = select.poll()
        for pid in pids:
            try:
                descriptor = os.pidfd_open(pid)
            except OSError:  # a sandbox without it: look again soon
                timeout_s = min(timeout_s, 0.1)
                continue
            opened.callback(os.close, descriptor)
            poll.register(descriptor, select.POLLIN)
        poll.poll(timeout_s * 1000)


def _ended(process: subprocess.Popen[bytes]) -> str | None:
    """How a child ended, or None while it runs; what it left of its group is killed.

    The group goes before the child is reaped: until then nobody else can have its number.
    """
    if process.returncode is None:
        try:
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
        except ChildProcessError:  # reaped by somebody else: its number is no longer ours to kill
            process.poll()
            return "ended"
        _kill_group(process.pid)
    code = process.wait()
    return f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
