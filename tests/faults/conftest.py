"""Shared by the tests of faults: the database of the module's `stack`, and servers that a test may kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from ocr_tasks.jobs.database import Database
from tests.conftest import settings_of
from tests.servers import OwnServers, own_servers_in
from tests.stack import StackUnderTest, running_stack, until

SLOW = {"SIM_CAPACITY": "2", "SIM_PAGE_S": "0.2"}


@pytest.fixture
def store(stack: StackUnderTest) -> Iterator[Database]:
    """The database of the module's stack, seen from the test."""
    database = Database(settings_of(dict(stack.environment)), patience_s=15)
    yield database
    database.close()


@pytest.fixture(scope="module")
def own_servers(session_folder: Path, request: pytest.FixtureRequest) -> Iterator[OwnServers]:
    folder = session_folder / request.module.__name__
    folder.mkdir(mode=0o711)
    with own_servers_in(folder) as own:
        yield own


@pytest.fixture(scope="module")
def stack_on_own_servers(
    own_servers: OwnServers,
    new_environment: Callable[..., dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StackUnderTest]:
    """The whole stack, its engine slow enough to be caught in the act, on servers that may be killed."""
    environment = new_environment(**own_servers.environment, **SLOW)
    with running_stack(
        tmp_path_factory.mktemp("stack"), environment, "web", "prepare", "reconcile", "simulated"
    ) as stack:
        yield stack


def web_answers(stack: StackUnderTest) -> None:
    """Wait until web is there, whatever else is not."""

    def answers() -> bool:
        try:
            return httpx.get(f"{stack.url}/healthz").is_success
        except httpx.TransportError:
            return False

    until(answers, what="web")
