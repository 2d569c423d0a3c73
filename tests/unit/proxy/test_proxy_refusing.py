"""What the proxy refuses, and what its books say about it."""

from __future__ import annotations

import socket

import pytest

from ocr_tasks.errors import AddressForbidden, InvalidUrl, UrlTooLarge, UrlUnreachable
from tests.internet import PUBLIC, Internet, Origin, canary, head_of
from tests.proxied import (
    MIB,
    dialled,
    everything,
    everything_silently,
    get,
    said,
    until,
    wait_for,
)
from tests.unit.test_urls import LOOPBACKS
from workers.sources.egress import Sealed
from workers.sources.proxy import EgressProxy, ProxySession
from workers.sources.traffic import MOST_PLACES


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
