"""What must be true of a job after a fault: it ended once, its counters are exact, its text is right."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import psutil

from ocr_tasks.jobs.database import Database
from tests.simulated import expected_text
from tests.stack import QUICK, StackUnderTest, until

TWO_LEASES_S = 2 * float(QUICK["OCR_LEASE_S"])


def pages_of(store: Database, job_id: str) -> list[dict[str, object]]:
    """The rows of a job's pages, as far as faults show in them."""
    rows = store.all(
        "SELECT page_no, status, attempt, failures, isolation, node FROM pages WHERE job_id = :job ORDER BY 1",
        job=job_id,
    )
    return [dict(row) for row in rows]


def some_are_read(stack: StackUnderTest, job_id: str, count: int = 3) -> None:
    """Wait for the first pages of a job."""
    until(lambda: stack.job(job_id)["pages"]["succeeded"] >= count, what="the first pages")


def held_pages_are_taken_over(store: Database, job_id: str, held: list[int]) -> None:
    """What a dead node held is claimed again within two leases."""
    lost = "SELECT 1 FROM pages WHERE job_id = :job AND page_no = ANY(:held) AND attempt < 2"
    assert held
    until(lambda: not store.all(lost, job=job_id, held=held), TWO_LEASES_S, "a second claim of all that was held")


def goes_on(stack: StackUnderTest, job_id: str) -> None:
    """A fault is over: within two leases a job's next page is read, or it has ended."""
    before = stack.job(job_id)["pages"]["succeeded"]

    def moved() -> bool:
        stack.revive_all()
        job = stack.job(job_id)
        return bool(job["pages"]["succeeded"] > before or job["status"] == "succeeded")

    until(moved, TWO_LEASES_S, "the next page")


def all_texts_are_right(stack: StackUnderTest, job_id: str, count: int) -> None:
    """The result is that of `tiff(count)`: every page once, in order."""
    assert stack.text(job_id).split("\f") == [expected_text(65 + n, 64) for n in range(count)]


def ended_right(
    stack: StackUnderTest,
    store: Database,
    job_id: str,
    count: int,
    *,
    timeout_s: float = 60,
    revive: bool = False,
    charges: int = 0,
) -> list[dict[str, object]]:
    """Wait until a job of `tiff(count)` has ended as if nothing had happened; its pages' rows.

    revive: programs that died meanwhile. charges: most failures of a page; a node that is killed from outside while a
    page is alone in it looks just like one that died of the page.
    """

    def over() -> bool:
        if revive:
            stack.revive_all()
        row = store.one("SELECT status FROM jobs WHERE id = :job", job=job_id)
        return row is not None and row["status"] in ("succeeded", "failed", "cancelled")

    until(over, timeout_s, f"the end of job {job_id}")
    job = stack.job(job_id)
    assert (job["status"], job["pages"]) == ("succeeded", {"total": count, "succeeded": count, "failed": 0}), job
    all_texts_are_right(stack, job_id, count)
    pages = pages_of(store, job_id)
    assert [(page["page_no"], page["status"]) for page in pages] == [(n + 1, "succeeded") for n in range(count)]
    assert max(int(str(page["failures"])) for page in pages) <= charges
    until(lambda: not store.all("SELECT 1 FROM ranges WHERE job_id = :job", job=job_id), 10, "the last range's end")
    return pages


def suspend(pid: int) -> None:
    """Stop a process and all below it where they stand, as a machine that hangs does."""
    _signal_family(pid, signal.SIGSTOP)


def resume(pid: int) -> None:
    """Let them go on."""
    _signal_family(pid, signal.SIGCONT)


def _signal_family(pid: int, number: signal.Signals) -> None:
    for member in [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]:
        with suppress(ProcessLookupError):  # a server ends children of its own as soon as it goes on
            os.kill(member, number)
