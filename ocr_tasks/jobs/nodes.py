"""Engine nodes make themselves known; their live capacity sizes every job's window."""

from __future__ import annotations

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


def live_capacity(db: Database, engine: str) -> int:
    """Pages that the live, ready nodes of an engine can hold at once."""
    row = db.one(
        """
        SELECT coalesce(sum(capacity), 0) AS capacity FROM nodes
         WHERE engine = :engine AND state = 'ready' AND seen_at > now() - make_interval(secs => :stale)
        """,
        engine=engine,
        stale=STALE_S,
    )
    return int(row["capacity"]) if row else 0


def forget_stale_nodes(db: Database) -> None:
    """Remove the rows of nodes that died without a word an hour ago or more."""
    db.execute("DELETE FROM nodes WHERE seen_at < now() - interval '1 hour'")
