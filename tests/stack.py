"""A real stack for tests: web, workers and reconciler as processes, on private servers, driven over HTTP."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
from PIL import Image

T = TypeVar("T")

PYTHON = sys.executable
CLI = [PYTHON, "-m", "ocr_tasks.cli"]
PROGRAMS = {
    "web": [PYTHON, "-m", "gunicorn", "--worker-class", "gthread", "--threads", "16", "web:create_app()"],
    "prepare": [*CLI, "worker", "prepare", "--children", "2"],
    "reconcile": [*CLI, "worker", "reconcile"],
    "engine": [*CLI, "worker", "engine"],
    "simulated": [PYTHON, "-m", "tests.simulated"],
    "pool": [PYTHON, "-m", "tests.simulated_pool", "3"],
    "flower": [PYTHON, "-m", "celery", "-A", "ocr_tasks.app", "flower", "--address=127.0.0.1", "--persistent=False"],
    "poisoned": [PYTHON, "-m", "tests.poisoned_prepare"],
}

# Short enough for a test to see them run out.
QUICK = {"OCR_LEASE_S": "3", "OCR_RECONCILE_S": "0.3", "OCR_RESEND_S": "1", "OCR_STOP_GRACE_S": "3"}


def until(probe: Callable[[], T | None], timeout_s: float = 30, what: str = "it") -> T:
    """Ask until the answer is truthy; fails with the last answer when the deadline has passed."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s; last answer: {answer!r}"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class StackUnderTest:
    """Processes by name; `environment` goes to all of them. Logs lie in `folder`."""

    folder: Path
    environment: Mapping[str, str]
    port: int = field(default_factory=free_port)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: dict[str, tuple[tuple[str, ...], str | None, dict[str, str]]] = field(default_factory=dict)
    programs: Mapping[str, list[str]] = field(default_factory=lambda: PROGRAMS)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def start(self, name: str, *arguments: str, program: str | None = None, **environment: str) -> None:
        """Start a program of `PROGRAMS` under a name; further arguments and variables are its own."""
        assert name not in self.processes or self.processes[name].poll() is not None, f"{name} runs already"
        self.started[name] = (arguments, program, environment)
        argv = [*self.programs[program or name], *arguments]
        if (program or name) == "web":
            argv += ["--bind", f"127.0.0.1:{self.port}"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                argv,
                env={**os.environ, **self.environment, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def revive(self, name: str) -> None:
        """Start a program that ended again, as a supervisor does."""
        if self.processes[name].poll() is not None:
            arguments, program, environment = self.started[name]
            self.start(name, *arguments, program=program, **environment)

    def revive_all(self) -> None:
        """Start all programs again that ended."""
        for name in list(self.processes):
            self.revive(name)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a program's whole process group; SIGKILL is waited for."""
        process = self.processes[name]
        os.killpg(process.pid, number)
        if number == signal.SIGKILL:
            process.wait(10)

    def stop(self, name: str, timeout_s: float = 20) -> int:
        """SIGTERM to the program alone, as a supervisor does; returns its exit status."""
        process = self.processes[name]
        process.terminate()
        return process.wait(timeout_s)

    def stop_all(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for name, process in self.processes.items():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_ready(self, timeout_s: float = 60) -> None:
        until(self._is_ready, timeout_s, "readiness")

    def _is_ready(self) -> bool:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended with {process.returncode}:\n{self.log(name)[-3000:]}"
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    # -- what a caller does ------------------------------

    def submit(self, content: bytes, name: str = "pages.tiff", **fields: str) -> dict[str, Any]:
        """Submit a file; the job as it was accepted."""
        with self.http as http:
            answer = http.post("/api/ocr/process", files={"file": (name, content)}, data=fields)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def job(self, job_id: str) -> dict[str, Any]:
        with self.http as http:
            job: dict[str, Any] = http.get(f"/api/jobs/{job_id}").raise_for_status().json()
        return job

    def ended(self, job_id: str, timeout_s: float = 60, *, reviving: str | None = None) -> dict[str, Any]:
        """Wait until a job is over; the job as it then is. reviving: a program to start again whenever it dies."""

        def over() -> dict[str, Any] | None:
            if reviving:
                self.revive(reviving)
            job = self.job(job_id)
            return job if job["status"] in ("succeeded", "failed", "cancelled") else None

        return until(over, timeout_s, f"the end of job {job_id}")

    def result(self, job_id: str, form: str = "json") -> httpx.Response:
        with self.http as http:
            return http.get(f"/api/jobs/{job_id}/result", params={"format": form})

    def text(self, job_id: str) -> str:
        return self.result(job_id, "text").raise_for_status().text


@contextmanager
def running_stack(
    folder: Path, environment: Mapping[str, str], *names: str, programs: Mapping[str, list[str]] | None = None
) -> Iterator[StackUnderTest]:
    """These programs until the block ends, ready before it begins. programs: others than those of `PROGRAMS`."""
    stack = StackUnderTest(folder, environment, programs=programs or PROGRAMS)
    try:
        for name in names:
            stack.start(name)
        if "web" in names:
            stack.wait_ready()
        yield stack
    finally:
        stack.stop_all()


def tiff(count: int, *, height: int = 64, first_width: int = 65) -> bytes:
    """A TIFF of small grey pages, the n-th `first_width + n` pixels wide (n from 0)."""
    return tiff_of([(first_width + n, height) for n in range(count)])


def tiff_of(sizes: list[tuple[int, int]]) -> bytes:
    """A TIFF with a grey page for each (width, height) in pixels."""
    return _saved([Image.new("L", size, 255) for size in sizes])


def light_tiff(count: int) -> bytes:
    """A TIFF of 64 pixel pages of about 250 bytes each: many of them fit into a message."""
    return _saved([Image.new("L", (64, 64), 255)] * count, compression="tiff_deflate")


def _saved(pages: list[Image.Image], **how: str) -> bytes:
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:], **how)
    return file.getvalue()
