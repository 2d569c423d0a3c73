"""Kills, stops and empties whatever runs, again and again, under load; then every accepted job must have ended right.

python -m tests.soak.chaos --minutes 10 [--seed 1]
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx
import psutil
import redis

from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.schema import apply_schema
from tests.conftest import settings_of
from tests.servers import OwnServers, own_servers_in
from tests.simulated import expected_text
from tests.stack import QUICK, StackUnderTest, running_stack, tiff, until

IN_FLIGHT = 5
ENVIRONMENT = {
    **QUICK,
    "OCR_MAX_LOSSES": "100",
    "SIM_CAPACITY": "4",
    "SIM_PAGE_S": "0.03",
}
NODES = ("node 0", "node 1")
WORKERS = (*NODES, "prepare", "reconcile")

# The database itself keeps the book of what ended, and how often.
BOOK = """
CREATE TABLE endings (what text NOT NULL, status text NOT NULL);
CREATE FUNCTION note_ending() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO endings VALUES (TG_ARGV[0] || CASE TG_ARGV[0] WHEN 'job' THEN to_jsonb(NEW) ->> 'id'
        ELSE (to_jsonb(NEW) ->> 'job_id') || '/' || (to_jsonb(NEW) ->> 'page_no') END, NEW.status);
    RETURN NEW;
END $$;
CREATE TRIGGER job_ended AFTER UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND NEW.status IN ('succeeded', 'failed', 'cancelled'))
    EXECUTE FUNCTION note_ending('job');
CREATE TRIGGER page_ended AFTER UPDATE ON pages FOR EACH ROW
    WHEN (OLD.status <> NEW.status AND NEW.status IN ('succeeded', 'failed', 'cancelled'))
    EXECUTE FUNCTION note_ending('page');
"""


@dataclass
class Chaos:
    """A stack, what may happen to it, and what was accepted: job id -> pages."""

    stack: StackUnderTest
    servers: OwnServers
    store: Database
    random: random.Random
    accepted: dict[str, int] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    thaws: list[threading.Timer] = field(default_factory=list)

    def run(self, seconds: float, *, pause_s: tuple[float, float] = (0.3, 2.0)) -> None:
        """Make trouble for so long, at random times; what died is started again like a supervisor does."""
        deadline, trouble_at = time.monotonic() + seconds, time.monotonic() + 1
        while time.monotonic() < deadline:
            self.stack.revive_all()
            self._submit_some()
            if time.monotonic() > trouble_at:
                self._make_trouble()
                trouble_at = time.monotonic() + self.random.uniform(*pause_s)
            time.sleep(0.1)

    def calm(self, timeout_s: float = 90) -> None:
        """No more trouble: everything runs, and every job comes to its end."""
        for thaw in self.thaws:
            thaw.join()

        def all_over() -> bool:
            self.stack.revive_all()
            return not self._unended()

        until(all_over, timeout_s, "the end of all jobs")
        until(lambda: not self.store.all("SELECT 1 FROM ranges"), 15, "the end of all ranges")

    def check(self) -> None:
        """Every accepted job ended once, well, with the right text, and the counters are exact."""
        for job_id, count in self.accepted.items():
            job = self.stack.job(job_id)
            assert job["pages"] == {"total": count, "succeeded": count, "failed": 0}, job
            assert job["status"] == "succeeded", job
            assert self.stack.text(job_id).split("\f") == [expected_text(65 + n, 64) for n in range(count)]
        twice = self.store.all("SELECT what, count(*) AS times FROM endings GROUP BY what HAVING count(*) > 1")
        assert not twice, f"ended more than once: {twice}"
        wrong = self.store.all(
            """
            SELECT id FROM jobs WHERE pages_succeeded + pages_failed <> pages_total OR pages_succeeded <>
                (SELECT count(*) FROM pages WHERE job_id = jobs.id AND status = 'succeeded')
            """
        )
        assert not wrong, f"wrong counters: {wrong}"

    # -- load ------------------------------------------------

    def _unended(self) -> int:
        row = self.store.one(
            "SELECT count(*) AS jobs FROM jobs WHERE status NOT IN ('succeeded', 'failed', 'cancelled')"
        )
        return int(row["jobs"]) if row else 0

    def _submit_some(self) -> None:
        while self._unended() < IN_FLIGHT:
            count, lane = self.random.choice((1, 3, 20, 60)), self.random.choice(("interactive", "bulk"))
            try:
                with httpx.Client(base_url=self.stack.url, timeout=15) as http:
                    answer = http.post(
                        "/api/ocr/process", files={"file": ("pages.tiff", tiff(count))}, data={"priority": lane}
                    )
            except httpx.TransportError as error:
                self.refused[type(error).__name__] += 1
                return
            if answer.status_code != 202:
                self.refused[answer.json()["code"]] += 1
                return
            self.accepted[answer.json()["id"]] = count

    # -- trouble ---------------------------------------------

    def _make_trouble(self) -> None:
        troubles: dict[Callable[[], None], int] = {
            self.kill_a_worker: 8,
            self.kill_a_child: 4,
            self.stop_a_worker: 3,
            self.freeze_a_worker: 3,
            self.kill_web: 2,
            self.empty_redis: 2,
            self.restart_redis: 1,
            self.freeze_redis: 1,
            self.restart_postgres: 1,
            self.kill_postgres: 1,
        }
        trouble = self.random.choices(list(troubles), list(troubles.values()))[0]
        self.happened[trouble.__name__] += 1
        trouble()

    def kill_a_worker(self) -> None:
        self.stack.kill(self.random.choice(WORKERS))

    def kill_a_child(self) -> None:
        """One of a program's processes, the first or any below it."""
        process = psutil.Process(self.stack.processes[self.random.choice(("prepare", "web"))].pid)
        with suppress(psutil.NoSuchProcess):
            self.random.choice([process, *process.children(recursive=True)]).kill()

    def stop_a_worker(self) -> None:
        self.stack.processes[self.random.choice(WORKERS)].terminate()

    def freeze_a_worker(self) -> None:
        """For longer than a lease: it wakes to pages that others have read."""
        self._freeze(self.stack.processes[self.random.choice(WORKERS)].pid, self.random.uniform(1, 5))

    def kill_web(self) -> None:
        self.stack.kill("web")

    def empty_redis(self) -> None:
        with suppress(redis.RedisError):
            redis.Redis.from_url(self.servers.redis.url, socket_timeout=1).flushall()

    def restart_redis(self) -> None:
        self.servers.kill(self.servers.redis)
        time.sleep(self.random.uniform(0, 2))
        self.servers.redis.start()

    def freeze_redis(self) -> None:
        assert self.servers.redis.pid is not None
        self._freeze(self.servers.redis.pid, self.random.uniform(1, 4))

    def restart_postgres(self) -> None:
        self.servers.postgres.stop()
        self.servers.postgres.start()

    def kill_postgres(self) -> None:
        self.servers.kill(self.servers.postgres)
        time.sleep(self.random.uniform(0, 2))
        self.servers.postgres.start()

    def _freeze(self, pid: int, seconds: float) -> None:
        def thaw() -> None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        self.thaws.append(threading.Timer(seconds, thaw))
        self.thaws[-1].start()


def unleashed(folder: Path, seconds: float, seed: int) -> Chaos:
    """Chaos for so long on a stack of its own, then calm, and everything checked."""
    servers_folder = folder / "servers"
    servers_folder.mkdir(mode=0o711)
    with own_servers_in(servers_folder) as servers:
        environment = {**servers.environment, **ENVIRONMENT, "OCR_DATA_DIR": str(folder / "data")}
        store = Database(settings_of(environment), patience_s=30)
        apply_schema(store)
        store.execute(BOOK)
        with running_stack(folder, environment, "prepare", "reconcile") as stack:
            stack.start("web")
            for index, name in enumerate(NODES):
                stack.start(name, str(index), program="simulated")
            stack.wait_ready()
            chaos = Chaos(stack, servers, store, random.Random(seed))
            chaos.run(seconds)
            chaos.calm()
            chaos.check()
        store.close()
    return chaos


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="How long to make trouble.")
@click.option("--seed", default=lambda: int(time.time()), help="Of the dice; printed, so that a run can be repeated.")
def main(minutes: float, seed: int) -> None:
    """Kill what one likes under load; nothing may be lost or doubled."""
    folder = Path(tempfile.mkdtemp(prefix="lightdom-ocr-chaos-"))
    folder.chmod(0o711)
    click.echo(f"chaos: {minutes:g} min, seed {seed}, logs in {folder}")
    chaos = unleashed(folder, minutes * 60, seed)
    click.echo("  " + ", ".join(f"{name} {times}" for name, times in chaos.happened.most_common()))
    click.echo(f"  submits refused: {dict(chaos.refused)}")
    click.echo(f"chaos: {len(chaos.accepted)} jobs, {sum(chaos.accepted.values())} pages: each ended once, and right")


if __name__ == "__main__":
    main()
