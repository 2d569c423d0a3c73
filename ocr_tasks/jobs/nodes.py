"""Engine nodes make themselves known; their live capacity sizes every job's window."""

from __future__ import annotations

from dataclasses import dataclass

from ocr_tasks.jobs.database import Database

# A node that was not seen for this long counts for nothing, in seconds.
STALE_S = 20


def renew_node(db: Database, *, name: str, engine: str, revision: str, capacity: int, state: str) -> None:
    """Say that a node lives; called every few seconds."""
    db.execute(
        """
        INSERT INTO nodes (name, engine, revision, capacity, state)
        VALUES (:name, :engine, :revision, :capacity, :state)
        ON CONFLICT (name) DO UPDATE SET engine = :engine, revision = :revision, capacity = :capacity,
            state = :state, seen_at = now()
        """,
        name=name,
        engine=engine,
        revision=revision,
        capacity=capacity,
        state=state,
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
        """
        SELECT coalesce(array_agg(capacity), '{}') AS capacities,
               (SELECT count(*) FROM jobs WHERE status = 'running' AND jobs.engine = :engine) AS running_jobs
          FROM nodes
         WHERE engine = :engine AND state = 'ready' AND seen_at > now() - make_interval(secs => :stale)
        """,
        engine=engine,
        stale=STALE_S,
    )
    return Live(tuple(row["capacities"]), row["running_jobs"]) if row else Live((), 0)


def live_capacity(db: Database, engine: str) -> int:
    """Pages that the live, ready nodes of an engine can hold at once."""
    return sum(live_nodes(db, engine).capacities)


def forget_stale_nodes(db: Database) -> None:
    """Remove the rows of nodes that died without a word an hour ago or more."""
    db.execute("DELETE FROM nodes WHERE seen_at < now() - interval '1 hour'")
