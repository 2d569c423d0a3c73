"""What the stack itself costs: pages/s with an engine that answers at once, submits/s, and several devices."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
from PIL import Image

from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.nodes import live_capacity
from ocr_tasks.jobs.schema import apply_schema
from tests.benchmarks.report import Finding, interleaved
from tests.conftest import settings_of
from tests.documents import encoded
from tests.servers import private_servers
from tests.stack import StackUnderTest, running_stack, tiff, until

PAGES = 1000
CLIENTS = 16
TINY = Image.new("L", (64, 64), 255)
DEVICE = {"SIM_CAPACITY": "1", "SIM_PAGE_S": "0.1", "OCR_ENGINE_THREADS": "8"}


def findings(folder: Path) -> list[Finding]:
    with benchmark_environment(folder) as environment:
        # Submits last: nobody reads what they leave behind.
        return [*instant_engine(folder, environment), *devices(folder, environment), *submits(folder, environment)]


@contextmanager
def benchmark_environment(folder: Path) -> Iterator[dict[str, str]]:
    """Servers of this benchmark's own, with the tables in place."""
    with private_servers(folder) as (database_url, redis_url):
        environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "OCR_DATA_DIR": str(folder / "data")}
        database = Database(settings_of(environment))
        apply_schema(database)
        database.close()
        yield environment


def instant_engine(folder: Path, environment: dict[str, str]) -> list[Finding]:
    """A 1,000-frame TIFF of 64 px, from the first claim to the end; and who spent the CPU time on it."""
    with running_stack(folder, environment, "prepare", "reconcile") as stack:
        stack.start("web")
        stack.start("simulated", SIM_CAPACITY="64")
        stack.wait_ready()
        pages_per_second(stack)
        before = cpu_seconds(stack)
        rate = median(pages_per_second(stack) for _ in range(3))
        spent = {name: seconds - before[name] for name, seconds in cpu_seconds(stack).items()}
    whole = sum(spent.values())
    shares = [Finding(f"pipeline: CPU share of {name}", used / whole, "ratio") for name, used in spent.items()]
    return [Finding("pipeline: tiny pages through the stack", rate, "pages/s", 100), *shares]


def pages_per_second(stack: StackUnderTest) -> float:
    job = ended(stack, stack.submit(tiff(PAGES))["id"])
    assert job["pages"]["succeeded"] == PAGES
    return PAGES / seconds_between(job["startedAt"], job["finishedAt"])


def ended(stack: StackUnderTest, job_id: str) -> dict[str, Any]:
    """The job once it is over; asked for rarely and through one connection, so that asking takes no time of its own."""
    deadline = time.monotonic() + 3600
    with stack.http as http:
        while time.monotonic() < deadline:
            job: dict[str, Any] = http.get(f"/api/jobs/{job_id}").raise_for_status().json()
            if job["finishedAt"]:
                return job
            time.sleep(0.5)
    raise TimeoutError(f"job {job_id} did not end within an hour")


def seconds_between(first: str, last: str) -> float:
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def cpu_seconds(stack: StackUnderTest) -> dict[str, float]:
    """CPU time so far of each program with its children, and of the two servers."""
    roots = {name: psutil.Process(process.pid) for name, process in stack.processes.items()}
    for process in psutil.Process().children():
        if process.name() in ("postgres", "redis-server"):
            roots[process.name()] = process
    return {name: sum(map(_cpu, [root, *root.children(recursive=True)])) for name, root in roots.items()}


def _cpu(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def submits(folder: Path, environment: dict[str, str]) -> list[Finding]:
    """Submits a second as a share of what a route without work does, through the same gunicorn."""
    with running_stack(folder, environment) as stack:
        stack.start("web", "--workers", "2")  # as `up` does
        until(lambda: answers(stack), what="web")
        page = encoded(TINY, "PNG")
        rates = interleaved(
            3,
            submit=lambda: requests_per_second(stack, page),
            nothing=lambda: requests_per_second(stack, None),
        )
    return [
        Finding("web: submits", rates["submit"], "1/s"),
        Finding("web: submits as a share of a route without work", rates["submit"] / rates["nothing"], "ratio", 0.25),
    ]


def answers(stack: StackUnderTest) -> bool:
    try:
        return httpx.get(f"{stack.url}/healthz").is_success
    except httpx.TransportError:
        return False


def requests_per_second(stack: StackUnderTest, page: bytes | None, seconds: float = 4) -> float:
    over_at, counts = time.monotonic() + seconds, [0] * CLIENTS

    def caller(number: int) -> None:
        with httpx.Client(base_url=stack.url, timeout=30) as http:
            while time.monotonic() < over_at:
                if page is None:
                    http.get("/healthz").raise_for_status()
                else:
                    http.post("/api/ocr/process", files={"file": ("page.png", page)}).raise_for_status()
                counts[number] += 1

    threads = [threading.Thread(target=caller, args=(n,)) for n in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds


def nodes_are(environment: dict[str, str], count: int) -> bool:
    """Whether so many nodes, of one page each, are live."""
    database = Database(settings_of(environment))
    try:
        return live_capacity(database, "rapid") == count
    finally:
        database.close()


def devices(folder: Path, environment: dict[str, str]) -> list[Finding]:
    """Four simulated devices of 10 pages/s each against one."""
    rates: dict[int, float] = {}
    for count in (1, 4):
        with running_stack(folder, environment, "prepare", "reconcile") as stack:
            stack.start("web")
            for number in range(count):
                stack.start(f"device{number}", str(number), program="simulated", **DEVICE)
            stack.wait_ready()
            until(partial(nodes_are, environment, count), what=f"{count} nodes")
            job = ended(stack, stack.submit(tiff(count * 150))["id"])
            rates[count] = count * 150 / seconds_between(job["startedAt"], job["finishedAt"])
    return [Finding("devices: four against one", rates[4] / rates[1], "ratio", 3.6)]
