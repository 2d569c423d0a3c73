"""A pool's programs, and when it gives up; `tests/integration/test_pool.py` runs one in a whole stack."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from ocr_tasks.settings import Settings
from workers.launch import LETTING_GO_S, pool, run_pool
from workers.programs import Layout, service_programs
from workers.readiness import Readiness, readiness_of
from workers.stack import Stack, StackError
from workers.stopping import EXIT_UNLOADABLE
from workers.supervisor import Program

PRINT = "import os, sys; print(sys.argv[1:], *(os.environ.get(name) for name in {names!r}))"
SHOWN = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "OCR_CPU_THREADS")


def settings(**changes: object) -> Settings:
    return Settings(_env_file=None, **changes)  # type: ignore[arg-type]


def told(devices: list[str], capfd: pytest.CaptureFixture[str], **changes: object) -> list[str]:
    """What each node of a pool finds in its arguments and environment."""
    command = [sys.executable, "-c", PRINT.format(names=SHOWN)]
    for program in pool(settings(**changes), devices, command):
        assert program.spawn().wait(20) == 0
    return capfd.readouterr().out.splitlines()


def test_each_node_is_told_its_name_its_device_and_its_share_of_the_cores(capfd: pytest.CaptureFixture[str]) -> None:
    share = max(1, (os.cpu_count() or 1) // 2)
    assert told(["GPU-a", "MIG-b"], capfd) == [
        f"['--name', 'gpu0'] GPU-a PCI_BUS_ID {share}",
        f"['--name', 'gpu1'] MIG-b PCI_BUS_ID {share}",
    ]


def test_what_the_operator_says_of_order_and_cores_stands(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    assert told(["0"], capfd, cpu_threads=3) == ["['--name', 'gpu0'] 0 FASTEST_FIRST None"]


def test_without_devices_one_node_runs_on_the_cpu_and_sees_none(capfd: pytest.CaptureFixture[str]) -> None:
    assert told([], capfd) == ["[]  None None"]


def test_a_node_has_its_grace_and_time_to_let_go() -> None:
    (program,) = pool(settings(stop_grace_s=30), [], ["true"])
    assert program.grace_s == 30 + LETTING_GO_S


def test_a_pool_whose_nodes_cannot_load_their_engine_ends_and_says_so(tmp_path: Path) -> None:
    started = tmp_path / "started"
    code = f"import os, sys; print(os.getpid(), file=open({str(started)!r}, 'a')); sys.exit({EXIT_UNLOADABLE})"
    assert run_pool(settings(), devices=lambda: ["0", "1"], command=[sys.executable, "-c", code]) == EXIT_UNLOADABLE
    assert len(started.read_text().split()) >= 4


def test_a_gpu_that_is_switched_off_is_not_even_looked_for() -> None:
    def looked() -> list[str]:
        raise AssertionError

    code = f"import sys; sys.exit({EXIT_UNLOADABLE})"
    quick = [sys.executable, "-S", "-c", code]
    assert run_pool(settings(gpu_enabled=False), devices=looked, command=quick) == EXIT_UNLOADABLE


@pytest.mark.parametrize(("engine", "worker"), [("deepseek", "gpu"), ("rapid", "engine"), ("endpoint", "engine")])
def test_up_runs_a_pool_for_deepseek_and_one_node_for_the_others(engine: str, worker: str) -> None:
    layout = Layout(log_dir=Path("/nowhere"), env={}, listener=3, flower_port=5555, engine=engine)
    started: list[list[str]] = []

    def spawn(argv: list[str], **_: object) -> None:
        started.append(argv)

    programs = {program.name: program for program in service_programs(layout)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("workers.supervisor.spawn", spawn)
        programs["engine"].spawn()
    assert started[0][-2:] == ["worker", worker]


def test_an_engine_of_vision_tokens_has_a_node_beside_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, str]] = []

    def spawn(argv: list[str], *, env: dict[str, str], **_: object) -> None:
        started.append((argv[-1], env["OCR_ENGINE"]))

    monkeypatch.setattr("workers.supervisor.spawn", spawn)
    for tokens, expected in (("nano", ("engine", "nano")), ("deepseek", ("gpu", "deepseek"))):
        started.clear()
        layout = Layout(Path("/nowhere"), {"OCR_ENGINE": "rapid"}, 3, 5555, engine="rapid", token_engine=tokens)
        programs = {program.name: program for program in service_programs(layout)}
        for name in ("engine", tokens):
            programs[name].spawn()
        assert started == [("engine", "rapid"), expected]
    layout = Layout(Path("/nowhere"), {}, 3, 5555, engine="nano", token_engine="nano")
    assert "nano" not in {program.name for program in service_programs(layout)}


# -- waiting until it is ready ---------------------------------------------

PROBLEM = '{"checks": {"database": "ok", "broker": "ok", "engine": "%s"}}'
LOADING, ABSENT = (503, PROBLEM % "loading"), (503, PROBLEM % "no node serves the engine deepseek (yet)")


Serve = Callable[..., tuple[Stack, list[str]]]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serve]:
    """Makes a stack of nothing but a web whose /readyz gives these answers one after the other, the last one again."""
    servers: list[HTTPServer] = []

    def serve(*answers: tuple[int, str]) -> tuple[Stack, list[str]]:
        left = list(answers)

        class Web(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Web)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        said: list[str] = []
        stack = Stack(settings(), data_dir=tmp_path, port=server.server_address[1], tell=said.append)
        return stack, said

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_engine_that_is_loading_is_waited_for_beyond_the_deadline(
    serving: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.stack.TELL_AGAIN_S", 0)
    stack, said = serving(LOADING, LOADING, LOADING, (200, "{}"))
    stack._wait_until_ready(deadline=0)
    assert said.count("the engine is loading its model") == 3


def test_an_engine_that_is_not_there_is_not(serving: Serve, tmp_path: Path) -> None:
    stack, _ = serving(LOADING, ABSENT)
    with pytest.raises(StackError, match=r"did not answer 200 in time[\s\S]*no node serves[\s\S]*log/engine\.log"):
        stack._wait_until_ready(deadline=0)


def test_an_engine_that_cannot_be_loaded_ends_the_waiting_with_its_log(serving: Serve, tmp_path: Path) -> None:
    stack, _ = serving(ABSENT)
    log = tmp_path / "log" / "engine.log"
    log.parent.mkdir()
    code = f"import sys; print('no such checkpoint'); sys.exit({EXIT_UNLOADABLE})"
    stack.supervisor.start(Program.command("engine", [sys.executable, "-c", code], log=log))
    with pytest.raises(StackError, match=r"The engine cannot be loaded\.[\s\S]*no such checkpoint"):
        stack._wait_until_ready(deadline=float("inf"))
    stack.supervisor.stop()


def test_nano_that_nobody_asked_for_may_fail(serving: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.stack.offers_nano", lambda _: True)
    stack, _ = serving(LOADING)
    quick = [sys.executable, "-S", "-c", f"raise SystemExit({EXIT_UNLOADABLE})"]
    stack.supervisor.start(Program.command("nano", quick, log=tmp_path / "nano.log"))
    while not stack.supervisor.refusing(EXIT_UNLOADABLE):
        stack.supervisor.watch(0.1)
    stack._check_programs()
    stack._brings_nano = False
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "nano.log").touch()
    with pytest.raises(StackError, match=r"The engine cannot be loaded\."):
        stack._check_programs()
    stack.supervisor.stop()


@pytest.mark.parametrize(
    ("answer", "understood"),
    [
        ((200, "{}"), Readiness(True, "ready")),
        (LOADING, Readiness(False, f"503 {LOADING[1]}", loading=True, culprit="engine")),
        ((502, "<html>"), Readiness(False, "502 <html>")),
        ((503, '{"checks": 3}'), Readiness(False, '503 {"checks": 3}')),
    ],
)
def test_an_answer_of_readyz_is_understood(serving: Serve, answer: tuple[int, str], understood: Readiness) -> None:
    stack, _ = serving(answer)
    with httpx.Client() as client:
        assert readiness_of(client, stack.url) == understood
