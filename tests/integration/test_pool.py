"""`worker gpu` in a whole real stack: three nodes on simulated devices, and what `/metrics` and `/readyz` say."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ocr_tasks.jobs.database import Database
from tests.conftest import settings_of
from tests.exposition import Scrape
from tests.faults.checks import ended_right, pages_of, some_are_read
from tests.processes import alive, descendants
from tests.simulated import LOSES, expected_text
from tests.stack import StackUnderTest, running_stack, tiff, tiff_of, until

pytestmark = pytest.mark.stack

NODES = ("gpu0", "gpu1", "gpu2")
VISION_TOKENS = 100


@pytest.fixture(scope="module")
def stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    """The whole service, its engine a pool; `gpu0@host` and the others are ready."""
    environment = new_environment(SIM_CAPACITY="2", SIM_PAGE_S="0.1", SIM_VISION_TOKENS=str(VISION_TOKENS))
    with running_stack(tmp_path_factory.mktemp("stack"), environment, "pool", "prepare", "reconcile") as stack:
        stack.start("web", "--workers", "2")
        stack.wait_ready()
        until(lambda: ready_nodes(stack) == set(NODES), what="three ready nodes")
        yield stack


@pytest.fixture
def store(stack: StackUnderTest) -> Iterator[Database]:
    database = Database(settings_of(dict(stack.environment)), patience_s=15)
    yield database
    database.close()


def ready_nodes(stack: StackUnderTest) -> set[str]:
    scrape = Scrape.of(stack.url)
    states = [labels for name, labels, value in scrape.samples if name == "lightdom_ocr_node_state" and value]
    return {labels["node"].partition("@")[0] for labels in states if labels["state"] == "ready"}


def processes_of(stack: StackUnderTest) -> dict[str, int]:
    """The pids of the pool's nodes, by name."""
    found = {}
    for pid in descendants(stack.processes["pool"].pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if "--name" in words:
            found[words[words.index("--name") + 1]] = pid
    return found


def variable_of(pid: int, name: str) -> str | None:
    lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(line.partition("=")[::2] for line in lines).get(name)


def test_each_node_of_a_pool_sees_exactly_one_device_and_says_so(stack: StackUnderTest) -> None:
    pids = processes_of(stack)
    assert {name: variable_of(pid, "CUDA_VISIBLE_DEVICES") for name, pid in pids.items()} == {
        "gpu0": "GPU-0",
        "gpu1": "GPU-1",
        "gpu2": "GPU-2",
    }
    assert Scrape.of(stack.url).labels("engine_capacity_pages", "device") == {"GPU-0", "GPU-1", "GPU-2"}
    log = stack.log("pool")
    assert all(f'"worker": "simulated {name}"' in log for name in NODES), "lines of a node's log that do not name it"


def test_metrics_equal_what_was_submitted(stack: StackUnderTest, store: Database) -> None:
    jobs = {stack.submit(tiff(count), priority=lane)["id"]: count for count, lane in ((12, "interactive"), (9, "bulk"))}
    for job_id, count in jobs.items():
        ended_right(stack, store, job_id, count)

    def all_told() -> Scrape | None:
        scrape = Scrape.of(stack.url)
        return scrape if scrape.sum("pages_total", outcome="succeeded") >= 21 else None

    scrape = until(all_told, 15, "the last announcement")
    texts = [expected_text(65 + n, 64) for count in jobs.values() for n in range(count)]
    assert scrape.sum("pages_total") == scrape.sum("pages_total", outcome="succeeded") == 21
    assert len(scrape.labels("pages_total", "node")) == 3
    assert scrape.sum("vision_tokens_total") == 21 * VISION_TOKENS
    assert scrape.sum("text_tokens_total") == sum(len(text.split()) for text in texts)
    assert scrape.sum("page_queue_seconds_count") == scrape.sum("page_inference_seconds_count") == 21
    assert scrape.sum("engine_step_pages_sum") == 21
    assert scrape.sum("engine_step_seconds_count") == scrape.sum("engine_step_pages_count") >= 21 / 2
    assert set(scrape.values("engine_capacity_pages")) == {2}
    assert scrape.sum("jobs", kind="ocr", status="succeeded") == scrape.sum("jobs") == 2
    assert scrape.sum("live_pages") == scrape.sum("oldest_waiting_seconds", of="page") == 0
    assert scrape.sum("http_request_seconds_count", method="POST", route="/api/ocr/process", status="202") == 2
    assert set(scrape.values("database_up")) == {1}
    rates = store.all("SELECT metrics -> 'last_minute' ->> 'pages' AS rate FROM nodes")
    assert len(rates) == 3
    assert sum(float(row["rate"] or 0) for row in rates) > 0


def test_a_killed_node_of_a_pool_loses_nothing_and_comes_back(stack: StackUnderTest, store: Database) -> None:
    job_id = stack.submit(tiff(40))["id"]
    some_are_read(stack, job_id)
    before = processes_of(stack)
    os.kill(before["gpu1"], signal.SIGKILL)
    ended_right(stack, store, job_id, 40)
    until(lambda: processes_of(stack).get("gpu1", before["gpu1"]) != before["gpu1"], what="a new gpu1")
    until(lambda: ready_nodes(stack) == set(NODES), what="three ready nodes")
    assert {name: pid for name, pid in processes_of(stack).items() if name != "gpu1"} == {
        name: pid for name, pid in before.items() if name != "gpu1"
    }


def test_a_page_that_makes_devices_fail_ends_alone_and_each_node_is_started_afresh(
    stack: StackUnderTest, store: Database
) -> None:
    sizes = [(65 + n, LOSES if n == 3 else 64) for n in range(24)]
    job = stack.ended(stack.submit(tiff_of(sizes))["id"], timeout_s=90)
    assert job["pages"] == {"total": 24, "succeeded": 23, "failed": 1}
    assert [(page["pageNo"], page["error"]["code"]) for page in job["flaggedPages"]] == [(4, "engine_crashed")]
    assert {page["page_no"]: page["failures"] for page in pages_of(store, job["id"]) if page["failures"]} == {4: 3}
    assert "device_lost" in stack.log("pool")
    until(lambda: ready_nodes(stack) == set(NODES), what="three ready nodes")


def test_a_stopped_pool_takes_its_nodes_with_it(stack: StackUnderTest, store: Database) -> None:
    nodes = processes_of(stack)
    assert stack.stop("pool") == 0
    assert not any(alive(pid) for pid in nodes.values())
    assert store.all("SELECT name FROM nodes") == []
    assert readiness(stack) == (503, "no node serves the engine rapid (yet)")


def test_a_node_that_loads_its_engine_is_known_before_it_takes_pages(stack: StackUnderTest, store: Database) -> None:
    job_id = stack.submit(tiff(2))["id"]
    stack.start("simulated", SIM_LOAD_S="1.5")
    assert until(lambda: loading(stack), what="a loading node") == (503, "loading")
    assert Scrape.of(stack.url).sum("node_state", state="loading") == 1
    assert stack.job(job_id)["pages"]["succeeded"] == 0
    assert until(lambda: readiness(stack) == (200, "ok"), what="a ready node")
    ended_right(stack, store, job_id, 2)


def test_a_node_that_is_told_to_stop_while_it_loads_does_so_at_once(stack: StackUnderTest, store: Database) -> None:
    stack.stop("simulated")
    stack.start("simulated", SIM_LOAD_S="60")
    until(lambda: loading(stack), what="a loading node")
    assert stack.stop("simulated", timeout_s=5) == 0
    assert store.all("SELECT name FROM nodes") == []
    del stack.processes["simulated"]


def readiness(stack: StackUnderTest) -> tuple[int, str]:
    answer = httpx.get(f"{stack.url}/readyz")
    return answer.status_code, answer.json()["checks"]["engine"]


def loading(stack: StackUnderTest) -> tuple[int, str] | None:
    status, engine = readiness(stack)
    return (status, engine) if engine == "loading" else None


def test_a_killed_pool_leaves_no_node_behind(stack: StackUnderTest) -> None:
    del stack.processes["pool"]
    stack.start("pool")
    until(lambda: len(processes_of(stack)) == 3, what="three nodes")
    nodes = processes_of(stack)
    stack.processes["pool"].kill()
    stack.processes["pool"].wait(5)
    until(lambda: not any(alive(pid) for pid in nodes.values()), what="the end of the nodes")
