"""One end of what a proxy passes on: a connection, the messages on it (h11), and its share of the bytes."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import h11

from workers.sources.traffic import Books

CHUNK_BYTES = 64 * 1024
HEAD_BYTES = 128 * 1024  # request or status line, and headers
STALL_TIMEOUT_S = 300.0  # without a byte in the middle of a message, or with one that is not taken

HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer upgrade".split()
)


class Cut(Exception):
    """The session has moved more bytes than it may."""


class Side:
    """`books`: of the session, for the end that is a server; what goes to and from the browser is not counted again."""

    def __init__(
        self,
        role: type[h11.CLIENT] | type[h11.SERVER],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        books: Books | None = None,
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=HEAD_BYTES)
        self.reader = reader
        self._writer = writer
        self._books = books

    async def read(self, timeout_s: float | None = STALL_TIMEOUT_S) -> bytes:
        """What comes next; empty at the end."""
        async with asyncio.timeout(timeout_s):
            received = await self.reader.read(CHUNK_BYTES)
        self._count(received=len(received))
        return received

    async def write(self, content: bytes) -> None:
        self._count(sent=len(content))
        self._writer.write(content)
        async with asyncio.timeout(STALL_TIMEOUT_S):
            await self._writer.drain()

    def _count(self, received: int = 0, sent: int = 0) -> None:
        if self._books is not None:
            self._books.moved(received=received, sent=sent)
            if self._books.cut:
                raise Cut

    async def event(self) -> object:
        """The next part of a message (h11.Event or h11.PAUSED); raises h11.RemoteProtocolError."""
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.read())
        return event

    async def send(self, event: h11.Event) -> None:
        content = self.http.send(event)
        if content:
            await self.write(content)

    @property
    def unread(self) -> bytes:
        """What was received and belongs to no message yet."""
        return self.http.trailing_data[0]

    async def pump(self, other: Side) -> None:
        """Pass on whatever comes, and its end."""
        while received := await self.read(timeout_s=None):
            await other.write(received)
        await other.end()

    async def end(self) -> None:
        """Say that nothing follows; what does come can still be read."""
        with suppress(OSError):
            self._writer.write_eof()

    async def close(self, timeout_s: float) -> None:
        """Close once everything is sent."""
        with suppress(OSError, TimeoutError):
            self._writer.close()
            async with asyncio.timeout(timeout_s):
                await self._writer.wait_closed()

    def abort(self) -> None:
        """Close at once."""
        self._writer.transport.abort()


def end_to_end(message: h11.Request | h11.InformationalResponse | h11.Response) -> list[tuple[bytes, bytes]]:
    """The headers of a message that are meant for its other end: all but those of this one connection.

    A wish to speak another protocol (a WebSocket) is for the other end too. Of two ways to say how long a body is,
    `Transfer-Encoding` counts (RFC 9112, 6.3) and goes alone.
    """
    headers = message.headers
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    dropped = HOP_BY_HOP | (named - {b"transfer-encoding", b"content-length", b"host"})
    if any(name == b"transfer-encoding" for name, _ in headers):
        dropped |= {b"content-length"}
    kept = [(name, value) for name, value in headers.raw_items() if name.lower() not in dropped]
    if b"upgrade" in named:
        kept += [(b"Connection", b"Upgrade"), *((b"Upgrade", value) for name, value in headers if name == b"upgrade")]
    return kept
