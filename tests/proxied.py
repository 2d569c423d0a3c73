"""A client of the egress proxy, byte by byte, and scripts of servers behind it."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass

from tests.internet import head_of
from workers.sources.proxy import ProxySession

MIB = 1024 * 1024


def dialled(session: ProxySession) -> socket.socket:
    return socket.create_connection(("127.0.0.1", session.port), timeout=5)


def said(session: ProxySession, *parts: bytes) -> bytes:
    """All that the proxy answers to what is sent, until it closes."""
    with dialled(session) as connection:
        for part in parts:
            connection.sendall(part)
        return everything(connection)


def everything(connection: socket.socket) -> bytes:
    answer = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            answer += part
    return answer


def exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        assert part, f"the connection ended after {received!r}"
        received += part
    return received


def until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        received += exactly(connection, 1)
    return received


def wait_for(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come about"
        time.sleep(0.005)


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes


def get(session: ProxySession, url: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    """One request through the proxy, on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", session.port, timeout=5)) as connection:
        connection.request(method, url, headers=headers or {})
        with connection.getresponse() as response:
            return Answer(response.status, response.reason, response.headers, response.read())


def unchunked(connection: socket.socket) -> bytes:
    body = b""
    while size := int(until(connection, b"\r\n"), 16):
        body += exactly(connection, size)
        exactly(connection, 2)
    exactly(connection, 2)
    return body


def heard_out(connection: socket.socket) -> None:
    head_of(connection)
    everything(connection)


def everything_silently(connection: socket.socket) -> None:
    everything(connection)
