"""An engine node makes itself known: its row says what it is, what it can hold and in which state it is."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from ocr_tasks.errors import OcrError
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.nodes import NodeRow, NodeState, remove_node, renew_node
from ocr_tasks.metrics import NodeSnapshot
from workers.engine import Engine

log = structlog.get_logger(__name__)

ANNOUNCE_S = 5.0


class Announcer:
    """Renews a node's row every few seconds and with every change of state; the last word takes the row away.

    The node is `loading` until its engine is there. Only `close` waits for the database.
    """

    def __init__(self, db: Database, name: str, engine: str) -> None:
        self.db = db
        self.name = name
        self._row = NodeRow(name, engine, revision="", capacity=0, state=NodeState.LOADING)
        self._describe: Callable[[], NodeRow] = lambda: self._row
        self._changed = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="node-announcer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ready(self, engine: Engine, measure: Callable[[], NodeSnapshot]) -> None:
        """From here on the node takes pages."""
        self._serve(engine, measure, NodeState.READY)

    def stopping(self, engine: Engine, measure: Callable[[], NodeSnapshot]) -> None:
        """From here on it takes none, and ends what it holds."""
        self._serve(engine, measure, NodeState.STOPPING)

    def close(self, timeout_s: float = 2) -> None:
        """The node ends: take its row away."""
        self._over.set()
        self._changed.set()
        self._thread.join(timeout_s)

    def _serve(self, engine: Engine, measure: Callable[[], NodeSnapshot], state: NodeState) -> None:
        def describe() -> NodeRow:
            metrics = measure().model_dump_json(exclude_defaults=True)
            return NodeRow(self.name, engine.name, engine.revision, engine.capacity, state, metrics)

        self._describe = describe
        self._changed.set()

    def _run(self) -> None:
        while not self._over.is_set():
            self._guarded(lambda: renew_node(self.db, self._describe()))
            self._changed.wait(ANNOUNCE_S)
            self._changed.clear()
        self._guarded(lambda: remove_node(self.db, self.name))

    def _guarded(self, say: Callable[[], None]) -> None:
        try:
            say()
        except OcrError as error:
            log.warning("node_not_announced", error=error.detail)
        except Exception:
            log.exception("node_not_announced")  # without this thread nobody would know of the node
