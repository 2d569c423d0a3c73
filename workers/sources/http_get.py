"""One GET request on a connection that a guard opened, within a deadline."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import certifi
import h11
import structlog

import ocr_tasks
from ocr_tasks.errors import OcrError, UrlTimeout, UrlUnreachable
from ocr_tasks.urls import WebUrl
from workers.sources.egress import CONNECT_TIMEOUT_S, Guard

log = structlog.get_logger(__name__)

CHUNK_BYTES = 64 * 1024
HEAD_BYTES = 128 * 1024


@dataclass(frozen=True)
class Deadline:
    """When a download is given up, and the seconds that it may go without a byte."""

    at: float  # of time.monotonic()
    stall_s: float

    def left_s(self, host: str) -> float:
        """Seconds that the next thing may take; raises UrlTimeout when there are none."""
        left_s = self.at - time.monotonic()
        if left_s <= 0:
            raise UrlTimeout(f"{host} takes longer than allowed.", host=host)
        return min(left_s, self.stall_s)


class Answer:
    """What a server answers to a GET. Names in `headers` are in lower case."""

    def __init__(self, url: WebUrl, guard: Guard, deadline: Deadline, tls: ssl.SSLContext) -> None:
        """Raises what the guard raises, UrlUnreachable or UrlTimeout."""
        self._host = url.host
        self._deadline = deadline
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        timeout_s = min(CONNECT_TIMEOUT_S, deadline.left_s(url.host))
        self._socket = guard.connect(url.host, url.port, timeout_s=timeout_s).socket
        try:
            if url.scheme == "https":
                self._secure(tls)
            self._ask(url)
            head = self._next()
            while isinstance(head, h11.InformationalResponse):
                head = self._next()
            if not isinstance(head, h11.Response):
                self._fail(f"sent {head!r}")
        except BaseException:
            self.close()
            raise
        self.status = head.status_code
        self.reason = head.reason.decode("latin-1")
        self.headers = {name.decode(): _text(value) for name, value in reversed(list(head.headers))}

    def body(self) -> Iterator[bytes]:
        """The body as it comes, still in its content coding; raises UrlUnreachable when it is cut off, UrlTimeout."""
        while isinstance(part := self._next(), h11.Data):
            yield bytes(part.data)
        if not isinstance(part, h11.EndOfMessage):
            self._fail(f"sent {part!r}")

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self.close()

    def _secure(self, tls: ssl.SSLContext) -> None:
        try:
            self._socket.settimeout(self._deadline.left_s(self._host))
            self._socket = tls.wrap_socket(self._socket, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            raise UrlUnreachable(
                f"{self._host} has a certificate that is not to be trusted: {error.verify_message}.", host=self._host
            ) from None
        except OSError as error:
            raise self._failure(error) from None

    def _ask(self, url: WebUrl) -> None:
        headers = {
            "Host": url.authority,
            "User-Agent": f"LightDom-OCR/{ocr_tasks.__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "gzip",
            "Connection": "close",
        }
        request = h11.Request(method="GET", target=url.target, headers=list(headers.items()))
        try:
            self._socket.settimeout(self._deadline.left_s(self._host))
            self._socket.sendall((self._http.send(request) or b"") + (self._http.send(h11.EndOfMessage()) or b""))
        except OSError as error:
            raise self._failure(error) from None

    def _next(self) -> object:
        """The next part of the answer."""
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._socket.settimeout(self._deadline.left_s(self._host))
                self._http.receive_data(self._socket.recv(CHUNK_BYTES))
        except (OSError, h11.RemoteProtocolError) as error:
            raise self._failure(error) from None
        return event

    def _fail(self, what: str) -> NoReturn:
        raise self._failure(ConnectionAbortedError(what))

    def _failure(self, error: Exception) -> OcrError:
        log.info("url_not_fetched", host=self._host, error=f"{type(error).__name__}: {error}"[:500])
        if isinstance(error, TimeoutError):
            return UrlTimeout(f"{self._host} did not go on answering in time.", host=self._host)
        return UrlUnreachable(f"{self._host} broke the connection off, or does not speak HTTP.", host=self._host)


def _text(value: bytes) -> str:
    """A header's value: UTF-8 where it is that, as browsers take it."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    """Whom to trust: the system's authorities (or SSL_CERT_FILE's), Mozilla's where the system has none."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    folder = paths.capath and any(Path(paths.capath).iterdir())
    if not (paths.cafile or folder or os.environ.get(paths.openssl_cafile_env)):
        context.load_verify_locations(certifi.where())
    return context
