"""`lightdom-ocr demo`: reads one document with a stack of its own that leaves nothing behind."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ocr_tasks.logs import configure_logs, for_people
from ocr_tasks.settings import get_settings
from workers.embedded import EmbeddedServerError
from workers.stack import Stack, StackError
from workers.stopping import StopRequested, StopSignals
from workers.up import tell

SAMPLE = Path(__file__).parent / "samples" / "sample.pdf"
PATIENCE_S = 300  # without any change of the job
ENDED = ("succeeded", "failed", "cancelled")


class DemoFailed(Exception):
    """The document was not read; the text says why."""


@click.command("demo")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=SAMPLE)
def demo_command(file: Path) -> None:
    """Read FILE (or a sample) with a whole stack of its own; prints the markdown and leaves nothing behind."""
    sys.exit(run_demo(file))


def run_demo(file: Path) -> int:
    """Start a stack in a temporary folder, read `file`, print its markdown; returns the exit code."""
    settings = get_settings()
    configure_logs(for_people(settings))
    folder = Path(tempfile.mkdtemp(prefix="lightdom-ocr-demo-"))
    stack = Stack(settings, data_dir=folder, private=True, tell=tell)
    with StopSignals() as signals:
        try:
            stack.start()
            markdown = _read(stack, file)
        except StopRequested:
            return 130
        except (StackError, EmbeddedServerError, DemoFailed) as error:
            tell(str(error))
            return 1
        finally:
            signals.now_stopping()
            stack.stop(hurry=signals.hurry)
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.buffer.write(markdown.encode().rstrip() + b"\n")
    sys.stdout.flush()
    return 0


def _read(stack: Stack, file: Path) -> str:
    # No proxy of the environment between us and our own machine.
    with httpx.Client(base_url=stack.url, trust_env=False, timeout=60) as client:
        with file.open("rb") as source:
            job = _json(client.post("/api/ocr/process", files={"file": (file.name, source)}))
        tell(f"job {job['id']} for {file.name}")
        with _progress() as show:
            job = _wait(stack, client, job, show)
        if job["status"] != "succeeded":
            error = job.get("error") or {}
            raise DemoFailed(f"The job ended as {job['status']}: {error.get('detail') or error.get('title') or error}")
        result = client.get(f"/api/jobs/{job['id']}/result", params={"format": "markdown"})
        if result.status_code != httpx.codes.OK:
            raise DemoFailed(f"The result answered {result.status_code}: {result.text[:500]}")
        return result.text


def _wait(stack: Stack, client: httpx.Client, job: dict[str, Any], show: Any) -> dict[str, Any]:
    """Poll the job until it has ended, and keep its stack running meanwhile."""
    seen, changed_at = None, time.monotonic()
    while True:
        if (now := (job["status"], job.get("pages"))) != seen:
            seen, changed_at = now, time.monotonic()
            show(job)
        if job["status"] in ENDED:
            return job
        if time.monotonic() - changed_at > PATIENCE_S:
            raise DemoFailed(f"Nothing has changed for {PATIENCE_S} s; the job is {job['status']}.")
        stack.watch(0.2)
        job = _json(client.get(f"/api/jobs/{job['id']}"))


def _json(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise DemoFailed(f"{response.request.url.path} answered {response.status_code}: {response.text[:500]}")
    body: dict[str, Any] = response.json()
    return body


@contextmanager
def _progress() -> Iterator[Any]:
    """A function that shows a job: a bar on a terminal, else a line for each change."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda job: tell(f"{job['status']}{_pages(job)}")
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("queued", total=None)

        def show(job: dict[str, Any]) -> None:
            pages = job.get("pages") or {}
            ended = (pages.get("succeeded") or 0) + (pages.get("failed") or 0)
            bar.update(task, description=job["status"], total=pages.get("total"), completed=ended)

        yield show


def _pages(job: dict[str, Any]) -> str:
    pages = job.get("pages") or {}
    if not pages.get("total"):
        return ""
    failed = f", {pages['failed']} failed" if pages.get("failed") else ""
    return f": {pages.get('succeeded')} of {pages['total']} pages{failed}"
