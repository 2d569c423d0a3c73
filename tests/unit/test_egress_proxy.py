"""The proxy in front of a browser: real sockets on both sides, names with simulated public addresses."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from ocr_tasks.errors import AddressForbidden, InvalidUrl, UrlTooLarge, UrlUnreachable
from tests.internet import PUBLIC, Internet, Origin, answering, canary, head_of
from tests.unit.test_urls import LOOPBACKS
from workers.sources import proxy as proxy_module
from workers.sources.egress import Connection, Sealed
from workers.sources.proxy import EgressProxy, ProxySession
from workers.sources.traffic import MOST_PLACES

MIB = 1024 * 1024


@pytest.fixture
def internet() -> Internet:
    return Internet()


@pytest.fixture(scope="module")
def proxy() -> Iterator[EgressProxy]:
    with EgressProxy() as proxy:
        yield proxy


@pytest.fixture
def session(proxy: EgressProxy, internet: Internet) -> Iterator[ProxySession]:
    with proxy.open(internet.egress(), max_bytes=MIB) as session:
        yield session


def dialled(session: ProxySession) -> socket.socket:
    return socket.create_connection(("127.0.0.1", session.port), timeout=5)


def said(session: ProxySession, *parts: bytes) -> bytes:
    """All that the proxy answers to what is sent, until it closes."""
    with dialled(session) as connection:
        for part in parts:
            connection.sendall(part)
        return everything(connection)


def everything(connection: socket.socket) -> bytes:
    answer = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            answer += part
    return answer


def exactly(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        assert part, f"the connection ended after {received!r}"
        received += part
    return received


def until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        received += exactly(connection, 1)
    return received


def wait_for(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come about"
        time.sleep(0.005)


@dataclass(frozen=True)
class Answer:
    status: int
    reason: str
    headers: http.client.HTTPMessage
    body: bytes


def get(session: ProxySession, url: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    """One request through the proxy, on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", session.port, timeout=5)) as connection:
        connection.request(method, url, headers=headers or {})
        with connection.getresponse() as response:
            return Answer(response.status, response.reason, response.headers, response.read())


# -- what goes through ---------------------------------------------


def test_a_request_is_passed_on_with_its_path_and_without_what_was_for_the_proxy(
    session: ProxySession, internet: Internet
) -> None:
    answer = b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-Odd: \xfc\r\nConnection: close, x-own\r\nX-Own: 1\r\n\r\nhi"
    with Origin(answering(answer)) as origin:
        internet.add("site.example", origin)
        headers = {"Proxy-Connection": "keep-alive", "Host": "other.example", "X-Mine": "1", "Proxy-Authorization": "x"}
        response = get(session, "http://SITE.example:8080/a?b=c'\"|", headers=headers)
        assert (response.status, response.reason, response.body) == (200, "Fine", b"hi")
        assert response.headers["X-Odd"] == "\xfc"
        assert response.headers["X-Own"] is None
        head = origin.heads[0].decode().lower()
    assert head.startswith("get /a?b=c'\"| http/1.1\r\nhost: site.example:8080\r\n")
    assert "x-mine: 1" in head
    assert "proxy-" not in head
    assert internet.connected == [(PUBLIC, 8080)]
    traffic = session.traffic()
    assert [(place.host, place.port, place.address, place.count) for place in traffic.reached] == [
        ("site.example", 8080, PUBLIC, 1)
    ]
    assert traffic.received_bytes == len(answer)
    assert traffic.sent_bytes == len(head)
    assert not traffic.refused


def test_requests_to_one_place_share_a_connection_and_others_get_their_own(
    session: ProxySession, internet: Internet
) -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"
    with Origin(answering(ok + b"1", ok + b"2")) as one, Origin(answering(ok + b"3")) as other:
        internet.add("one.example", one)
        internet.add("other.example", other, "93.184.216.35")
        connection = http.client.HTTPConnection("127.0.0.1", session.port, timeout=5)
        bodies = []
        for url in ("http://one.example/", "http://one.example/", "http://other.example/", "http://one.example/"):
            connection.request("GET", url)
            bodies.append(connection.getresponse().read())
        connection.close()
        assert bodies == [b"1", b"2", b"3", b"1"]
        assert (one.connections, other.connections) == (2, 1)


def test_a_connection_that_the_server_has_closed_is_not_used_again(session: ProxySession, internet: Internet) -> None:
    with Origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")) as origin:
        internet.add("site.example", origin)
        connection = http.client.HTTPConnection("127.0.0.1", session.port, timeout=5)
        for _ in range(3):
            connection.request("GET", "http://site.example/")
            assert connection.getresponse().read() == b"1"
            wait_for(lambda: not origin.open)
        connection.close()
        assert origin.connections == 3


def test_what_a_server_says_unasked_answers_no_request(session: ProxySession, internet: Internet) -> None:
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def impatient(connection: socket.socket) -> None:
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")(connection)
        connection.sendall(late)

    with Origin(impatient) as origin:
        internet.add("site.example", origin)
        connection = http.client.HTTPConnection("127.0.0.1", session.port, timeout=5)
        for _ in range(2):
            connection.request("GET", "http://site.example/")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"1")
            wait_for(lambda: not origin.open)
        connection.close()


def test_a_client_sees_its_connection_end_when_a_kept_one_behind_it_did(
    session: ProxySession, internet: Internet
) -> None:
    def moody(connection: socket.socket) -> None:
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", b"")(connection)  # takes a second one, and goes

    with Origin(moody) as origin, dialled(session) as connection:
        internet.add("site.example", origin)
        for answer in (b"1", b""):
            connection.sendall(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
            if answer:
                assert until(connection, b"\r\n\r\n1")
        assert everything(connection) == b""
    assert not session.traffic().refused


def test_a_body_has_one_length(session: ProxySession, internet: Internet) -> None:
    two = b"Transfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n2\r\nhi\r\n0\r\n\r\n"

    def script(connection: socket.socket) -> None:
        head_of(connection)
        assert unchunked(connection) == b"hi"
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + two)

    with Origin(script) as origin:
        internet.add("site.example", origin)
        answer = said(session, b"POST http://site.example/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + two)
    assert b"content-length" not in (origin.heads[0] + answer).lower()
    assert answer.endswith(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n")


def test_pipelined_requests_are_answered_in_order(session: ProxySession, internet: Internet) -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"
    with Origin(answering(ok + b"1", ok + b"2")) as origin:
        internet.add("site.example", origin)
        request = b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n"
        answer = said(session, request + b"\r\n" + request + b"Connection: close\r\n\r\n")
    assert answer.count(b"200 OK") == 2
    assert answer.index(b"\r\n\r\n1") < answer.index(b"\r\n\r\n2")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_passed_on_both_ways(chunked: bool, session: ProxySession, internet: Internet) -> None:
    body = bytes(range(256)) * 1000

    def echo(connection: socket.socket) -> None:
        head = head_of(connection).lower()
        assert (b"transfer-encoding: chunked" in head) == chunked
        assert (b"content-length" in head) != chunked
        received = unchunked(connection) if chunked else exactly(connection, len(body))
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(received), 10_000):
            part = received[start : start + 10_000]
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        connection.sendall(b"0\r\nX-Trailer: 1\r\n\r\n")

    with Origin(echo) as origin:
        internet.add("site.example", origin)
        connection = http.client.HTTPConnection("127.0.0.1", session.port, timeout=5)
        parts = [body[start : start + 30_000] for start in range(0, len(body), 30_000)]
        connection.request(
            "POST", "http://site.example/", body=iter(parts) if chunked else body, encode_chunked=chunked
        )
        assert connection.getresponse().read() == body
        connection.close()


def unchunked(connection: socket.socket) -> bytes:
    body = b""
    while size := int(until(connection, b"\r\n"), 16):
        body += exactly(connection, size)
        exactly(connection, 2)
    exactly(connection, 2)
    return body


def test_a_client_that_expects_to_be_told_is_told_by_the_server(session: ProxySession, internet: Internet) -> None:
    def picky(connection: socket.socket) -> None:
        assert b"Expect: 100-continue" in head_of(connection)
        connection.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
        assert exactly(connection, 4) == b"body"
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    with Origin(picky) as origin, dialled(session) as connection:
        internet.add("site.example", origin)
        connection.sendall(
            b"PUT http://site.example/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 103 ")
        assert until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"body")
        assert until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 201 ")


def test_a_server_may_answer_before_it_has_read_the_request(session: ProxySession, internet: Internet) -> None:
    def impatient(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        everything(connection)

    with Origin(impatient) as origin, dialled(session) as connection:
        internet.add("site.example", origin)
        connection.sendall(b"POST http://site.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        assert until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "answer", "body"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", b""),
        ("GET", b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        ("GET", b"HTTP/1.0 200\r\n\r\nold", b"old"),
    ],
)
def test_an_answer_ends_where_it_ends(
    method: str, answer: bytes, body: bytes, session: ProxySession, internet: Internet
) -> None:
    with Origin(answering(answer)) as origin:
        internet.add("site.example", origin)
        assert get(session, "http://site.example/", method).body == body


def test_an_answer_that_is_cut_off_arrives_cut_off(session: ProxySession, internet: Internet) -> None:
    with Origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")) as origin:
        internet.add("site.example", origin)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            get(session, "http://site.example/")


def test_a_tunnel_passes_bytes_both_ways_until_both_ends_are_done(session: ProxySession, internet: Internet) -> None:
    def upper(connection: socket.socket) -> None:
        connection.sendall(b"hello ")
        received = everything(connection)  # until the client has said that nothing follows
        connection.sendall(received.upper())

    with Origin(upper) as origin, dialled(session) as connection:
        internet.add("site.example", origin)
        connection.sendall(b"CONNECT site.example:443 HTTP/1.1\r\nHost: site.example:443\r\n\r\nearly ")
        assert until(connection, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"late")
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == b"hello EARLY LATE"
    assert internet.connected == [(PUBLIC, 443)]
    assert session.traffic().received_bytes == 16
    assert session.traffic().sent_bytes == 10


@pytest.mark.parametrize("tunnel", [False, True])
def test_a_websocket_goes_through(tunnel: bool, session: ProxySession, internet: Internet) -> None:
    def chat(connection: socket.socket) -> None:
        head = head_of(connection).lower()
        assert b"upgrade: websocket" in head
        assert b"connection: upgrade" in head
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst"
        )
        connection.sendall(exactly(connection, 4)[::-1])

    upgrade = b"Host: chat.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with Origin(chat) as origin, dialled(session) as connection:
        internet.add("chat.example", origin)
        if tunnel:
            connection.sendall(b"CONNECT chat.example:80 HTTP/1.1\r\nHost: x\r\n\r\n")
            until(connection, b"\r\n\r\n")
            upgrade = upgrade.replace(b"keep-alive, ", b"")
        connection.sendall(b"GET %b/ HTTP/1.1\r\n%b" % (b"" if tunnel else b"http://chat.example", upgrade))
        head = until(connection, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Upgrade: websocket" in head
        assert exactly(connection, 5) == b"first"
        connection.sendall(b"ping")
        assert exactly(connection, 4) == b"gnip"


# -- what does not ---------------------------------------------


@pytest.mark.parametrize(
    "spelling", [*(s for s in LOOPBACKS if s.isascii()), "[::1]", "[::ffff:127.0.0.1]", "localhost"]
)
def test_loopback_is_not_reached_through_the_proxy(spelling: str, proxy: EgressProxy) -> None:
    with canary("0.0.0.0") as silent:
        place = f"{spelling}:{silent.port}".encode()
        with proxy.open(Internet().egress(), max_bytes=MIB) as session:
            for request in (b"CONNECT %b HTTP/1.1\r\nHost: x\r\n\r\n", b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n"):
                answer = said(session, request % place)
                assert answer.startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 502 "))  # 502: no such name
                assert b"X-LightDom-Refused: " in answer
            assert sum(place.count for place in session.traffic().refused) == 2


def test_a_refusal_is_kept_with_place_and_reason(session: ProxySession, internet: Internet) -> None:
    internet.names["evil.example"] = [["127.0.0.1"]]
    for _ in range(3):
        assert b"403" in said(session, b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert get(session, "http://nowhere.example/").status == 502
    blocked, unknown = session.traffic().refused
    assert (blocked.host, blocked.port, blocked.code, blocked.blocked, blocked.count) == (
        "evil.example",
        443,
        "address_forbidden",
        True,
        3,
    )
    assert blocked.reason == "evil.example:443 may not be reached: 127.0.0.1 is loopback."
    assert (unknown.host, unknown.code, unknown.blocked) == ("nowhere.example", "url_unreachable", False)
    assert session.traffic().blocked == (blocked,)
    assert isinstance(session.error_of("evil.example", 443), AddressForbidden)
    assert isinstance(session.error_of("nowhere.example", 80), UrlUnreachable)
    assert session.error_of("evil.example", 80) is None


@pytest.mark.parametrize(("host", "port"), [("odd!.example", 80), ("odd!.example", 443), ("256.1.1.1", 80)])
def test_a_place_that_has_no_right_name_is_kept_as_well(host: str, port: int, session: ProxySession) -> None:
    request = b"GET http://%b/ HTTP/1.1" if port == 80 else b"CONNECT %b:443 HTTP/1.1"
    assert said(session, request % host.encode() + b"\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 403 ")
    assert isinstance(session.error_of(host, port), InvalidUrl)
    assert session.traffic().blocked[0].code == "invalid_url"


@pytest.mark.parametrize("form", ["::1", "[::1]", "[0:0::1]"])
def test_a_place_is_found_in_any_form(form: str, session: ProxySession) -> None:
    said(session, b"CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert isinstance(session.error_of(form, 443), AddressForbidden)


def test_a_page_cannot_make_the_books_grow_without_end(session: ProxySession) -> None:
    for number in range(MOST_PLACES + 20):
        session.books.refused(f"{number}.example", 80, AddressForbidden())
        session.books.reached(f"{number}.example", 80, PUBLIC)
    traffic = session.traffic()
    assert (len(traffic.refused), len(traffic.reached), traffic.unlisted) == (MOST_PLACES, MOST_PLACES, 40)


def test_a_sealed_session_reaches_nothing(proxy: EgressProxy) -> None:
    with canary() as silent, proxy.open(Sealed(), max_bytes=MIB) as session:
        for request in (
            b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\n\r\n",
        ):
            assert said(session, request % silent.port).startswith(b"HTTP/1.1 403 ")
        assert session.traffic().blocked[0].count == 2


def test_the_proxy_does_not_lead_to_itself(proxy: EgressProxy, internet: Internet) -> None:
    with proxy.open(internet.egress("127.0.0.1"), max_bytes=MIB) as session, proxy.open(Sealed(), max_bytes=9) as other:
        for port in (session.port, other.port):
            assert said(session, b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % port).startswith(
                b"HTTP/1.1 403 "
            )
            assert "the proxy itself" in str(session.error_of("127.0.0.1", port))
        assert not other.traffic().refused


@pytest.mark.parametrize("tunnel", [False, True])
def test_a_session_moves_no_more_bytes_than_it_may(tunnel: bool, proxy: EgressProxy, internet: Internet) -> None:
    def flood(connection: socket.socket) -> None:
        if not tunnel:
            head_of(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(bytes(65536))

    with Origin(flood) as origin, proxy.open(internet.egress(), max_bytes=300_000) as session:
        internet.add("big.example", origin)
        request = b"CONNECT big.example:80" if tunnel else b"GET http://big.example/"
        with dialled(session) as bystander:
            bystander.sendall(b"CONNECT big.example:80 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert len(said(session, request + b" HTTP/1.1\r\nHost: x\r\n\r\n")) < 400_000
            everything(bystander)  # cut as well
        traffic = session.traffic()
        assert traffic.cut
        assert [(place.host, place.code) for place in traffic.refused] == [("big.example", "url_too_large")]
        assert traffic.received_bytes < 500_000
        assert said(session, request + b" HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 502 ")
        error = session.error_of("big.example", 80)
        assert isinstance(error, UrlTooLarge)
        assert error.extensions["limit"] == 300_000


def test_a_session_that_begins_anew_has_no_connections_and_empty_books(
    session: ProxySession, internet: Internet
) -> None:
    with Origin(everything_silently) as origin, dialled(session) as connection:
        internet.add("site.example", origin)
        connection.sendall(b"CONNECT site.example:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(connection, b"\r\n\r\n")
        session.begin(Sealed(), max_bytes=5)
        assert everything(connection) == b""
        assert not session.traffic().reached
        assert said(session, b"CONNECT site.example:80 HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 403 ")
        wait_for(lambda: not origin.open)


def heard_out(connection: socket.socket) -> None:
    head_of(connection)
    everything(connection)


def everything_silently(connection: socket.socket) -> None:
    everything(connection)


# -- what is no HTTP, or never ends ---------------------------------------------


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


def test_a_slow_request_is_given_up(session: ProxySession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.sources.proxy_client.HEAD_TIMEOUT_S", 0.1)
    with dialled(session) as connection:
        connection.sendall(b"GET http://site.exam")
        assert everything(connection) == b""


def test_an_idle_connection_is_given_up(session: ProxySession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.sources.proxy_client.IDLE_TIMEOUT_S", 0.1)
    with dialled(session) as connection:
        assert everything(connection) == b""


def test_a_tunnel_that_is_half_closed_is_given_up(
    session: ProxySession, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sources.proxy_client.HALF_OPEN_TIMEOUT_S", 0.1)
    over = threading.Event()

    def silence(_: socket.socket) -> None:
        over.wait(5)

    with Origin(silence) as origin, dialled(session) as connection:
        internet.add("site.example", origin)
        connection.sendall(b"CONNECT site.example:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(connection, b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection) == b""
        over.set()


def test_a_client_that_leaves_takes_its_request_along(session: ProxySession, internet: Internet) -> None:
    with Origin(heard_out) as origin:
        internet.add("slow.example", origin)
        with dialled(session) as connection:
            connection.sendall(b"GET http://slow.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: len(origin.heads) == 1)
        wait_for(lambda: not origin.open)


def test_connections_are_bounded_and_room_comes_back(
    session: ProxySession, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_module, "MOST_CONNECTIONS", 10)
    with Origin() as origin:
        internet.add("site.example", origin)
        held = [dialled(session) for _ in range(10)]
        wait_for(lambda: len(session._clients) == 10)
        with dialled(session) as turned_away:
            assert everything(turned_away) == b""
        for connection in held:
            connection.close()
        wait_for(lambda: len(session._clients) < 10)
        assert get(session, "http://site.example/").body == b"hi"


def test_many_at_once_all_get_their_answers(session: ProxySession, internet: Internet) -> None:
    with Origin() as origin:
        internet.add("site.example", origin)
        bodies: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: bodies.append(get(session, "http://site.example/").body))
            for _ in range(100)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert bodies == [b"hi"] * 100
        assert session.traffic().reached[0].count == 100


def test_closing_leaves_no_thread_and_no_socket(internet: Internet) -> None:
    hanging = threading.Event()
    with Origin(everything_silently) as origin:
        internet.add("site.example", origin)
        internet.names["slow.example"] = [[PUBLIC]]
        before = threading.active_count(), psutil.Process().num_fds()
        proxy = EgressProxy()
        session = proxy.open(internet.egress(), max_bytes=MIB)
        clients = [dialled(session) for _ in range(20)]
        for client in clients[:10]:
            client.sendall(b"CONNECT site.example:80 HTTP/1.1\r\nHost: x\r\n\r\n")
        for client in clients[5:10]:
            until(client, b"\r\n\r\n")
            client.sendall(b"x")
        for client in clients[10:15]:
            client.sendall(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: origin.connections == 15)
        proxy.close()
        proxy.close()
        for client in clients:
            everything(client)
            client.close()
        hanging.set()
        wait_for(lambda: not origin.open)
        wait_for(lambda: (threading.active_count(), psutil.Process().num_fds()) == before)


def test_closing_does_not_wait_for_a_resolver_that_hangs() -> None:
    hanging = threading.Event()
    internet = Internet()
    egress = internet.egress()
    egress._resolve = lambda _: [] * hanging.wait(10)
    with EgressProxy() as proxy:
        session = proxy.open(egress, max_bytes=MIB)
        with dialled(session) as client:
            client.sendall(b"CONNECT slow.example:80 HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: len(proxy.dialler.threads) == 1)
            started = time.monotonic()
            session.close()
            assert time.monotonic() - started < 1
            assert everything(client) == b""
        hanging.set()
        wait_for(lambda: not proxy.dialler.threads)


def test_a_connection_that_comes_too_late_is_closed(proxy: EgressProxy, internet: Internet) -> None:
    asked, go_on = threading.Event(), threading.Event()

    class Slow:
        def connect(self, host: str, port: int, *, timeout_s: float = 10) -> Connection:
            asked.set()
            go_on.wait(5)
            kept.append(internet.egress("127.0.0.1").connect(host, port, timeout_s=timeout_s))
            return kept[0]

    kept: list[Connection] = []  # nor does the collector of garbage close it
    ended = threading.Event()

    def script(connection: socket.socket) -> None:
        everything(connection)
        ended.set()

    with Origin(script) as origin:
        session = proxy.open(Slow(), max_bytes=MIB)
        with dialled(session) as client:
            client.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: x\r\n\r\n" % origin.port)
            assert asked.wait(5)
            session.close()
        go_on.set()
        assert ended.wait(5)
        assert origin.connections == 1
