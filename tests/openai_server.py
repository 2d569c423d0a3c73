"""A small real HTTP server that speaks the protocol of OpenAI's chat completions, and misbehaves as a test says."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "deepseek-ai/DeepSeek-OCR"
Misbehaviour = Callable[["Handler"], None]


@dataclass
class Request:
    """What arrived, and when (seconds of the monotonic clock)."""

    body: dict[str, Any]
    headers: dict[str, str]
    at: float = field(default_factory=time.monotonic)

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][0]["content"][1]["text"])

    @property
    def image_url(self) -> str:
        return str(self.body["messages"][0]["content"][0]["image_url"]["url"])


@dataclass
class OpenAiServer:
    """Answers every request with `answer`, after what `troubles` (one each, in order) do instead."""

    answer: Callable[[Request], str] = lambda request: "A page."
    troubles: list[Misbehaviour] = field(default_factory=list)
    always: Misbehaviour | None = None  # once `troubles` are used up
    key: str | None = None
    well: bool = True
    models: list[str] = field(default_factory=lambda: [MODEL])
    finish_reason: str = "stop"
    requests: list[Request] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)  # ends what hangs
    hung_up: threading.Event = field(default_factory=threading.Event)  # a client left while we let it wait
    under_way: int = 0
    most_under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    connections: list[socket.socket] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"


@contextmanager
def openai_server(**changes: Any) -> Iterator[OpenAiServer]:
    server = OpenAiServer(**changes)

    class Bound(Handler):
        served = server

    class Quiet(ThreadingHTTPServer):
        request_queue_size = 256
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hung up is no news."""

    http = Quiet(("127.0.0.1", server.port), Bound)
    server.port = http.server_address[1]
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.release.set()
        http.shutdown()
        http.server_close()
        for connection in server.connections:  # those that are kept alive would go on being served
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    served: OpenAiServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.served.connections.append(self.connection)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        return

    def do_GET(self) -> None:
        if self.path == "/version":
            return self.reply(200, {"version": "0.12.0"})
        if self.path != "/v1/models":
            return self.refuse(404, "Not Found")
        if self._refuses_key():
            return self.refuse(401, "Unauthorized")
        if not self.served.well:
            return self.refuse(500, "not well")
        models = [{"id": model, "object": "model", "owned_by": "vllm"} for model in self.served.models]
        return self.reply(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = Request(body, dict(self.headers))
        served = self.served
        with served.lock:
            served.requests.append(request)
            served.under_way += 1
            served.most_under_way = max(served.most_under_way, served.under_way)
            trouble = served.troubles.pop(0) if served.troubles else served.always
        try:
            if self.path != "/v1/chat/completions" or body["model"] not in served.models:
                self.refuse(404, f"The model `{body['model']}` does not exist.")
            elif self._refuses_key():
                self.refuse(401, "Unauthorized")
            elif trouble is not None:
                trouble(self)
            else:
                self.complete(served.answer(request))
        finally:
            with served.lock:
                served.under_way -= 1

    def complete(self, text: str) -> None:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": self.served.finish_reason}
        usage = {"prompt_tokens": 283, "completion_tokens": len(text.split()), "total_tokens": 0}
        self.reply(200, {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage})

    def reply(self, status: int, body: object, **headers: str) -> None:
        written = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(written)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(written)

    def refuse(self, status: int, message: str, **headers: str) -> None:
        self.reply(status, {"error": {"message": message, "code": status}}, **headers)

    def _refuses_key(self) -> bool:
        return self.served.key is not None and self.headers["Authorization"] != f"Bearer {self.served.key}"


# -- misbehaviours ---------------------------------------------


def status(code: int, message: str = "it is so", **headers: str) -> Misbehaviour:
    """Refuse with a status; headers with underscores for dashes."""
    return lambda handler: handler.refuse(code, message, **headers)


def hang(handler: Handler) -> None:
    """Let the client wait until the test ends or it hangs up."""
    handler.connection.settimeout(0.01)
    while not handler.served.release.is_set():
        with suppress(TimeoutError):
            if not handler.connection.recv(1):
                handler.served.hung_up.set()
                return
    handler.close_connection = True


def drop(handler: Handler) -> None:
    """Close the connection without an answer, as a process that dies does."""
    handler.close_connection = True


def drop_halfway(handler: Handler) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def garbage(content: bytes) -> Misbehaviour:
    """Answer 200 with something else than a completion."""
    return lambda handler: handler.reply(200, content)
