"""The jobs of a demo: sent to a stack of its own, followed on stderr, and their stack kept running meanwhile."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ocr_tasks.contract import Format
from workers.stack import Stack
from workers.up import tell

PATIENCE_S = 300  # without any change of the job
ENDED = ("succeeded", "failed", "cancelled")

Json = dict[str, Any]


class DemoFailed(Exception):
    """What was to be shown did not come about; the text says why."""


class DemoJobs:
    """The jobs of one stack; every method raises DemoFailed."""

    def __init__(self, stack: Stack, client: httpx.Client) -> None:
        self.stack = stack
        self.client = client

    def ended(self, accepted: httpx.Response, what: str, allowed: Collection[str] = ()) -> Json:
        """The job that an answer tells of, as it ended: well, or with an error whose code is allowed."""
        job = answered(accepted)
        tell(f"job {job['id']} for {what}")
        with _progress() as show:
            job = self._followed(job, show)
        error = job.get("error") or {}
        if job["status"] == "succeeded" or error.get("code") in allowed:
            return job
        raise DemoFailed(f"The job ended as {job['status']}: {error.get('detail') or error.get('title') or error}")

    def result(self, job: Json, form: Format) -> httpx.Response:
        """The result of a job that succeeded."""
        result = self.client.get(f"/api/jobs/{job['id']}/result", params={"format": form.value})
        if result.status_code != httpx.codes.OK:
            raise DemoFailed(f"The result answered {result.status_code}: {result.text[:500]}")
        return result

    def _followed(self, job: Json, show: Any) -> Json:
        """Poll a job until it has ended, and keep its stack running meanwhile."""
        seen, changed_at = None, time.monotonic()
        while True:
            if (now := (job["status"], job.get("pages"))) != seen:
                seen, changed_at = now, time.monotonic()
                show(job)
            if job["status"] in ENDED:
                return job
            if time.monotonic() - changed_at > PATIENCE_S:
                raise DemoFailed(f"Nothing has changed for {PATIENCE_S} s; the job is {job['status']}.")
            self.stack.watch(0.2)
            job = answered(self.client.get(f"/api/jobs/{job['id']}"))


def answered(response: httpx.Response) -> Json:
    """The object of an answer that is no error."""
    if response.is_error:
        raise DemoFailed(f"{response.request.url.path} answered {response.status_code}: {response.text[:500]}")
    body: Json = response.json()
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

        def show(job: Json) -> None:
            pages = job.get("pages") or {}
            ended = (pages.get("succeeded") or 0) + (pages.get("failed") or 0)
            bar.update(task, description=job["status"], total=pages.get("total"), completed=ended)

        yield show


def _pages(job: Json) -> str:
    pages = job.get("pages") or {}
    if not pages.get("total"):
        return ""
    failed = f", {pages['failed']} failed" if pages.get("failed") else ""
    return f": {pages.get('succeeded')} of {pages['total']} pages{failed}"
