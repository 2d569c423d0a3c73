"""What the proxy passes on, between real sockets: names have simulated public addresses."""

from __future__ import annotations

import http.client
import socket

import pytest

from tests.internet import PUBLIC, Internet, Origin, answering, head_of
from tests.proxied import (
    dialled,
    everything,
    exactly,
    get,
    said,
    unchunked,
    until,
    wait_for,
)
from workers.sources.proxy import ProxySession


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
