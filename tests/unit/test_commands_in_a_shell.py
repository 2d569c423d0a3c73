"""The light commands as a shell runs them: signals, closed pipes, terminals, other locales."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ocr_tasks.exits import Exit
from tests.rest_service import Handler, Service, running, serving, succeeded
from tests.stack import until

COMMAND = (sys.executable, "-m", "ocr_tasks.cli")


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as started:
        yield started


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "[b]scan.pdf"
    path.write_bytes(b"%PDF")
    return path


def environment(service: Service, **changes: str) -> dict[str, str]:
    return {**os.environ, "OCR_SERVER_URL": service.url, "TERM": "xterm", **changes}


def on_a_terminal(*words: str, env: dict[str, str], stream: str) -> str:
    """What a command writes to a stream that is a real terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*COMMAND, *words], env=env, **{stream: theirs})  # type: ignore[call-overload]
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:  # how Linux tells that the other side is closed
        pass
    finally:
        os.close(ours)
    assert process.wait(20) == Exit.FINE, written
    return written.decode()


def test_ctrl_c_leaves_the_job_running_and_says_how_to_end_it(service: Service, scan: Path) -> None:
    service.script = [[running(1, 3)]]
    process = subprocess.Popen(
        [*COMMAND, "submit", "--wait", str(scan)], env=environment(service), stderr=subprocess.PIPE, text=True
    )
    until(lambda: sum(asked.startswith("GET") for asked in service.asked) > 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    (job_id,) = service.states
    assert process.returncode == Exit.INTERRUPTED
    assert f"the job goes on; to end it: lightdom-ocr cancel {job_id}\n" in said
    assert "Traceback" not in said
    assert not any(asked.startswith("DELETE") for asked in service.asked)


def test_a_reader_that_leaves_does_not_stop_the_submitting(service: Service, scan: Path) -> None:
    reader_left = threading.Event()
    original = Handler.do_POST

    def second_waits(handler: Handler) -> None:
        if service.uploads:
            assert reader_left.wait(20)
        original(handler)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "do_POST", second_waits)
        process = subprocess.Popen(
            [*COMMAND, "submit", *[str(scan)] * 3],
            env=environment(service),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        reader_left.set()
        said = process.stderr.read()
        assert (process.wait(20), said) == (Exit.FINE, b"")
    assert len(service.uploads) == 3


def test_a_full_disk_is_told_in_one_line(service: Service) -> None:
    job_id = service.add(succeeded(1))
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*COMMAND, "result", job_id], env=environment(service), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (ended.returncode, ended.stderr) == (Exit.FAILED, b"Error: No space left on device\n")


def test_output_is_utf8_whatever_the_locale(service: Service) -> None:
    job_id = service.add(succeeded(1), result="Größe 漢字\n".encode())
    env = environment(service, PYTHONIOENCODING="latin-1", PYTHONUTF8="0")
    for words, expected in ((("result", job_id), "Größe 漢字\n"), (("jobs", "--json"), "günstig")):
        ended = subprocess.run([*COMMAND, *words], env=env, stdout=subprocess.PIPE, check=True)
        assert expected in ended.stdout.decode()


def test_a_bar_counts_pages_on_a_terminal(service: Service, scan: Path, tmp_path: Path) -> None:
    service.script = [[running(0, None), running(1, 3), running(2, 3), succeeded(3)]]
    drawn = on_a_terminal(
        "submit", "-o", str(tmp_path / "out.md"), str(scan), env=environment(service, COLUMNS="120"), stream="stderr"
    )
    assert "[b]scan.pdf" in drawn
    assert "3/3 pages" in drawn
    assert "succeeded" in drawn
    assert (tmp_path / "out.md").exists()


def test_jobs_are_a_table_on_a_terminal_and_ids_stay_whole(service: Service) -> None:
    job_id = service.add(running(1, 2))
    drawn = on_a_terminal("jobs", env=environment(service, COLUMNS="40", TZ="UTC"), stream="stdout")
    head, row = drawn.splitlines()[:2]
    assert "pages" in head
    assert job_id in row
    assert "2026-01-02 03:04:05" in row
    assert "\t" not in row
