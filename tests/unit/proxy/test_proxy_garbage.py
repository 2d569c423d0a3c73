"""What is no HTTP, or only nearly."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.internet import PUBLIC, Internet, Origin, canary
from tests.proxied import (
    MIB,
    dialled,
    everything,
)
from workers.sources.proxy import EgressProxy, ProxySession


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET https://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET ftp://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://good@127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http:///x HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://site.example:99999/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT site.example HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT http://site.example:80/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT :80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT [::1%25lo]:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://site.example/ HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET http://site.example/ HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET http://site.example/" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://site.example/ HTTP/1.1\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"\0" * 100,
    ],
    ids=lambda request_: repr(request_)[:60],
)
def test_what_is_no_request_for_a_proxy_is_refused(request_: bytes, session: ProxySession, internet: Internet) -> None:
    with Origin() as origin:
        internet.add("site.example", origin)
        with dialled(session) as connection:
            with suppress(OSError):
                connection.sendall(request_)
                connection.shutdown(socket.SHUT_WR)
            answer = everything(connection)
        assert not answer or answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5")
        assert origin.connections == 0


PIECES = """
GET CONNECT POST http:// site.example :80 HTTP/1.1 Host:x @ 127.0.0.1 [::1] Content-Length:5 Transfer-Encoding:chunked
Upgrade:websocket Connection:upgrade Expect:100-continue 5 hello 0 / ? # \\ 200 101 204
"""
GRAMMAR = st.lists(
    st.one_of(
        st.sampled_from([piece.encode() for piece in PIECES.split()]),
        st.sampled_from([b" ", b"\r\n", b"\r\n\r\n", b"0\r\n\r\n"]),
        st.binary(max_size=8),
    ),
    max_size=20,
).map(b"".join)
REQUESTS = (
    b"GET http://site.example:80/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST http://site.example:80/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET http://site.example:80/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"CONNECT site.example:80 HTTP/1.1\r\nHost: x\r\n\r\n",
)
STATUS_LINES = (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 Switching\r\n", b"HTTP/1.1 100 Continue\r\n\r\n")


@given(begun=st.sampled_from((b"", *REQUESTS)), more=GRAMMAR, status_line=st.sampled_from(STATUS_LINES), answer=GRAMMAR)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_input_brings_the_proxy_down_or_past_its_guard(
    begun: bytes, more: bytes, status_line: bytes, answer: bytes, proxy: EgressProxy
) -> None:
    internet = Internet()

    def script(connection: socket.socket) -> None:
        connection.sendall(status_line + answer)

    with canary() as silent, Origin(script) as origin, proxy.open(internet.egress(), max_bytes=MIB) as session:
        internet.add("site.example", origin)
        with capture_logs() as logs, dialled(session) as connection:
            with suppress(OSError):
                connection.sendall((begun + more).replace(b":80", b":%d" % silent.port))
                connection.shutdown(socket.SHUT_WR)
            everything(connection)
    assert not [place for place in internet.connected if place[0] != PUBLIC]
    assert not [line for line in logs if line["event"] == "proxy_connection_failed"]
