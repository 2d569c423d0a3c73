"""A private Postgres and Redis for the tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.embedded.postgres import EmbeddedPostgres
from workers.embedded.redis import EmbeddedRedis


@contextmanager
def private_servers(folder: Path) -> Iterator[tuple[str, str]]:
    """Real servers with their data in `folder`: (database URL, Redis URL), gone with the `with` block."""
    postgres, redis = EmbeddedPostgres(folder, durable=False), EmbeddedRedis(folder)
    try:
        yield postgres.start(), redis.start()
    finally:
        redis.stop()
        postgres.stop()
