"""A private Postgres and Redis for the tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

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


@dataclass
class OwnServers:
    """Servers that may be killed: they come back on the same port, with the same password, Postgres with its data."""

    postgres: EmbeddedPostgres
    redis: EmbeddedRedis

    @property
    def environment(self) -> dict[str, str]:
        return {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}

    def kill(self, server: EmbeddedPostgres | EmbeddedRedis) -> None:
        """SIGKILL to a server and all its children."""
        assert server.process is not None
        for process in [*psutil.Process(server.process.pid).children(recursive=True), server.process]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        server.process.wait(10)


@contextmanager
def own_servers_in(folder: Path) -> Iterator[OwnServers]:
    """Real servers with their data in `folder`, which outlive no `with` block but any kill."""
    own = OwnServers(EmbeddedPostgres(folder, durable=True), EmbeddedRedis(folder))
    try:
        own.postgres.start()
        own.redis.start()
        yield own
    finally:
        own.redis.stop()
        own.postgres.stop()
