"""A small web site on loopback, and canaries: places that must hear nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a path answers; `endless`: the body is never finished."""

    body: str | bytes = ""
    media_type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    endless: bool = False


class Site:
    """Answers paths with pages; notes who asked for what."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.over = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                site.answer(self, site.pages.get(self.path.partition("?")[0], Answer("not here", status=404)))

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def page(self, path: str, body: str | bytes, **answer: Any) -> str:
        """Put a page in place; returns its address."""
        self.pages[path] = Answer(body, **answer)
        return self.url(path)

    def answer(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        handler.send_response(answer.status)
        handler.send_header("Content-Type", answer.media_type)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) + (1_000_000 if answer.endless else 0)))
        handler.end_headers()
        handler.wfile.write(body)
        if answer.endless:
            handler.wfile.flush()
            self.over.wait(30)
            handler.close_connection = True

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


class Canary:
    """A TCP and a UDP port with the same number; whatever arrives there is kept."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        for listen in (self._listen_tcp, self._listen_udp):
            threading.Thread(target=listen, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _listen_tcp(self) -> None:
        self._until_closed(lambda: f"tcp {self._tcp.accept()[1]}")

    def _listen_udp(self) -> None:
        self._until_closed(lambda: f"udp {self._udp.recvfrom(2048)[0][:40]!r}")

    def _until_closed(self, hear: Callable[[], str]) -> None:
        while True:
            try:
                self.heard.append(hear())
            except OSError:
                return

    def close(self) -> None:
        for listening in (self._tcp, self._udp):
            listening.shutdown(socket.SHUT_RDWR) if listening is self._tcp else None
            listening.close()


@contextmanager
def running_site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@contextmanager
def silent_canary() -> Iterator[Canary]:
    """A canary that must not have heard anything by the end."""
    canary = Canary()
    yield canary
    canary.close()
    assert canary.heard == []
