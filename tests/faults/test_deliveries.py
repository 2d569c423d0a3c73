"""Every message twice, two reconcilers at once, a finish that comes after its lease: effects happen once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from ocr_tasks.jobs.database import Database
from tests.faults.checks import ended_right, resume, some_are_read, suspend
from tests.stack import PROGRAMS, PYTHON, StackUnderTest, running_stack, tiff, until

pytestmark = pytest.mark.stack

NODES = ("node 0", "node 1")


@pytest.fixture(scope="module")
def stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    """Two nodes and two reconcilers, and every message sent twice."""
    doubled = [PYTHON, "-m", "tests.doubled"]
    programs = {
        "web": [word.replace("web:create_app", "tests.doubled:create_app") for word in PROGRAMS["web"]],
        "prepare": [*doubled, "worker", "prepare", "--children", "2"],
        "reconcile": [*doubled, "worker", "reconcile"],
        "simulated": [*doubled, "simulated"],
    }
    environment = new_environment(SIM_CAPACITY="2", SIM_PAGE_S="0.1", OCR_PAGE_FAILURES="4")
    with running_stack(tmp_path_factory.mktemp("stack"), environment, programs=programs) as stack:
        for name in ("web", "prepare", "reconcile"):
            stack.start(name)
        stack.start("other reconciler", program="reconcile")
        for index, name in enumerate(NODES):
            stack.start(name, str(index), program="simulated")
        stack.wait_ready()
        yield stack


def test_every_message_delivered_twice_counts_once(stack: StackUnderTest, store: Database) -> None:
    jobs = {stack.submit(tiff(count), priority=lane)["id"]: count for count, lane in ((40, "bulk"), (7, "interactive"))}
    for job_id, count in jobs.items():
        pages = ended_right(stack, store, job_id, count)
        assert {page["attempt"] for page in pages} == {1}
        finishes = store.one("SELECT attempt FROM jobs WHERE id = :job", job=job_id)
        assert finishes is not None
        assert finishes["attempt"] == 2, "one claim to inspect it and one to finish it"


def test_a_stale_finish_is_refused(stack: StackUnderTest, store: Database) -> None:
    job_id = stack.submit(tiff(100))["id"]
    some_are_read(stack, job_id)
    frozen = stack.processes[NODES[0]].pid
    until(lambda: _frozen_with_a_page(store, job_id, frozen), what="node 0 holding a page")
    try:
        pages = ended_right(stack, store, job_id, 100, timeout_s=40)
    finally:
        resume(frozen)
    again = [page for page in pages if page["attempt"] != 1]
    assert again, "the frozen node held no page"
    assert {str(page["node"]).partition("@")[0] for page in again} == {"rapid1"}
    _reads_again(stack, store, "rapid0")
    assert ended_right(stack, store, job_id, 100) == pages


def _frozen_with_a_page(store: Database, job_id: str, pid: int) -> bool:
    """Freeze node 0 if it holds a page right now; else it goes on, and the next look may find one."""
    suspend(pid)
    held = "SELECT 1 FROM pages WHERE job_id = :job AND status = 'running' AND node LIKE 'rapid0@%'"
    if store.all(held, job=job_id):
        return True
    resume(pid)
    return False


def _reads_again(stack: StackUnderTest, store: Database, node: str) -> None:
    """Jobs go by until this node has read a page of one: by then it has tried to store all that it held."""

    def has_read() -> bool:
        job_id = stack.submit(tiff(8))["id"]
        return node in {str(page["node"]).partition("@")[0] for page in ended_right(stack, store, job_id, 8)}

    until(has_read, what=f"a page read by {node}")


def test_two_reconcilers_do_not_step_on_each_other_while_workers_die(stack: StackUnderTest, store: Database) -> None:
    jobs = [stack.submit(tiff(25), priority=lane)["id"] for lane in ("interactive", "bulk", "bulk")]
    for victim in (*NODES, "prepare", *NODES):
        before = _pages_read(store)
        until(lambda before=before: _pages_read(store) > before, what="the next page")  # type: ignore[misc]
        stack.kill(victim)
        stack.revive(victim)
    for job_id in jobs:
        ended_right(stack, store, job_id, 25, charges=3)


def _pages_read(store: Database) -> int:
    row = store.one("SELECT sum(pages_succeeded) AS pages FROM jobs")
    assert row is not None
    return int(row["pages"])
