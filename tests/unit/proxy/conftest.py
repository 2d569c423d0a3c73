"""A proxy for each module; for each test an internet and a session that may reach it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.internet import Internet
from tests.proxied import MIB
from workers.sources.proxy import EgressProxy, ProxySession


@pytest.fixture
def internet() -> Internet:
    return Internet()


@pytest.fixture(scope="module")
def proxy() -> Iterator[EgressProxy]:
    with EgressProxy() as proxy:
        yield proxy


@pytest.fixture
def session(proxy: EgressProxy, internet: Internet) -> Iterator[ProxySession]:
    with proxy.open(internet.egress(), max_bytes=MIB) as session:
        yield session
