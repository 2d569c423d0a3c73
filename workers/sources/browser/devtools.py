"""The DevTools protocol over one socket: calls with a deadline, events for whoever listens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import websocket

Params = dict[str, Any]


class Late(Exception):
    """The browser did not answer by the deadline."""


class Gone(Exception):
    """The browser, or the page that was spoken to, is not there any more."""


class Refused(Exception):
    """The browser answers that it cannot do this."""


@dataclass(frozen=True)
class Event:
    """Something that happened; `session` is that of a page, a frame or a worker, empty for the browser itself."""

    method: str
    params: Params
    session: str


class DevTools:
    """One socket to the browser. Events are handed out while a call or a wait is under way, in the same thread."""

    def __init__(self, endpoint: str, timeout_s: float = 30) -> None:
        self.listener: Callable[[Event], None] = lambda event: None
        self.deadline = time.monotonic() + timeout_s
        self._last_id = 0
        self._answers: dict[int, Params] = {}
        self._awaited: set[int] = set()
        try:
            self._socket = websocket.create_connection(
                endpoint,
                timeout=timeout_s,
                suppress_origin=True,  # Chromium refuses web pages, which have one
                http_no_proxy=["127.0.0.1"],
                skip_utf8_validation=True,
            )
        except (OSError, websocket.WebSocketException) as error:
            raise Gone(str(error)) from None

    def tell(self, method: str, session: str = "", **params: Any) -> int:
        """Send a command and do not wait for its answer; returns its id."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        try:
            self._socket.send(json.dumps(message))
        except (OSError, websocket.WebSocketException) as error:
            raise Gone(str(error)) from None
        return self._last_id

    def ask(self, method: str, session: str = "", **params: Any) -> int:
        """Send a command whose answer `answer` will be asked for."""
        number = self.tell(method, session, **params)
        self._awaited.add(number)
        return number

    def answer(self, number: int, deadline: float | None = None) -> Params:
        """The answer to a command; raises Late, Gone or Refused."""
        came = self.wait(lambda: number in self._answers, deadline)
        self._awaited.discard(number)
        if not came:
            raise Late
        return _result(self._answers.pop(number))

    def call(self, method: str, session: str = "", **params: Any) -> Params:
        """Send a command and wait for its answer until the deadline; raises Late, Gone or Refused."""
        return self.answer(self.ask(method, session, **params))

    def wait(self, condition: Callable[[], bool], deadline: float | None = None) -> bool:
        """Hand out events until the condition holds; False when `deadline` (or the socket's own) comes first."""
        until = self.deadline if deadline is None else min(deadline, self.deadline)
        while not condition():
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._receive(left)
        return True

    def pause(self, seconds: float) -> None:
        """Hand out events for so long."""
        self.wait(lambda: False, time.monotonic() + seconds)

    def close(self) -> None:
        self._socket.close(timeout=0)

    def _receive(self, timeout_s: float) -> None:
        """Take one message in, if one comes in time."""
        self._socket.settimeout(max(timeout_s, 0.001))
        try:
            text = self._socket.recv()
        except websocket.WebSocketTimeoutException:
            return
        except (OSError, websocket.WebSocketException) as error:
            raise Gone(str(error)) from None
        if not text:
            raise Gone("closed")
        message = json.loads(text)
        if "id" not in message:
            self.listener(Event(message["method"], message.get("params", {}), message.get("sessionId", "")))
        elif message["id"] in self._awaited:
            self._answers[message["id"]] = message


def _result(message: Params) -> Params:
    if "error" not in message:
        return dict(message["result"])
    said = str(message["error"].get("message", ""))
    if "session" in said.lower() and "not found" in said.lower():
        raise Gone(said)
    raise Refused(said)
