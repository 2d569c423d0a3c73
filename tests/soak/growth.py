"""Pages by the thousand go through, and nothing may grow: memory, threads, files, connections, keys, temporary files.

python -m tests.soak.growth --minutes 10
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx
import psutil
import redis
from rich.console import Console
from rich.table import Table

from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.schema import apply_schema
from tests.conftest import settings_of
from tests.documents import born_digital, pdf_file
from tests.servers import OwnServers, own_servers_in
from tests.stack import StackUnderTest, running_stack, tiff, until

TINY_PAGES, REAL_PAGES = 20_000, 300  # in ten minutes
PAGES_A_JOB, JOBS_IN_FLIGHT = 200, 3
LOOK_S = 2.0
LONGEST_WARM_UP_S = 60.0
PROGRAMS = ("web", "prepare", "reconcile", "engine")

# What may come on top of the level after the warm-up: a share of it, and some for noise. Children of the preparing
# worker come and go with their work.
ALLOWED: Mapping[str, tuple[float, float]] = {
    "memory in MiB": (0.10, 24),
    "threads": (0.10, 4),
    "open files": (0.10, 8),
    "connections": (0.10, 3),
    "Redis keys": (0.10, 10),
    "Redis in MiB": (0.25, 8),
    "temporary files": (0.0, 6),
}


@dataclass
class Levels:
    """What was seen of each quantity: (second, value) by name."""

    began_at: float = field(default_factory=time.monotonic)
    seen: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def note(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.seen.setdefault(name, []).append((time.monotonic() - self.began_at, value))

    def trend(self, name: str) -> tuple[float, float]:
        """The median after the warm-up, and that at the end."""
        last = self.seen[name][-1][0]
        settled = [value for at, value in self.seen[name] if at >= min(LONGEST_WARM_UP_S, last / 3)]
        third = max(1, len(settled) // 3)
        return statistics.median(settled[:third]), statistics.median(settled[-third:])

    def grown(self, name: str) -> bool:
        before, after = self.trend(name)
        share, some = ALLOWED[name.partition(": ")[2] or name]
        return after > before * (1 + share) + some


@dataclass
class Growth:
    """A stack under steady load, looked at every few seconds."""

    stack: StackUnderTest
    servers: OwnServers
    store: Database
    temp: Path
    pages: int = 0

    def push(self, document: bytes, name: str, pages_a_job: int, total: int, seconds: float) -> Levels:
        """Keep some jobs of this document running until `total` pages were read, or the time is up."""
        levels, running, read = Levels(), set[str](), 0
        deadline, look_at = time.monotonic() + seconds, 0.0
        while running or (read < total and time.monotonic() < deadline):
            while len(running) < JOBS_IN_FLIGHT and read < total and time.monotonic() < deadline:
                running.add(self.stack.submit(document, name, priority="bulk")["id"])
            if time.monotonic() >= look_at:
                levels.note(self.look())
                look_at = time.monotonic() + LOOK_S
            for job in [self.stack.job(job_id) for job_id in running]:
                if job["status"] in ("succeeded", "failed", "cancelled"):
                    assert job["pages"]["succeeded"] == pages_a_job, job
                    running.discard(job["id"])
                    read += pages_a_job
            time.sleep(0.2)
        self.pages += read
        return levels

    def look(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for name in PROGRAMS:
            values |= {f"{name}: {what}": value for what, value in _of_family(self.stack.processes[name].pid).items()}
        connections = self.store.one(
            "SELECT count(*) AS some FROM pg_stat_activity WHERE application_name = 'lightdom-ocr'"
        )
        broker = redis.Redis.from_url(self.servers.redis.url)
        return values | {
            "connections": float(connections["some"]) if connections else 0,
            "Redis keys": float(str(broker.dbsize())),
            "Redis in MiB": broker.info("memory")["used_memory"] / 2**20,
            "temporary files": float(len(list(self.temp.iterdir())) + len(list(self._spool()))),
        }

    def _spool(self) -> list[Path]:
        folder = Path(self.stack.environment["OCR_DATA_DIR"]) / "blobs" / "spool"
        return list(folder.iterdir()) if folder.exists() else []


def _of_family(pid: int) -> dict[str, float]:
    """Sums over a program and all below it. Memory is what is its own (USS): forked children share most of theirs."""
    totals = dict.fromkeys(("memory in MiB", "threads", "open files"), 0.0)
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            totals["memory in MiB"] += process.memory_full_info().uss / 2**20
            totals["threads"] += process.num_threads()
            totals["open files"] += process.num_fds()
        except psutil.NoSuchProcess:
            continue
    return totals


def real_document() -> bytes:
    """Ten born-digital A4 pages."""
    lines = [f"Line {n} of a page that a real engine reads" for n in range(1, 12)]
    return pdf_file([born_digital(lines, size=(300, 300)) for _ in range(10)])


def report(title: str, levels: Levels) -> list[str]:
    """Print the levels; the names of what has grown."""
    table = Table(title=title)
    for heading in ("", "after the warm-up", "at the end", ""):
        table.add_column(heading, justify="left" if not heading else "right")
    grown = [name for name in levels.seen if levels.grown(name)]
    for name in levels.seen:
        before, after = levels.trend(name)
        table.add_row(name, f"{before:.1f}", f"{after:.1f}", "has grown" if name in grown else "")
    Console().print(table)
    return [f"{title}: {name}" for name in grown]


def _ready(stack: StackUnderTest) -> bool:
    try:
        return httpx.get(f"{stack.url}/readyz").is_success
    except httpx.TransportError:
        return False


def _serve(stack: StackUnderTest, program: str) -> None:
    """Let this program be the engine; another one stops first."""
    if "engine" in stack.processes:
        stack.stop("engine")
    stack.start("engine", program=program)
    until(lambda: _ready(stack), 120, "readiness")


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="How long at most; the pages are cut to it.")
def main(minutes: float) -> None:
    """Fail when anything grows while pages go through."""
    folder = Path(tempfile.mkdtemp(prefix="lightdom-ocr-growth-"))
    folder.chmod(0o711)
    servers_folder, temp = folder / "servers", folder / "temp"
    servers_folder.mkdir(mode=0o711)
    temp.mkdir()
    click.echo(f"growth: {minutes:g} min, logs in {folder}")
    phases: list[tuple[str, str, Callable[[], bytes], str, int, int, float]] = [
        ("tiny pages", "simulated", lambda: tiff(PAGES_A_JOB), "tiny.tiff", PAGES_A_JOB, TINY_PAGES, 0.5),
        ("real pages", "engine", real_document, "real.pdf", 10, REAL_PAGES, 0.5),
    ]
    grown: list[str] = []
    with own_servers_in(servers_folder) as servers:
        environment = {**servers.environment, "OCR_DATA_DIR": str(folder / "data"), "TMPDIR": str(temp)}
        environment |= {"SIM_CAPACITY": "32", "OCR_RECONCILE_S": "1"}
        store = Database(settings_of(environment))
        apply_schema(store)
        with running_stack(folder, environment, "prepare", "reconcile") as stack:
            stack.start("web")
            growth = Growth(stack, servers, store, temp)
            for title, program, document, name, pages_a_job, pages, share in phases:
                _serve(stack, program)
                total = int(pages * minutes / 10)
                grown += report(title, growth.push(document(), name, pages_a_job, total, minutes * 60 * share))
        store.close()
    click.echo(f"growth: {growth.pages} pages read")
    for what in grown:
        click.echo(f"growth: has grown: {what}", err=True)
    sys.exit(1 if grown else 0)


if __name__ == "__main__":
    main()
