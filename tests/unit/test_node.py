"""A node in a real database: what its row says through its life, and what it leaves behind when its device is lost."""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Iterator, Sequence

import pytest
from PIL import Image

from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.nodes import NodeState, list_live_nodes, live_capacity, live_states
from ocr_tasks.settings import Settings
from tests.simulated import Costs, SimulatedEngine
from tests.stack import until
from workers.announcer import Announcer
from workers.engine import DeviceLost, PageDone
from workers.metrics import NodeMetrics
from workers.node import Node
from workers.pages import read_page
from workers.runtime import Runtime, make_runtime


@pytest.fixture
def announcer(db: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Announcer]:
    monkeypatch.setattr("workers.announcer.ANNOUNCE_S", 0.05)
    announcer = Announcer(db, "gpu0@here", "rapid")
    announcer.start()
    yield announcer
    announcer.close()


def test_a_node_is_loading_then_ready_then_stopping_then_gone(announcer: Announcer, db: Database) -> None:
    engine, metrics = SimulatedEngine(Costs(capacity=8)), NodeMetrics()
    until(lambda: live_states(db, "rapid") == {NodeState.LOADING: 1}, 5)
    assert live_capacity(db, "rapid") == 0
    announcer.ready(engine, metrics.snapshot)
    until(lambda: live_states(db, "rapid") == {NodeState.READY: 1}, 5)
    assert live_capacity(db, "rapid") == 8
    announcer.stopping(engine, metrics.snapshot)
    until(lambda: live_states(db, "rapid") == {NodeState.STOPPING: 1}, 5)
    assert live_capacity(db, "rapid") == 0
    announcer.close()
    assert list_live_nodes(db) == []


def test_the_capacity_that_is_announced_follows_the_engines(announcer: Announcer, db: Database) -> None:
    engine = SimulatedEngine(Costs(capacity=8))
    announcer.ready(engine, NodeMetrics().snapshot)
    until(lambda: live_capacity(db, "rapid") == 8, 5)
    engine.capacity = 4
    until(lambda: live_capacity(db, "rapid") == 4, 5)


def test_a_database_that_is_down_for_a_while_ends_no_announcer(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, db: Database
) -> None:
    monkeypatch.setattr("workers.announcer.ANNOUNCE_S", 0.05)
    failing = Database(settings.model_copy(update={"database_url": "postgresql://127.0.0.1:1/nowhere"}), patience_s=0)
    announcer = Announcer(failing, "gpu0@here", "rapid")
    announcer.start()
    announcer.db = db
    until(lambda: live_states(db, "rapid") == {NodeState.LOADING: 1}, 5)
    announcer.close()


# -- a lost device ---------------------------------------------


class FailingEngine(SimulatedEngine):
    """Loses its device in its first step, once the gate is open."""

    def __init__(self, costs: Costs) -> None:
        super().__init__(costs)
        self.gate = threading.Event()

    def step(self) -> Sequence[PageDone]:
        assert self.gate.wait(10)
        raise DeviceLost("a fatal error")


def running_job(runtime: Runtime, pages: int) -> uuid.UUID:
    """A job whose pages wait for an engine."""
    job_id, image = uuid.uuid4(), io.BytesIO()
    Image.new("L", (64, 64)).save(image, "PNG")
    blob = runtime.blobs.put(image.getvalue())
    runtime.db.execute(
        "INSERT INTO jobs (id, kind, status, priority, engine, source, options, pages_total, pages_released)"
        " VALUES (:job, 'ocr', 'running', 'bulk', 'rapid', '{}', '{}', :pages, :pages)",
        job=job_id,
        pages=pages,
    )
    runtime.db.execute(
        "INSERT INTO pages (job_id, page_no, image_blob) SELECT :job, n, :blob FROM generate_series(1, :pages) AS n",
        job=job_id,
        blob=blob,
        pages=pages,
    )
    return job_id


def test_a_node_that_loses_its_device_gives_back_what_only_waited_and_its_row(settings: Settings, db: Database) -> None:
    runtime = make_runtime(settings)
    job_id = running_job(runtime, 6)
    engine = FailingEngine(Costs(capacity=2))
    ended: list[str] = []
    announcer = Announcer(db, "gpu0@here", "rapid")
    node = Node(runtime, engine, announcer, on_hang=ended.append)
    node.start()
    for page_no in range(1, 7):
        threading.Thread(target=read_page, args=(node, job_id, page_no), daemon=True).start()
    until(lambda: len(node.batcher.inside) + len(node.batcher.waiting) == 6, 10)
    inside = {page.page_no for page in node.batcher.inside}
    assert 1 <= len(inside) <= 2
    engine.gate.set()
    until(lambda: ended, 10)
    assert ended == ["the device is lost: a fatal error"]
    rows = db.all("SELECT page_no, status, failures, isolation FROM pages WHERE job_id = :job", job=job_id)
    assert {row["page_no"] for row in rows if row["status"] == "running"} == inside
    assert {(row["failures"], row["isolation"]) for row in rows} == {(0, "none")}
    assert list_live_nodes(db) == []
    node.leases.stop()
    runtime.db.close()
