"""The supervisor, with small Python children."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.processes import alive
from tests.stack import until
from workers.children import LOG_LIMIT_BYTES, rotate, spawn, tail
from workers.supervisor import BROKER, DATABASE, Program, Supervisor

SLEEP = "import time; time.sleep(60)"
# Says that it is there, and sleeps through a polite request.
DEAF = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
"""
STUBBORN = DEAF + "time.sleep(60)"
WITH_GRANDCHILD = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    supervisor = Supervisor(backoff_s=0.05, backoff_max_s=0.4, healthy_s=30)
    yield supervisor
    supervisor.stop(hurry=lambda: True)


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Program]:
    def make(name: str, code: str) -> Program:
        return Program.command(name, [sys.executable, "-c", code], log=tmp_path / f"{name}.log")

    return make


def kept_until(supervisor: Supervisor, probe: Callable[[], object]) -> None:
    """Let the supervisor do its work until something is so."""

    def look() -> object:
        supervisor.watch(0.02)
        return probe()

    until(look)


def test_child_that_dies_is_started_again(supervisor: Supervisor, program: Callable[..., Program]) -> None:
    supervisor.start(program("sleeper", SLEEP))
    first = supervisor.running["sleeper"]
    os.kill(first, signal.SIGKILL)
    kept_until(supervisor, lambda: supervisor.running.get("sleeper") not in (None, first))


def test_each_death_is_logged_with_its_reason(
    supervisor: Supervisor, program: Callable[..., Program], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "workers.supervisor"):
        supervisor.start(program("leaver", "raise SystemExit(3)"))
        supervisor.start(program("victim", "import os; os.kill(os.getpid(), 11)"))
        kept_until(supervisor, lambda: "leaver" in caplog.text and "victim" in caplog.text)
    assert "leaver ended with exit code 3" in caplog.text
    assert "victim was killed by SIGSEGV" in caplog.text


def test_pauses_between_starts_double_up_to_a_limit(
    supervisor: Supervisor, program: Callable[..., Program], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "workers.supervisor"):
        supervisor.start(program("crasher", "raise SystemExit(1)"))
        kept_until(supervisor, lambda: "crasher" in supervisor.dying(6))
    pauses = [record.args[3] for record in caplog.records if isinstance(record.args, tuple)]
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.4, 0.4])


def test_child_that_ran_well_starts_with_a_clean_sheet(program: Callable[..., Program]) -> None:
    supervisor = Supervisor(backoff_s=0.01, healthy_s=0)
    try:
        supervisor.start(program("worker", SLEEP))
        for _ in range(3):
            killed = supervisor.running["worker"]
            os.kill(killed, signal.SIGKILL)
            kept_until(supervisor, partial(_replaced, supervisor, killed))
        assert supervisor.dying(1) == ["worker"]
        assert supervisor.dying(2) == []
    finally:
        supervisor.stop(hurry=lambda: True)


def _replaced(supervisor: Supervisor, killed: int) -> bool:
    return any(pid != killed for pid in supervisor.running.values())


def test_program_that_cannot_be_started_does_not_disturb_the_others(
    supervisor: Supervisor, program: Callable[..., Program], tmp_path: Path
) -> None:
    supervisor.start(Program.command("absent", [tmp_path / "no-such-program"], log=tmp_path / "absent.log"))
    supervisor.start(program("sleeper", SLEEP))
    kept_until(supervisor, lambda: "absent" in supervisor.dying(2))
    assert list(supervisor.running) == ["sleeper"]


def test_what_a_dead_child_left_of_its_group_is_killed(
    supervisor: Supervisor, program: Callable[..., Program], tmp_path: Path
) -> None:
    supervisor.start(program("parent", WITH_GRANDCHILD))
    kept_until(supervisor, lambda: tail(tmp_path / "parent.log").strip())
    grandchild = int(tail(tmp_path / "parent.log").split()[0])
    assert alive(grandchild)
    os.kill(supervisor.running["parent"], signal.SIGKILL)
    kept_until(supervisor, lambda: not alive(grandchild))


def test_stop_asks_first_and_kills_what_is_left_after_the_grace(
    supervisor: Supervisor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "stubborn.log"
    stubborn = Program("stubborn", lambda: spawn([sys.executable, "-c", STUBBORN], log=log), grace_s=0.5)
    supervisor.start(stubborn)
    until(lambda: "up" in tail(log))
    pid, began = supervisor.running["stubborn"], time.monotonic()
    supervisor.stop()
    assert 0.4 < time.monotonic() - began < 5
    assert not alive(pid)
    assert "stubborn did not stop in time" in caplog.text


def test_second_request_does_not_wait_for_the_grace(
    supervisor: Supervisor, program: Callable[..., Program], tmp_path: Path
) -> None:
    supervisor.start(program("stubborn", STUBBORN))
    until(lambda: "up" in tail(tmp_path / "stubborn.log"))
    began = time.monotonic()
    supervisor.stop(hurry=lambda: True)
    assert time.monotonic() - began < 5  # its grace is 10 s


def test_what_others_lean_on_stops_last(supervisor: Supervisor, tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\ndef end(*_):\n time.sleep(0.1); open(sys.argv[1], 'a').write(sys.argv[2]); exit()\n"
    )
    code += "signal.signal(15, end)\nprint('up', flush=True)\ntime.sleep(60)"

    def start(name: str, layer: int) -> Program:
        argv = [sys.executable, "-c", code, str(order), name]
        return Program(name, lambda: spawn(argv, log=tmp_path / f"{name}.log"), layer=layer)

    names = {"d": DATABASE, "b": BROKER, "p": 2}
    for name, layer in names.items():
        supervisor.start(start(name, layer))
    for name in names:
        until(partial(tail, tmp_path / f"{name}.log"))
    supervisor.stop()
    assert order.read_text() == "pbd"


def test_child_dies_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    code = (
        "import sys, time; from pathlib import Path; from workers.children import spawn; "
        f"print(spawn([sys.executable, '-c', {SLEEP!r}], log=Path({str(log)!r})).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.communicate()
    until(lambda: not alive(child))


def test_child_can_be_stopped_although_its_parent_had_signals_blocked(tmp_path: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        child = spawn([sys.executable, "-c", SLEEP], log=tmp_path / "child.log")
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    child.terminate()
    try:
        assert child.wait(10) == -signal.SIGTERM
    finally:
        child.kill()


def test_log_that_has_grown_too_large_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_bytes(b"x" * LOG_LIMIT_BYTES)
    rotate(log)
    assert log.exists()
    with log.open("ab") as file:
        file.write(b"x")
    rotate(log)
    assert not log.exists()
    assert (tmp_path / "web.log.1").stat().st_size == LOG_LIMIT_BYTES + 1


def test_what_a_killed_parent_leaves_is_killed_by_its_guardian(tmp_path: Path) -> None:
    log = tmp_path / "stubborn.log"
    code = f"""
import sys, time
from pathlib import Path
from workers.guardian import Guardian
from workers.supervisor import Program, Supervisor
supervisor = Supervisor(guardian=Guardian())
argv = [sys.executable, "-c", {DEAF + WITH_GRANDCHILD!r}]
supervisor.start(Program.command("stubborn", argv, log=Path({str(log)!r})))
print(*supervisor.running.values(), flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    stubborn = int(parent.stdout.readline())
    until(lambda: tail(log).count("\n") == 1)
    grandchild = int(tail(log).split()[-1])
    assert alive(stubborn)
    assert alive(grandchild)
    parent.kill()
    parent.communicate()
    until(lambda: not alive(stubborn) and not alive(grandchild))
