"""A small real HTTP server that speaks the service's protocol, and answers as a test's script says."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ocr_tasks.errors import NotFound, NotReady, OcrError

State = dict[str, Any]
TIME = "2026-01-02T03:04:05.678901Z"


def running(ended: int, total: int | None) -> State:
    return {"status": "running" if total else "queued", "pages": {"total": total, "succeeded": ended, "failed": 0}}


def succeeded(total: int, failed_pages: Mapping[int, OcrError] | None = None, *, failed: int | None = None) -> State:
    """Ended well but for `failed_pages`; `failed`: when more failed than are named."""
    named = failed_pages or {}
    count = len(named) if failed is None else failed
    pages = {"total": total, "succeeded": total - count, "failed": count}
    flagged = [{"pageNo": no, "status": "failed", "flags": [], "error": e.problem()} for no, e in named.items()]
    return {"status": "succeeded", "pages": pages, "flaggedPages": flagged}


def ended_with(status: str, error: OcrError | None = None) -> State:
    return {"status": status, "error": error and error.problem()}


@dataclass
class Upload:
    """What arrived as one submitted form."""

    filename: str | None
    content: bytes
    fields: dict[str, str]
    headers: dict[str, str]


@dataclass
class Service:
    """Jobs by id with the states that each poll shows, the last one for ever; and a record of what was asked."""

    script: list[list[State] | OcrError] = field(default_factory=list)  # an entry for each file to be submitted
    states: dict[str, list[State]] = field(default_factory=dict)
    results: dict[str, bytes] = field(default_factory=dict)
    planned_results: list[bytes] = field(default_factory=list)  # of the next to be submitted, instead of their names
    elsewhere: dict[str, bytes] = field(default_factory=dict)  # what lies at other addresses
    bodies: list[dict[str, Any]] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    troubles: list[Callable[[Handler], None]] = field(default_factory=list)  # happen to the next GETs, one each
    connections: list[socket.socket] = field(default_factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        service = self

        class Bound(Handler):
            served = service

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Bound)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            for connection in self.connections:  # those that are kept alive would go on being served
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self.connections.clear()

    def add(self, *states: State, result: bytes = b"# Title\n") -> str:
        job_id = str(uuid.uuid4())
        self.states[job_id] = list(states) or [running(0, None)]
        self.results[job_id] = result
        return job_id

    def job(self, job_id: str) -> State:
        """The job as the next poll shows it."""
        states = self.states[job_id]
        state = states.pop(0) if len(states) > 1 else states[0]
        base = {"id": job_id, "kind": "ocr", "priority": "interactive", "batchId": None, "createdAt": TIME}
        ends: State = {"startedAt": None, "finishedAt": None, "error": None, "flaggedPages": []}
        # A field that this client's version does not know.
        return base | ends | {"pages": {"total": None, "succeeded": 0, "failed": 0}} | state | {"mood": "günstig"}


@contextmanager
def serving() -> Iterator[Service]:
    service = Service()
    service.start()
    try:
        yield service
    finally:
        service.stop()


class Handler(BaseHTTPRequestHandler):
    served: Service
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.served.connections.append(self.connection)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        return

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.served.asked.append(f"POST {self.path}")
        if self.headers["Content-Type"] == "application/json":
            self.served.bodies.append(json.loads(body))
            name = str(self.served.bodies[-1].get("url", ""))
        else:
            self.served.uploads.append(self._form(body))
            name = self.served.uploads[-1].filename or ""
        planned = self.served.script.pop(0) if self.served.script else []
        if isinstance(planned, OcrError):
            return self.refuse(planned)
        result = self.served.planned_results.pop(0) if self.served.planned_results else f"# {name}\n".encode()
        job_id = self.served.add(running(0, None), *planned, result=result)
        return self.answer(202, self.served.job(job_id))

    def do_GET(self) -> None:
        self.served.asked.append(f"GET {self.path}")
        if self.served.troubles:
            return self.served.troubles.pop(0)(self)
        if self.path in self.served.elsewhere:
            return self.answer(200, self.served.elsewhere[self.path], "application/octet-stream")
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query))
        parts = address.path.removeprefix("/api/jobs").strip("/").split("/")
        if parts == [""]:
            return self._list(int(query["limit"]), int(query.get("cursor", "0")), query.get("status"))
        if parts[0] not in self.served.states:
            return self.refuse(NotFound(f"There is no job {parts[0]}."))
        if parts[1:] == ["result"]:
            return self._result(parts[0])
        return self.answer(200, self.served.job(parts[0]))

    def do_DELETE(self) -> None:
        self.served.asked.append(f"DELETE {self.path}")
        job_id = self.path.rpartition("/")[2]
        if job_id not in self.served.states:
            return self.refuse(NotFound(f"There is no job {job_id}."))
        self.served.states[job_id] = [ended_with("cancelled")]
        return self.answer(200, self.served.job(job_id))

    def answer(self, status: int, body: Any, media_type: str = "application/json") -> None:
        written = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(written)))
        self.end_headers()
        self.wfile.write(written)

    def refuse(self, error: OcrError) -> None:
        self.answer(error.status, error.problem(), "application/problem+json")

    def hang_up(self) -> None:
        """Close the connection without an answer, as a process that dies does."""
        self.close_connection = True

    def _result(self, job_id: str) -> None:
        if self.served.states[job_id][0]["status"] != "succeeded":
            return self.refuse(NotReady("The job is running; its result is not there yet."))
        return self.answer(200, self.served.results[job_id], "text/markdown; charset=utf-8")

    def _list(self, limit: int, start: int, status: str | None) -> None:
        ids = [job for job, states in self.served.states.items() if status in (None, states[0]["status"])]
        following = str(start + limit) if start + limit < len(ids) else None
        jobs = [self.served.job(job) for job in ids[start : start + limit]]
        self.answer(200, {"jobs": jobs, "next": following})

    def _form(self, body: bytes) -> Upload:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        fields: dict[str, str] = {}
        filename, content = None, b""
        for part in message_from_bytes(head + body).get_payload():
            assert not isinstance(part, str)
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            if part.get_param("name", header="content-disposition") == "file":
                filename, content = _filename(dict(part.raw_items())["Content-Disposition"]), payload
            else:
                fields[str(part.get_param("name", header="content-disposition"))] = payload.decode()
        return Upload(filename, content, fields, dict(self.headers))


def _filename(disposition: str) -> str:
    """The name in a form's header, which is plain UTF-8: the parser of mails wants it encoded."""
    return disposition.encode(errors="surrogateescape").decode().partition('filename="')[2].rstrip('"')
