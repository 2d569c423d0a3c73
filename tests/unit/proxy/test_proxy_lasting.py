"""What never ends, what is too much, and what is left when the proxy closes."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.internet import PUBLIC, Internet, Origin
from tests.proxied import (
    MIB,
    dialled,
    everything,
    everything_silently,
    get,
    heard_out,
    until,
    wait_for,
)
from workers.sources import proxy as proxy_module
from workers.sources.egress import Connection
from workers.sources.proxy import EgressProxy, ProxySession


def test_a_slow_request_is_given_up(session: ProxySession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.sources.proxy_client.HEAD_TIMEOUT_S", 0.1)
    with dialled(session) as connection:
        connection.sendall(b"GET http://site.exam")
        assert everything(connection) == b""


def test_an_idle_connection_is_given_up(session: ProxySession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.sources.proxy_client.IDLE_TIMEOUT_S", 0.1)
    with dialled(session) as connection:
        assert everything(connection) == b""


def test_a_tunnel_that_is_half_closed_is_given_up(
    session: ProxySession, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sources.proxy_client.HALF_OPEN_TIMEOUT_S", 0.1)
    over = threading.Event()

    def silence(_: socket.socket) -> None:
        over.wait(5)

    with Origin(silence) as origin, dialled(session) as connection:
        internet.add("site.example", origin)
        connection.sendall(b"CONNECT site.example:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(connection, b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == b""
        over.set()


def test_a_client_that_leaves_takes_its_request_along(session: ProxySession, internet: Internet) -> None:
    with Origin(heard_out) as origin:
        internet.add("slow.example", origin)
        with dialled(session) as connection:
            connection.sendall(b"GET http://slow.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: len(origin.heads) == 1)
        wait_for(lambda: not origin.open)


def test_connections_are_bounded_and_room_comes_back(
    session: ProxySession, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_module, "MOST_CONNECTIONS", 10)
    with Origin() as origin:
        internet.add("site.example", origin)
        held = [dialled(session) for _ in range(10)]
        wait_for(lambda: len(session._clients) == 10)
        with dialled(session) as turned_away:
            assert everything(turned_away) == b""
        for connection in held:
            connection.close()
        wait_for(lambda: len(session._clients) < 10)
        assert get(session, "http://site.example/").body == b"hi"


def test_many_at_once_all_get_their_answers(session: ProxySession, internet: Internet) -> None:
    with Origin() as origin:
        internet.add("site.example", origin)
        bodies: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: bodies.append(get(session, "http://site.example/").body))
            for _ in range(100)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert bodies == [b"hi"] * 100
        assert session.traffic().reached[0].count == 100


def open_files() -> set[tuple[str, str]]:
    """Number and name of each; a socket's name is its inode."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the folder itself
            found.add((link.name, str(link.readlink())))
    return found


def test_closing_leaves_no_thread_and_no_socket(internet: Internet) -> None:
    hanging = threading.Event()
    with Origin(everything_silently) as origin:
        internet.add("site.example", origin)
        internet.names["slow.example"] = [[PUBLIC]]
        threads, files = set(threading.enumerate()), open_files()
        proxy = EgressProxy()
        session = proxy.open(internet.egress(), max_bytes=MIB)
        clients = [dialled(session) for _ in range(20)]
        for client in clients[:10]:
            client.sendall(b"CONNECT site.example:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        for client in clients[5:10]:
            until(client, b"\r\n\r\n")
            client.sendall(b"x")
        for client in clients[10:15]:
            client.sendall(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: origin.connections == 15)
        proxy.close()
        proxy.close()
        for client in clients:
            everything(client)
            client.close()
        hanging.set()
        wait_for(lambda: not origin.open)
        # By name, as what other tests left may go meanwhile.
        wait_for(lambda: set(threading.enumerate()) <= threads and open_files() <= files)


def test_closing_does_not_wait_for_a_resolver_that_hangs() -> None:
    hanging = threading.Event()
    internet = Internet()
    egress = internet.egress()
    egress._resolve = lambda _: [] * hanging.wait(10)
    with EgressProxy() as proxy:
        session = proxy.open(egress, max_bytes=MIB)
        with dialled(session) as client:
            client.sendall(b"CONNECT slow.example:80 HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: len(proxy.dialler.threads) == 1)
            started = time.monotonic()
            session.close()
            assert time.monotonic() - started < 1
            assert everything(client) == b""
        hanging.set()
        wait_for(lambda: not proxy.dialler.threads)


def test_a_connection_that_comes_too_late_is_closed(proxy: EgressProxy, internet: Internet) -> None:
    asked, go_on = threading.Event(), threading.Event()

    class Slow:
        def connect(self, host: str, port: int, *, timeout_s: float = 10) -> Connection:
            asked.set()
            go_on.wait(5)
            kept.append(internet.egress("127.0.0.1").connect(host, port, timeout_s=timeout_s))
            return kept[0]

    kept: list[Connection] = []  # nor does the collector of garbage close it
    ended = threading.Event()

    def script(connection: socket.socket) -> None:
        everything(connection)
        ended.set()

    with Origin(script) as origin:
        session = proxy.open(Slow(), max_bytes=MIB)
        with dialled(session) as client:
            client.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % origin.port)
            assert asked.wait(5)
            session.close()
        go_on.set()
        assert ended.wait(5)
        assert origin.connections == 1
