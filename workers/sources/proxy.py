"""An HTTP proxy in front of a browser: whatever the browser wants from the network passes a guard here.

Listens on 127.0.0.1 only. Other users of the machine can use it too while a page is rendered, and get no further than
that page does: to public addresses, and to what an operator has opened.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from ocr_tasks.errors import InvalidUrl, OcrError, UrlTooLarge
from ocr_tasks.urls import canonical_host, forbidden
from workers.sources.dialling import Dialler
from workers.sources.egress import Guard
from workers.sources.proxy_client import BUFFER_BYTES, Client, Cut
from workers.sources.traffic import Books, Traffic

log = structlog.get_logger(__name__)

MOST_CONNECTIONS = 256  # of a session; a browser opens 32, and one for each WebSocket
MOST_CONNECTING = 64  # at once, of a session; each takes a thread until it is connected or out of time
CLOSE_TIMEOUT_S = 2.0

_T = TypeVar("_T")


class EgressProxy:
    """Runs sessions, each on a port of its own, in one thread. To be made after a fork, not before."""

    def __init__(self) -> None:
        self.ports: set[int] = set()
        self.dialler = Dialler()
        self._sessions: set[ProxySession] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="egress-proxy", daemon=True)
        self._thread.start()

    def open(self, guard: Guard, *, max_bytes: int) -> ProxySession:
        """A session that may move so many bytes; close it, or the proxy."""
        session = ProxySession(self, guard, max_bytes)
        self.run(session.listen())
        self._sessions.add(session)
        return session

    def close(self) -> None:
        """End all sessions, their connections and the thread. Can be called again."""
        if self._loop.is_closed():
            return
        for session in list(self._sessions):
            session.close()
        self.dialler.join(CLOSE_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close()

    def forget(self, session: ProxySession) -> None:
        self._sessions.discard(session)

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """What a coroutine answers that is run in the proxy's thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


class ProxySession:
    """A loopback port, and the books of what went through it. Made by `EgressProxy.open`."""

    def __init__(self, proxy: EgressProxy, guard: Guard, max_bytes: int) -> None:
        self.port = 0
        self.guard = guard
        self.books = Books(max_bytes)
        self._proxy = proxy
        self._connecting = asyncio.Semaphore(MOST_CONNECTING)
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    # -- for whoever has the browser ---------------------------------------------

    @property
    def address(self) -> str:
        """What `--proxy-server` (with `--proxy-bypass-list=<-loopback>`) or a browser context is given."""
        return f"http://127.0.0.1:{self.port}"

    def begin(self, guard: Guard, *, max_bytes: int) -> None:
        """Start anew on the same port: all connections are cut, the books are empty."""
        self._proxy.run(self._begin(guard, max_bytes))

    def traffic(self) -> Traffic:
        """What went through until now; also after `close`."""
        return self.books.traffic()

    def error_of(self, host: str, port: int) -> OcrError | None:
        """Why the last connection to a place was refused: AddressForbidden, UrlUnreachable, UrlTimeout, UrlTooLarge ...

        `host` as a URL has it, in whatever form. None when the place was reached, or never asked for.
        """
        with suppress(InvalidUrl):
            host = canonical_host(f"[{host}]" if ":" in host and not host.startswith("[") else host)
        return self.books.error_of(host, port)

    def close(self) -> None:
        """Cut all connections and give the port back. Can be called again."""
        if self._server is not None:
            self._proxy.run(self._end())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close()

    # -- in the proxy's thread ---------------------------------------------

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=BUFFER_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        self._proxy.ports.add(self.port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CONNECTIONS:
            writer.transport.abort()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(self.reach, self.books, reader, writer)
        try:
            await client.serve()
        except Cut:
            self.books.refused(*client.place, self._too_large())
            for other in self._clients - {asyncio.current_task()}:
                other.cancel()
        except Exception:
            log.exception("proxy_connection_failed")

    async def reach(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a place, through the guard; the books tell what came of it. Raises OcrError."""
        try:
            if self.books.cut:
                raise self._too_large()
            connection = await self._proxy.dialler.connect(self.guard, host, port, self._connecting)
            if connection.address.is_loopback and port in self._proxy.ports:
                connection.socket.close()
                raise forbidden(host, port, "it is the proxy itself")
        except OcrError as error:
            self.books.refused(host, port, error)
            raise
        self.books.reached(host, port, str(connection.address))
        connection.socket.setblocking(False)
        return await asyncio.open_connection(sock=connection.socket, limit=BUFFER_BYTES)

    def _too_large(self) -> UrlTooLarge:
        return UrlTooLarge(f"The page loads more than {self.books.max_bytes} bytes.", limit=self.books.max_bytes)

    async def _begin(self, guard: Guard, max_bytes: int) -> None:
        await self._cut_all()
        self.guard, self.books = guard, Books(max_bytes)
        self._connecting = asyncio.Semaphore(MOST_CONNECTING)  # what hangs is the page's before

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut_all()
        self._proxy.ports.discard(self.port)
        self._proxy.forget(self)

    async def _cut_all(self) -> None:
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
