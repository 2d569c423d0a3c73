"""The way to Postgres: one engine a process, statements that are tried again after a lost connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, RowMapping, TextClause, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ocr_tasks.errors import ServiceUnavailable
from ocr_tasks.settings import Settings

log = structlog.get_logger(__name__)
T = TypeVar("T")
Row = RowMapping


class Database:
    """Runs transactions. Everything sent through it is fenced or idempotent, so it may safely run twice.

    patience_s: how long a lost or refused connection is tried again before ServiceUnavailable is raised.
    """

    def __init__(self, settings: Settings, *, patience_s: float = 30, pool_size: int = 5) -> None:
        self.schema = settings.db_schema
        self.patience_s = patience_s
        self.engine: Engine = create_engine(
            # Named, because the default driver of postgresql:// differs between releases of SQLAlchemy.
            make_url(settings.database_url).set(drivername="postgresql+psycopg2"),
            pool_size=pool_size,
            max_overflow=10,  # no pre-ping: a connection that was lost shows itself in `run`, which tries again
            pool_recycle=1800,
            connect_args={
                "options": f"-csearch_path={self.schema} -cstatement_timeout=30s -clock_timeout=10s",
                "connect_timeout": 5,
                "application_name": "lightdom-ocr",
                "keepalives_idle": 30,
            },
        )
        # A single statement is a transaction in itself: one round trip instead of three.
        self._single = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        # For `run`: all that is read in one transaction is read as it stood at the same time.
        self.snapshots = self.engine.execution_options(isolation_level="REPEATABLE READ")

    def run(self, work: Callable[[Connection], T], *, engine: Engine | None = None) -> T:
        """Run `work` in one transaction and return what it returns, after the commit."""
        give_up_at = time.monotonic() + self.patience_s
        pause_s = 0.05
        while True:
            try:
                with (engine or self.engine).begin() as connection:
                    return work(connection)
            except (DBAPIError, PoolTimeout) as error:
                if not _is_passing(error):
                    raise
                if time.monotonic() + pause_s > give_up_at:
                    raise ServiceUnavailable("The database is not reachable.") from error
                reason = str(getattr(error, "orig", error)).strip()[:200]
                log.warning("database_retry", error=reason, pause_s=round(pause_s, 2))
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 2)

    def all(self, sql: str, **params: Any) -> Sequence[RowMapping]:
        """Run one statement, a transaction of its own; returns its rows."""
        return self.run(
            lambda connection: connection.execute(_statement(sql), params).mappings().all(), engine=self._single
        )

    def one(self, sql: str, **params: Any) -> RowMapping | None:
        """Like `all`, for a statement that gives one row or none."""
        rows = self.all(sql, **params)
        return rows[0] if rows else None

    def execute(self, sql: str, **params: Any) -> int:
        """Like `all`, for a statement without rows; returns how many it touched."""
        return self.run(lambda connection: connection.execute(_statement(sql), params).rowcount, engine=self._single)

    def changes_one(self, sql: str, **params: Any) -> bool:
        """Like `execute`, for a statement that changes one row, or none when a fence refuses it."""
        return self.execute(sql, **params) == 1

    def forget_connections(self) -> None:
        """After a fork: leave the parent's connections to the parent."""
        self.engine.dispose(close=False)

    def close(self) -> None:
        self.engine.dispose()


@lru_cache(maxsize=256)
def _statement(sql: str) -> TextClause:
    return text(sql)


def _is_passing(error: DBAPIError | PoolTimeout) -> bool:
    """Whether the connection was at fault, or a deadlock: then another try can succeed."""
    if isinstance(error, PoolTimeout) or error.connection_invalidated:  # a frozen server holds all connections up
        return True
    code = getattr(error.orig, "pgcode", None)
    if code is None:  # no answer from a server at all: refused, reset, starting up
        return isinstance(error, OperationalError)
    # 08: connection; 57P: shutdown or start-up; 40: deadlock or serialisation; 53300: too many connections;
    # 57014, 55P03: our own limits on statements and locks, which one that was frozen passes as it wakes
    return code[:2] in ("08", "40") or code[:3] == "57P" or code in ("53300", "57014", "55P03")
