"""Real servers for the whole session; a database schema and a Redis database of its own for whoever asks."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.schema import apply_schema
from ocr_tasks.settings import Settings
from tests.servers import private_servers
from tests.stack import QUICK, StackUnderTest, running_stack

# What a developer's shell or `.env` says must not leak into the tests.
for name in [name for name in os.environ if name.startswith(("OCR_", "DEEPSEEK_OCR_", "REDIS_", "SIM_"))]:
    del os.environ[name]
os.environ.pop("DATABASE_URL", None)

# Nor what it does about signals: a run in the background, or under nohup, ignores some, and its children with it.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

REDIS_DATABASES = 16


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder that the servers' own users can reach: pytest's lie below one that only its owner may enter."""
    folder = Path(tempfile.mkdtemp(prefix="lightdom-ocr-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def servers(session_folder: Path) -> Iterator[tuple[str, str]]:
    with private_servers(session_folder) as urls:
        yield urls


@pytest.fixture(scope="session")
def new_environment(servers: tuple[str, str], session_folder: Path) -> Callable[..., dict[str, str]]:
    """Makes environments that share nothing with each other: schema, Redis database, blobs."""
    database_url, redis_url = servers
    numbers = itertools.count(1)

    def make(**changes: str) -> dict[str, str]:
        number = next(numbers) % REDIS_DATABASES
        own_redis = f"{redis_url.rsplit('/', 1)[0]}/{number}"
        redis.Redis.from_url(own_redis).flushdb()
        environment = {
            "DATABASE_URL": database_url,
            "REDIS_URL": own_redis,
            "OCR_DB_SCHEMA": f"test_{uuid.uuid4().hex[:12]}",
            "OCR_DATA_DIR": str(session_folder / uuid.uuid4().hex),
            **QUICK,
            **changes,
        }
        database = Database(settings_of(environment))
        apply_schema(database)
        database.close()
        return environment

    return make


def settings_of(environment: dict[str, str]) -> Settings:
    """The settings that a process with this environment has."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        return Settings(_env_file=None)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@pytest.fixture
def settings(new_environment: Callable[..., dict[str, str]]) -> Settings:
    return settings_of(new_environment())


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    database = Database(settings, patience_s=2)
    yield database
    database.close()


@pytest.fixture(scope="module")
def simulated_stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    """The whole stack with an engine that answers at once; shared by a module."""
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, new_environment(), "web", "prepare", "reconcile", "simulated") as stack:
        yield stack
