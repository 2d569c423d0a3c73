"""What a node's row says through its life, in a real database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.nodes import NodeState, list_live_nodes, live_capacity, live_states
from ocr_tasks.settings import Settings
from tests.simulated import Costs, SimulatedEngine
from tests.stack import until
from workers.announcer import Announcer
from workers.metrics import NodeMetrics


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
