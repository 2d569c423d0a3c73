"""What a proxy does for one connection of a browser: tunnels (CONNECT), and requests passed on one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import structlog

from ocr_tasks.errors import AddressForbidden, InvalidUrl, OcrError, UrlTimeout, UrlUnreachable
from workers.sources.proxy_side import CHUNK_BYTES, Cut, Side, end_to_end
from workers.sources.proxy_targets import absolute_form, authority_form, targeted
from workers.sources.traffic import Books

__all__ = ["BUFFER_BYTES", "Client", "Cut"]

log = structlog.get_logger(__name__)

BUFFER_BYTES = CHUNK_BYTES
IDLE_TIMEOUT_S = 300.0  # until a request begins; browsers open connections ahead of need
HEAD_TIMEOUT_S = 15.0  # from a request's first byte to the end of its headers
HALF_OPEN_TIMEOUT_S = 30.0  # of a tunnel, one end of which has said that nothing follows
CLOSE_TIMEOUT_S = 5.0

Reach = Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Client:
    """One connection of a browser, and the connection to a server that its requests go to at the moment.

    What cannot be reached is answered 403 (it may not be), 502 or 504 (it could not be), without a body, and with the
    error's code in the header `X-LightDom-Refused`.
    """

    def __init__(self, reach: Reach, books: Books, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reach = reach
        self._books = books
        self._client = Side(h11.SERVER, reader, writer)
        self._server: Side | None = None
        self.place = ("", 0)  # that the server was reached at
        self._reused = False  # whether it has answered a request before
        self._watch: asyncio.Task[bytes] | None = None  # what it says between two requests

    async def serve(self) -> None:
        """Until either end has had enough. Raises Cut when the session has."""
        try:
            while await self._serve_one():
                pass
            await self._client.close(CLOSE_TIMEOUT_S)
        except (OSError, EOFError, h11.ProtocolError) as error:  # TimeoutError is an OSError
            log.debug("proxy_connection_lost", error=f"{type(error).__name__}: {error}"[:200])
        finally:
            self._client.abort()
            if self._server is not None:
                self._server.abort()
            if self._watch is not None:
                await _cancelled(self._watch)

    async def _serve_one(self) -> bool:
        """One request; False when it was the last on this connection."""
        try:
            request = await self._request()
            if request is None:
                return False
            if request.method == b"CONNECT":
                await self._tunnel(request)
                return False
            return await self._exchange(request)
        except h11.RemoteProtocolError as error:
            if self._client.http.our_state is not h11.IDLE:
                raise
            await self._refuse(error.error_status_hint, "invalid_request")
        except OcrError as error:
            await self._refuse(_status(error), error.code)
        return False

    async def _request(self) -> h11.Request | None:
        """The head of the next request; None when there is none."""
        if not self._client.unread:
            self._client.http.receive_data(await self._client.read(IDLE_TIMEOUT_S))
        async with asyncio.timeout(HEAD_TIMEOUT_S):
            event = await self._client.event()
        return event if isinstance(event, h11.Request) else None

    async def _refuse(self, status: int, code: str) -> None:
        """Answer that it cannot be; nothing that the client still sends is looked at."""
        if self._client.http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            raise ConnectionAbortedError("the answer has begun")
        headers = [("Content-Length", "0"), ("X-LightDom-Refused", code), ("Connection", "close")]
        await self._client.send(h11.Response(status_code=status, headers=headers))
        await self._client.send(h11.EndOfMessage())
        await self._client.end()
        async with asyncio.timeout(CLOSE_TIMEOUT_S):  # closing on unread bytes would take the answer back
            while await self._client.read():
                pass

    # -- tunnels ---------------------------------------------

    async def _tunnel(self, request: h11.Request) -> None:
        self.place = host, port = targeted(authority_form, request.target, self._books)[:2]
        self._server = Side(h11.CLIENT, *await self._reach(host, port), self._books)
        await self._client.send(h11.Response(status_code=200, headers=[], reason=b"Connection established"))
        await self._splice(self._server)

    async def _splice(self, server: Side) -> None:
        """Pass bytes on, both ways, until both ends are done or one has failed."""
        if self._client.unread:
            await server.write(self._client.unread)
        if server.unread:
            await self._client.write(server.unread)
        pumps = {asyncio.create_task(self._client.pump(server)), asyncio.create_task(server.pump(self._client))}
        try:
            ended, open_ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in ended:
                pump.result()  # raises what ended it
            if open_:
                await asyncio.wait(open_, timeout=HALF_OPEN_TIMEOUT_S)
        finally:
            await _cancelled(*pumps)

    # -- requests ---------------------------------------------

    async def _exchange(self, request: h11.Request) -> bool:
        """Pass a request and its answer on; False when the connection is over after it."""
        host, port, authority, target = targeted(absolute_form, request.target, self._books)
        server = await self._server_at(host, port)
        headers = [(name, value) for name, value in end_to_end(request) if name.lower() != b"host"]
        headers.insert(0, (b"Host", authority.encode()))
        await server.send(h11.Request(method=request.method, target=target.encode("latin-1"), headers=headers))
        upload = asyncio.create_task(self._upload(server))
        download = asyncio.create_task(self._download(server))
        try:
            ended, _ = await asyncio.wait({upload, download}, return_when=asyncio.FIRST_COMPLETED)
            if download not in ended:
                upload.result()  # raises when the client is gone
            await download
        finally:
            await _cancelled(upload, download)
        if server.http.our_state is h11.SWITCHED_PROTOCOL:
            await self._splice(server)
            return False
        return self._ready_for_more(server)

    async def _server_at(self, host: str, port: int) -> Side:
        """The connection of the last request if that went to the same place, else a new one."""
        server = self._server
        if server is not None:
            self._reused = await self._silent(server) and self.place == (host, port)
            if self._reused:
                return server
            server.abort()
        self._server, self._reused = None, False
        self._server = server = Side(h11.CLIENT, *await self._reach(host, port), self._books)
        self.place = (host, port)
        return server

    async def _silent(self, server: Side) -> bool:
        """Whether a kept server has said nothing since its last answer: neither goodbye nor that it waited too long."""
        silent = self._watch is not None and not self._watch.done() and not server.reader.at_eof()
        if self._watch is not None:
            await _cancelled(self._watch)
        return silent

    def _ready_for_more(self, server: Side) -> bool:
        try:
            server.http.start_next_cycle()
            self._watch = asyncio.create_task(server.read(timeout_s=None))
        except h11.LocalProtocolError:  # it closes, or was not sent all
            server.abort()
            self._server = None
        try:
            self._client.http.start_next_cycle()
        except h11.LocalProtocolError:
            return False
        return True

    async def _upload(self, server: Side) -> None:
        """The request's body; then returns when the client sends more. Raises ConnectionError when it is gone."""
        taken = True
        while isinstance(event := await self._client.event(), h11.Data):
            taken = taken and await _sent(server, h11.Data(event.data))
        if not isinstance(event, h11.EndOfMessage):
            raise ConnectionAbortedError("the client left in the middle of its request")
        if taken:
            await _sent(server, h11.EndOfMessage())
        if not self._client.unread:
            received = await self._client.read(timeout_s=None)
            if not received:
                raise ConnectionAbortedError("the client left before it had its answer")
            self._client.http.receive_data(received)

    async def _download(self, server: Side) -> None:
        """The answer, or as much of one as makes the connection speak another protocol."""
        event = None
        while not isinstance(event, h11.EndOfMessage):
            event = await self._answered(server)
            if isinstance(event, h11.InformationalResponse | h11.Response):
                headers = end_to_end(event)
                passed = type(event)(status_code=event.status_code, headers=headers, reason=event.reason)
                await self._client.send(passed)
                if event.status_code == 101:
                    return
            elif isinstance(event, h11.Data):
                await self._client.send(h11.Data(event.data))
            elif isinstance(event, h11.EndOfMessage):
                await self._client.send(h11.EndOfMessage())
            else:
                raise ConnectionAbortedError("the server left")

    async def _answered(self, server: Side) -> object:
        """The next part of the answer; raises UrlUnreachable or UrlTimeout, booked, when there was none before."""
        try:
            return await server.event()
        except (OSError, h11.RemoteProtocolError) as error:
            if self._reused or self._client.http.our_state is not h11.SEND_RESPONSE:
                raise  # a kept connection may end at any time: browsers ask again when theirs does
            host, port = self.place
            kind = UrlTimeout if isinstance(error, TimeoutError) else UrlUnreachable
            said = "did not answer in time" if kind is UrlTimeout else "does not answer as HTTP says"
            refusal = kind(f"{host}, port {port}, {said}.", host=host, port=port)
            self._books.refused(host, port, refusal)
            raise refusal from None


def _status(error: OcrError) -> int:
    if isinstance(error, AddressForbidden | InvalidUrl):
        return 403
    return 504 if isinstance(error, UrlTimeout) else 502


async def _sent(server: Side, event: h11.Event) -> bool:
    """Whether a server took a part of a request; one that does not may have answered already."""
    try:
        await server.send(event)
    except (OSError, h11.LocalProtocolError):
        return False
    return True


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Tasks that are over, whatever they were about."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
