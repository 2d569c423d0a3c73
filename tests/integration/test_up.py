"""`lightdom-ocr up` and `demo`: with stand-ins for web and the workers, and for real."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg2  # type: ignore[import-untyped]
import pytest
import redis

from ocr_tasks.contract import NOTICES
from tests.processes import alive, descendants
from tests.stack import CLI, until
from workers.demo_tokens import PICTURE as SMALL
from workers.engine.deepseek import nano

pytestmark = pytest.mark.stack

STANDIN = [sys.executable, "-m", "tests.standin_up"]


class Up:
    """One running `up`."""

    def __init__(self, argv: list[str], data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.process = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def ready(self) -> dict[str, Any]:
        """Its up.json, once it said that it is ready."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("ready http://127.0.0.1:"), line + self.process.communicate()[1]
        state: dict[str, Any] = json.loads((self.data_dir / "run" / "up.json").read_text())
        assert line == f"ready {state['url']}\n"
        assert state["pid"] == self.process.pid
        return state

    def _wait_for_stderr(self, text: str) -> None:
        assert self.process.stderr is not None
        while text not in self.process.stderr.readline():
            assert self.process.poll() is None, f"it ended without saying {text!r}"

    def family(self) -> set[int]:
        return descendants(self.process.pid)

    def end(self, *signals: signal.Signals, timeout_s: float = 20) -> tuple[int, str]:
        """Send signals, each once the one before was heard, then wait: exit code and stderr."""
        for number in signals:
            self.process.send_signal(number)
            if len(signals) > 1:  # two of a kind at once are one
                self._wait_for_stderr("stopping")
            signals = signals[1:]
        _, stderr = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, stderr


@pytest.fixture
def data_dir() -> Iterator[Path]:
    top = Path(tempfile.mkdtemp(prefix="up-"))  # 0700
    yield top / "data"
    shutil.rmtree(top)


@pytest.fixture
def start(data_dir: Path) -> Iterator[Callable[..., Up]]:
    """Starts `up` with stand-ins."""
    started: list[Up] = []

    def start(*kinds: str, port: int = 0, **environment: str) -> Up:
        up = Up([*STANDIN, str(data_dir), str(port), *kinds], data_dir, **environment)
        started.append(up)
        return up

    yield start
    for up in started:
        family = up.family() if up.process.poll() is None else set()
        up.process.kill()
        up.process.communicate()
        until(lambda family=family: not any(map(alive, family)))  # type: ignore[misc]


def answers(url: str) -> bool:
    connection = psycopg2.connect(url, connect_timeout=3)
    connection.close()
    return True


# -- starting ---------------------------------------------


def test_ready_is_said_when_everything_answers(start: Callable[..., Up], data_dir: Path) -> None:
    up = start()
    state = up.ready()
    assert httpx.get(f"{state['url']}/readyz").status_code == 200
    assert answers(state["database_url"])
    assert redis.Redis.from_url(state["redis_url"]).ping()
    assert stat.S_IMODE((data_dir / "run" / "up.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


def test_children_are_told_of_what_was_started(start: Callable[..., Up], data_dir: Path) -> None:
    state = start().ready()
    told = httpx.get(state["url"]).json()
    assert told["DATABASE_URL"] == state["database_url"]
    assert told["REDIS_URL"] == state["redis_url"]
    assert told["OCR_DATA_DIR"] == str(data_dir)
    assert told["OCR_BLOB_URL"] == (data_dir / "blobs").as_uri()
    assert told["OCR_SERVER_URL"] == state["url"]


def test_servers_that_the_environment_names_are_used(
    start: Callable[..., Up], servers: tuple[str, str], data_dir: Path
) -> None:
    state = start(DATABASE_URL=servers[0], REDIS_URL=servers[1]).ready()
    assert (state["database_url"], state["redis_url"]) == servers
    assert not list(data_dir.glob("postgres*"))
    assert not list(data_dir.glob("redis*"))


def test_redis_host_alone_names_a_redis_too(start: Callable[..., Up], data_dir: Path) -> None:
    state = start(REDIS_HOST="127.0.0.9").ready()
    assert state["redis_url"] == "redis://127.0.0.9:6379/0"
    assert (data_dir / "postgres").exists()


def test_second_start_is_refused_and_changes_nothing(start: Callable[..., Up]) -> None:
    first = start()
    state = first.ready()
    family = first.family()
    second = start()
    code, stderr = second.end()
    assert code == 1
    assert stderr.strip() == f"already running (pid {first.process.pid}, {state['url']})"
    assert httpx.get(state["url"]).status_code == 200
    assert all(map(alive, family))
    assert (first.data_dir / "run" / "up.json").exists()


def test_port_in_use_is_an_error_before_anything_is_started(start: Callable[..., Up], data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, stderr = start(port=port).end()
    assert code == 1
    assert f"Cannot listen on 127.0.0.1 port {port}: Address already in use" in stderr
    assert not (data_dir / "postgres").exists()


def test_program_that_keeps_dying_ends_the_start_with_its_log(start: Callable[..., Up]) -> None:
    up = start("broken")
    code, stderr = up.end(timeout_s=60)
    assert code == 1
    assert "broken dies as soon as it is started" in stderr
    assert "no engine on this machine" in stderr


def test_folder_that_cannot_be_used_is_named() -> None:
    code, stderr = Up([*STANDIN, "/proc/no/such", "0"], Path("/proc/no/such")).end()
    assert code == 1
    assert stderr.startswith("The data folder /proc/no/such cannot be used: ")


# -- stopping ---------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_everything(start: Callable[..., Up], number: signal.Signals) -> None:
    up = start()
    state = up.ready()
    family = up.family()
    assert len(family) > 4
    code, _ = up.end(number)
    assert code == 0
    assert not any(map(alive, family))
    assert not (up.data_dir / "run" / "up.json").exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(state["url"])


def test_second_ctrl_c_hurries(start: Callable[..., Up]) -> None:
    up = start("stubborn")
    up.ready()
    family = up.family()
    began = time.monotonic()
    code, stderr = up.end(signal.SIGINT, signal.SIGINT)
    assert time.monotonic() - began < 8  # without, it would be 10 s
    assert code == 0
    assert "stubborn did not stop in time" in stderr
    assert "postgres did not stop in time" not in stderr
    assert not any(map(alive, family))


def test_signal_while_starting_leaves_nothing(start: Callable[..., Up], data_dir: Path) -> None:
    up = start()
    until((data_dir / "up.lock").exists)
    until(lambda: len(up.family()) > 1)
    family = up.family()
    code, _ = up.end(signal.SIGTERM)
    assert code == 0
    until(lambda: not any(map(alive, family)))


def test_killed_up_leaves_nothing_and_starts_again_on_the_same_folder_and_port(start: Callable[..., Up]) -> None:
    first = start("stubborn")
    state = first.ready()
    family = first.family()
    connection = psycopg2.connect(state["database_url"])
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    first.process.kill()
    first.process.communicate()
    second = start(port=httpx.URL(state["url"]).port or 0)
    again = second.ready()
    until(lambda: not any(map(alive, family)))
    connection = psycopg2.connect(again["database_url"])
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT answer FROM kept")
        assert cursor.fetchone() == (42,)
    connection.close()


def test_server_that_dies_comes_back_at_its_address(start: Callable[..., Up]) -> None:
    up = start()
    state = up.ready()
    servers = {Path(f"/proc/{pid}/comm").read_text().strip(): pid for pid in descendants_of_one_level(up.process.pid)}
    for name in ("postgres", "redis-server"):
        os.kill(servers[name], signal.SIGKILL)

    def back() -> bool:
        try:
            return answers(state["database_url"]) and bool(redis.Redis.from_url(state["redis_url"]).ping())
        except (psycopg2.OperationalError, redis.ConnectionError):
            return False

    until(lambda: not alive(servers["postgres"]) and back())


def descendants_of_one_level(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# -- for real ---------------------------------------------


def test_whole_service_runs_and_a_killed_up_leaves_nothing(data_dir: Path) -> None:
    up = Up([*CLI, "up", "--port", "0", "--data-dir", str(data_dir)], data_dir)
    family: set[int] = set()
    try:
        state = up.ready()
        ready = httpx.get(f"{state['url']}/readyz").json()
        assert ready["status"] == "ready"
        assert ("tokenEngine" in ready) == nano.can_run()
        if nano.can_run():
            compressed(state["url"])
        until(lambda: "rapid0@" in httpx.get(state["flower_url"]).text, 30, "Flower's view of the engine")
        family = up.family()
    finally:
        up.process.kill()
        up.process.communicate()
    until(lambda: not any(map(alive, family)), 15, "the end of all that up had started")


def compressed(url: str) -> None:
    """Have a picture compressed, which `rapid` cannot."""
    with SMALL.open("rb") as picture:
        wait = {"Prefer": "wait=60"}
        answer = httpx.post(f"{url}/api/dom/compress", files={"file": picture}, headers=wait, timeout=70)
    assert answer.status_code == 200, answer.text
    assert answer.json()["metadata"]["notice"] == NOTICES["nano"]
    assert answer.json()["data"]["pages"][0]["model"] == "nano"
    assert [(job["engine"], job["notice"]) for job in httpx.get(f"{url}/api/jobs").json()["jobs"]] == [
        ("nano", NOTICES["nano"])
    ]


def test_demo_prints_only_markdown_and_leaves_nothing(tmp_path: Path) -> None:
    elsewhere = {"TMPDIR": str(tmp_path / "tmp"), "HOME": str(tmp_path / "home")}
    for folder in elsewhere.values():
        Path(folder).mkdir()
    shown = subprocess.run([*CLI, "demo"], capture_output=True, text=True, timeout=240, env={**os.environ, **elsewhere})
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("# ")
    assert "harbour registers" in shown.stdout
    assert "ready" not in shown.stdout
    assert "3 of 3 pages" in shown.stderr
    document, *page = shown.stdout.split("\n---\n")
    assert "vision tokens" not in document
    assert len(page) == nano.can_run()
    if page:
        assert page[0].strip().startswith("# A page as vision tokens\n")
        assert "Harbour office" in page[0]
        assert NOTICES["nano"] in page[0]
    # Files of a library that reports on its use would lie here too.
    assert {path.name for path in tmp_path.rglob("*")} == {"tmp", "home"}


def test_demo_of_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7\nnothing more")
    shown = subprocess.run([*CLI, "demo", str(broken)], capture_output=True, text=True, timeout=240)
    assert shown.returncode == 1
    assert shown.stdout == ""
    assert "The job ended as failed: " in shown.stderr
