"""A small internet: names with public addresses, whose servers run on loopback; and canaries, which stay silent."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from ocr_tasks.addresses import Address
from ocr_tasks.urls import AllowList
from workers.sources.egress import Egress, opened

PUBLIC = "93.184.216.34"

Script = Callable[[socket.socket], None]
"""What a server does with a connection; it is closed afterwards."""


class Origin:
    """A TCP server on loopback that does as its script says.

    `heads`: the requests, each up to its empty line; `open`: the connections that its script still has.
    """

    def __init__(self, script: Script | None = None, host: str = "127.0.0.1") -> None:
        self.script = script or answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        self.connections = 0
        self.heads: list[bytes] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        recording[connection] = self.heads
        try:
            with suppress(OSError), connection:
                self.script(connection)
        finally:
            recording.pop(connection, None)
            self.open.discard(connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self.open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)


recording: dict[socket.socket, list[bytes]] = {}


def head_of(connection: socket.socket) -> bytes:
    """A request up to its empty line, kept by the Origin; ConnectionError when there is none."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError
        head += byte
    recording[connection].append(head)
    return head


def answering(*answers: bytes) -> Script:
    """Answers one request after the other, then closes."""

    def script(connection: socket.socket) -> None:
        for answer in answers:
            head_of(connection)
            connection.sendall(answer)

    return script


class Internet:
    """What names resolve to, one answer after the other (the last one stays), and where public addresses really lead.

    Anything else that is connected to is connected to really.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.servers: dict[str, Origin] = {}
        self.asked: list[str] = []
        self.connected: list[tuple[str, int]] = []

    def add(self, name: str, origin: Origin, address: str = PUBLIC) -> None:
        self.names[name] = [[address]]
        self.servers[address] = origin

    def resolve(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        if host not in self.names:
            raise socket.gaierror(f"no such name: {host}")
        answers = self.names[host]
        return [ip_address(address) for address in (answers.pop(0) if len(answers) > 1 else answers[0])]

    def open_socket(self, address: Address, port: int, timeout_s: float) -> socket.socket:
        self.connected.append((str(address), port))
        if str(address) in self.servers:
            return opened(ip_address("127.0.0.1"), self.servers[str(address)].port, timeout_s)
        return opened(address, port, timeout_s)

    def egress(self, allow: str = "", closed: frozenset[int] = frozenset()) -> Egress:
        return Egress(AllowList.parse(allow, closed), resolve=self.resolve, open_socket=self.open_socket)


@contextmanager
def canary(host: str = "127.0.0.1") -> Iterator[Origin]:
    """A server that fails the test when anything connects to it."""
    with Origin(host=host) as origin:
        yield origin
        assert origin.connections == 0, "something came through"
