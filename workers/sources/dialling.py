"""Connections that a guard opens, for code that must not block: each is opened in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

from workers.sources.egress import CONNECT_TIMEOUT_S, Connection, Guard


class Dialler:
    """Threads that end once they have a connection or are out of time. What nobody waits for any more is closed."""

    def __init__(self) -> None:
        self.threads: set[threading.Thread] = set()

    async def connect(self, guard: Guard, host: str, port: int, room: asyncio.Semaphore) -> Connection:
        """What `guard.connect` answers or raises; `room`: for how many at once, cancelled ones included."""
        await room.acquire()
        promise: Future[Connection] = Future()
        loop = asyncio.get_running_loop()

        def ask() -> None:
            _fulfil(promise, guard, host, port)
            self.threads.discard(thread)
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(room.release)

        thread = threading.Thread(target=ask, name="egress-connect", daemon=True)
        self.threads.add(thread)
        thread.start()
        try:
            return await asyncio.wrap_future(promise)
        except asyncio.CancelledError:
            if not promise.cancel() and promise.exception() is None:
                promise.result().socket.close()
            raise

    def join(self, timeout_s: float) -> None:
        """Wait for the threads, in all so long; one that is stuck in a resolver ends by itself."""
        give_up_at = time.monotonic() + timeout_s
        for thread in list(self.threads):
            thread.join(max(0, give_up_at - time.monotonic()))


def _fulfil(promise: Future[Connection], guard: Guard, host: str, port: int) -> None:
    try:
        connection = guard.connect(host, port, timeout_s=CONNECT_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001  # raised where it is waited for
        with suppress(InvalidStateError):  # nobody waits any more
            promise.set_exception(error)
        return
    try:
        promise.set_result(connection)
    except InvalidStateError:
        connection.socket.close()
