"""A running service over REST, as the light commands see it: typed replies, and two kinds of errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import quote
from uuid import UUID

import httpx
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ocr_tasks.contract import Format, Kind, OcrOptions, Priority, Status
from ocr_tasks.errors import Problem

CONNECT_S = 5.0
POLL_TIMEOUT_S = 10.0
TRANSFER_TIMEOUT_S = 120.0
JOBS_AT_ONCE = 100
# A service that waits by default would answer with a result, where a job is wanted.
AT_ONCE = {"Prefer": "wait=0"}


class ServiceProblem(Exception):
    """The service refused a request or failed at it; says what its problem document says."""

    def __init__(self, status: int, code: str, title: str, detail: str) -> None:
        super().__init__(describe({"title": title, "detail": detail, "code": code}))
        self.status, self.code, self.title, self.detail = status, code, title, detail

    @property
    def passing(self) -> bool:
        """Whether it is the kind of trouble that a restarting service, or a proxy in front of one, is over soon."""
        return self.status in (429, 502, 503, 504)


class ServiceUnreachable(Exception):
    """No service answers at the address."""


class ConnectionCut(ServiceUnreachable):
    """The service was reached, and the answer never came: what was asked for may have happened."""


def describe(problem: Problem) -> str:
    """A problem document in one line: title, detail and code."""
    title, detail = str(problem.get("title") or ""), str(problem.get("detail") or "")
    said = f"{title}: {detail}" if title and detail and title != detail else detail or title
    return " ".join(f"{said} ({problem.get('code')})".split())


# -- what it answers ---------------------------------------------


class Reply(BaseModel):
    """Frozen. Fields of a newer service are no error; `raw` is the answer as it came."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)
    raw: dict[str, Any] = Field(default_factory=dict, repr=False)


class Counts(Reply):
    total: int | None
    succeeded: int
    failed: int

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed


class Page(Reply):
    """A page; in a job's `flagged_pages` without its text."""

    page_no: int
    status: Status
    flags: tuple[str, ...] = ()
    error: Problem | None = None
    text: str | None = None
    markdown: str | None = None


class Job(Reply):
    id: UUID
    kind: Kind
    status: Status
    priority: Priority
    pages: Counts
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: Problem | None = None
    flagged_pages: tuple[Page, ...] = ()
    notice: str | None = None


class JobList(Reply):
    """The newest jobs first; `next` is the cursor of what follows."""

    jobs: tuple[dict[str, Any], ...]
    next: str | None = None


_Reply = TypeVar("_Reply", bound=Reply)


# -- the client ---------------------------------------------


class Rest:
    """One service's routes; every method raises ServiceProblem or ServiceUnreachable.

    Raises ValueError for an address that cannot be one.
    """

    def __init__(self, server_url: str) -> None:
        url = _checked(server_url)
        self.server_url = str(url.copy_with(userinfo=b"")).rstrip("/")
        # A proxy for the outside world (HTTP_PROXY) cannot reach this machine's own addresses.
        here = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}
        try:
            self._client = httpx.Client(base_url=url, mounts=here, timeout=_timeout(TRANSFER_TIMEOUT_S))
        except ImportError as error:  # a SOCKS proxy is set, and its package is not there
            raise ValueError(str(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def submit(self, file: BinaryIO, filename: str, options: OcrOptions) -> Job:
        """Send one document; of the options, those that were set."""
        return self.post_file("/api/ocr/process", file, filename, options.sent())

    def post_file(self, path: str, file: BinaryIO, filename: str, fields: dict[str, Any]) -> Job:
        """Send a file to become a job; of the fields, objects go as JSON."""
        name = filename.encode(errors="surrogateescape").decode(errors="replace")
        written = {key: json.dumps(value) if isinstance(value, dict) else value for key, value in fields.items()}
        data = {key: value for key, value in written.items() if value is not None}
        files = {"file": (name, file, "application/octet-stream")}
        return self._parsed(Job, self._send("POST", path, files=files, data=data, headers=AT_ONCE))

    def post(self, path: str, body: dict[str, Any]) -> Job:
        """Send an object to become a job."""
        return self._parsed(Job, self._send("POST", path, json=body, headers=AT_ONCE))

    def job(self, job_id: UUID) -> Job:
        """A job as it stands."""
        return self._parsed(Job, self._send("GET", f"/api/jobs/{job_id}", timeout=_timeout(POLL_TIMEOUT_S)))

    def jobs(self, limit: int, status: Status | None = None) -> tuple[list[Job], str | None]:
        """The newest `limit` jobs, and the cursor of what follows them."""
        found: list[Job] = []
        cursor: str | None = None
        while True:
            wanted = {"limit": min(limit - len(found), JOBS_AT_ONCE), "status": status, "cursor": cursor}
            params = {name: value for name, value in wanted.items() if value is not None}
            response = self._send("GET", "/api/jobs", params=params)
            listed = self._parsed(JobList, response)
            found += [self._reply(Job, raw, response) for raw in listed.jobs]
            cursor = listed.next
            if cursor is None or not listed.jobs or len(found) >= limit:
                return found, cursor

    def page(self, job_id: UUID, page_no: int) -> Page:
        """One page, with its text once it has ended."""
        return self._parsed(Page, self._send("GET", f"/api/jobs/{job_id}/pages/{page_no}"))

    def result(self, job_id: UUID, form: Format | None = None) -> bytes:
        """A job's result in UTF-8; without a format, in the one the job was submitted with."""
        return self._send("GET", f"/api/jobs/{job_id}/result", params={"format": form} if form else {}).content

    @staticmethod
    def quoted(name: str) -> str:
        """A caller's name for something, as a part of an address."""
        return quote(name, safe="")

    def bytes_at(self, path: str) -> bytes:
        """What the service has at an address that it gave."""
        return self._send("GET", path).content

    def cancel(self, job_id: UUID) -> Job:
        """End a job that is not over."""
        return self._parsed(Job, self._send("DELETE", f"/api/jobs/{job_id}"))

    def _send(self, method: str, path: str, **sent: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **sent)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ServiceUnreachable(
                f"No service at {self.server_url} ({error}): is `lightdom-ocr up` running? "
                "Set --server or OCR_SERVER_URL."
            ) from None
        except httpx.RequestError as error:
            reason = str(error) or type(error).__name__
            raise ConnectionCut(f"The service at {self.server_url} cut the connection ({reason}).") from None
        if not response.is_success:
            raise self._problem(response)
        return response

    def _parsed(self, model: type[_Reply], response: httpx.Response) -> _Reply:
        try:
            raw = response.json()
        except ValueError:
            raise self._stranger(response, "not in JSON") from None
        return self._reply(model, raw, response)

    def _reply(self, model: type[_Reply], raw: Any, response: httpx.Response) -> _Reply:
        try:
            return model.model_validate({**raw, "raw": raw})
        except (TypeError, ValueError):
            raise self._stranger(response, f"not with a {model.__name__.lower()}") from None

    def _problem(self, response: httpx.Response) -> ServiceProblem:
        try:
            problem = response.json()
        except ValueError:
            problem = None
        if not isinstance(problem, Mapping) or not isinstance(problem.get("code"), str):
            return self._stranger(response, "without a problem document")
        code, title = problem["code"], str(problem.get("title") or response.reason_phrase)
        return ServiceProblem(response.status_code, code, title, str(problem.get("detail") or title))

    def _stranger(self, response: httpx.Response, how: str) -> ServiceProblem:
        """What to say of an answer that this service would not give."""
        answer = f"{response.status_code} {response.reason_phrase}".strip()
        elsewhere = f" It points to {response.headers['Location'][:200]}." if response.is_redirect else ""
        return ServiceProblem(
            response.status_code,
            "unexpected_answer",
            "This is not how LightDom OCR answers",
            f"{self.server_url} answered {answer}, {how}.{elsewhere} Check --server or OCR_SERVER_URL.",
        )


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_S)


def _checked(server_url: str) -> httpx.URL:
    try:
        url = httpx.URL(server_url.strip())
    except httpx.InvalidURL as error:
        raise ValueError(f"{server_url[:200]!r} is not an address ({error}).") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{server_url[:200]!r} is not an address like http://127.0.0.1:8080.")
    return url
