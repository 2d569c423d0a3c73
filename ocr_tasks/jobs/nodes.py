"""Engine nodes make themselves known; their live capacity sizes every job's window."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ocr_tasks.jobs.database import Database

# A node that was not seen for this long counts for nothing, in seconds.
STALE_S = 20

LIVE = "seen_at > now() - make_interval(secs => :stale)"


class NodeState(StrEnum):
    """Of a node's life: its engine is loaded and warmed up, takes pages, ends what it holds."""

    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(frozen=True)
class NodeRow:
    """What a node says of itself. `capacity` in pages; `metrics`: a `NodeSnapshot` as JSON, once there is one."""

    name: str
    engine: str
    revision: str
    capacity: int
    state: NodeState
    metrics: str | None = None


def renew_node(db: Database, node: NodeRow) -> None:
    """Say that a node lives; called every few seconds."""
    db.execute(
        """
        INSERT INTO nodes (name, engine, revision, capacity, state, metrics)
        VALUES (:name, :engine, :revision, :capacity, :state, cast(:metrics AS jsonb))
        ON CONFLICT (name) DO UPDATE SET engine = :engine, revision = :revision, capacity = :capacity,
            state = :state, metrics = cast(:metrics AS jsonb), seen_at = now(),
            started_at = CASE WHEN nodes.state <> 'loading' AND :state = 'loading' THEN now() ELSE nodes.started_at END
        """,
        **asdict(node),
    )


def remove_node(db: Database, name: str) -> None:
    """Say that a node has stopped."""
    db.execute("DELETE FROM nodes WHERE name = :name", name=name)


@dataclass(frozen=True)
class Live:
    """What an engine's live, ready nodes can do: each one's capacity in pages, and how many jobs share them."""

    capacities: tuple[int, ...]
    running_jobs: int


def live_nodes(db: Database, engine: str) -> Live:
    """The live, ready nodes of an engine, and the jobs that they share."""
    row = db.one(
        f"""
        SELECT coalesce(array_agg(capacity), '{{}}') AS capacities,
               (SELECT count(*) FROM jobs WHERE status = 'running' AND jobs.engine = :engine) AS running_jobs
          FROM nodes
         WHERE engine = :engine AND state = 'ready' AND {LIVE}
        """,
        engine=engine,
        stale=STALE_S,
    )
    return Live(tuple(row["capacities"]), row["running_jobs"]) if row else Live((), 0)


def live_capacity(db: Database, engine: str) -> int:
    """Pages that the live, ready nodes of an engine can hold at once."""
    return sum(live_nodes(db, engine).capacities)


def live_states(db: Database, engine: str) -> Counter[NodeState]:
    """How many live nodes of an engine are in which state."""
    rows = db.all(
        f"SELECT state, count(*) AS nodes FROM nodes WHERE engine = :engine AND {LIVE} GROUP BY 1",
        engine=engine,
        stale=STALE_S,
    )
    return Counter({NodeState(row["state"]): row["nodes"] for row in rows})


@dataclass(frozen=True)
class LiveNode:
    """What is known of a node that lives. `metrics`: of a `NodeSnapshot`, as the node wrote it."""

    name: str
    engine: str
    state: NodeState
    metrics: dict[str, Any]


def list_live_nodes(db: Database) -> list[LiveNode]:
    """All live nodes, by name."""
    rows = db.all(f"SELECT name, engine, state, metrics FROM nodes WHERE {LIVE} ORDER BY name", stale=STALE_S)
    return [LiveNode(row["name"], row["engine"], NodeState(row["state"]), row["metrics"] or {}) for row in rows]


def forget_stale_nodes(db: Database) -> None:
    """Remove the rows of nodes that died without a word an hour ago or more."""
    db.execute("DELETE FROM nodes WHERE seen_at < now() - interval '1 hour'")
