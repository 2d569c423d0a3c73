"""A small real HTTP server that speaks as much of the hub's protocol as fetching a model takes."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class SmallHub:
    """Has one model, `name`. `stall_after`: bytes of a file after which an answer stands still."""

    name: str
    files: dict[str, bytes]
    stall_after: int | None = None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)  # method, path, Range
    going_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@contextmanager
def small_hub(hub: SmallHub) -> Iterator[SmallHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        hub.going_on.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: SmallHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        if path.startswith(f"/api/models/{self.hub.name}/revision/"):
            self._json(self._description())
        elif path.startswith(f"/api/models/{self.hub.name}/tree/"):
            files = self.hub.files.items()
            self._json([{"type": "file", "path": name, "size": len(content), "oid": name} for name, content in files])
        elif path.startswith(f"/{self.hub.name}/resolve/") and (name := path.rpartition("/")[2]) in self.hub.files:
            self._file(self.hub.files[name])
        else:
            self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def _description(self) -> dict[str, object]:
        files = [{"rfilename": name, "size": len(content)} for name, content in self.hub.files.items()]
        return {"_id": "1", "id": self.hub.name, "sha": COMMIT, "siblings": files, "private": False}

    def _json(self, answer: object) -> None:
        self._answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _file(self, content: bytes) -> None:
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._answer(206 if start else 200, content[start:], headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        stall = self.hub.stall_after
        self.wfile.write(body[:stall])
        if stall is not None and len(body) > stall:
            self.wfile.flush()
            self.hub.going_on.wait()
            return
        self.wfile.flush()

    def handle(self) -> None:
        with suppress(ConnectionError):  # a client that was killed
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the base class
        pass
