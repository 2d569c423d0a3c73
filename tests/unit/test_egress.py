"""The guard: what is checked is what is connected to, and a canary on loopback stays silent whatever it is called."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from ocr_tasks.errors import AddressForbidden, InvalidUrl, OcrError, SourceError, UrlTimeout, UrlUnreachable
from ocr_tasks.urls import AllowList
from tests.internet import PUBLIC, Internet, Origin, canary
from tests.unit.test_urls import LOOPBACKS, NOT_PUBLIC
from workers.sources.egress import Egress, Sealed, opened
from workers.sources.fetch import FetchLimits, fetch

LIMITS = FetchLimits(max_bytes=1000, timeout_s=5)
# All of 127/8 leads to a server on 127.0.0.1 when that listens on 0.0.0.0, and so do these.
MORE_LOOPBACKS = ("127.0.0.2", "127.255.255.254", "0.0.0.0", "0", "localhost", "LOCALHOST.", "ip6-localhost")
LOOPBACKS_V6 = (
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[::1%25lo]",
)


@pytest.fixture
def internet() -> Internet:
    return Internet()


@pytest.fixture(scope="module")
def silent() -> Iterator[Origin]:
    with canary("0.0.0.0") as origin:
        yield origin


@pytest.fixture(scope="module")
def silent_v6() -> Iterator[Origin]:
    with canary("::1") as origin:
        yield origin


@pytest.mark.parametrize("spelling", [*LOOPBACKS, *MORE_LOOPBACKS, "good@127.0.0.1", "good.example\\@127.0.0.1"])
def test_loopback_is_not_reached_however_it_is_spelt(spelling: str, silent: Origin) -> None:
    refusals = (AddressForbidden, InvalidUrl, UrlUnreachable)  # the last: a name that this machine does not know
    with pytest.raises(refusals):
        fetch(f"http://{spelling}:{silent.port}/", io.BytesIO(), guard=Egress(), limits=LIMITS)
    with pytest.raises(refusals):
        Egress().connect(spelling, silent.port)
    with pytest.raises(refusals):
        Egress().check(f"http://{spelling}:{silent.port}/")


@pytest.mark.parametrize("spelling", LOOPBACKS_V6)
def test_loopback_is_not_reached_in_ipv6(spelling: str, silent: Origin, silent_v6: Origin) -> None:
    for port in (silent.port, silent_v6.port):
        with pytest.raises((AddressForbidden, InvalidUrl)):
            fetch(f"http://{spelling}:{port}/", io.BytesIO(), guard=Egress(), limits=LIMITS)
        for host in (spelling, spelling.strip("[]")):
            with pytest.raises((AddressForbidden, InvalidUrl)):
                Egress().connect(host, port)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_a_name_is_not_followed_to_an_address_that_is_not_public(address: str, internet: Internet) -> None:
    internet.names["evil.example"] = [[address]]
    with pytest.raises(AddressForbidden) as refusal:
        internet.egress().connect("evil.example", 80)
    problem = refusal.value.problem()
    assert (problem["host"], problem["address"]) == ("evil.example", str(ip_address(address)))
    assert NOT_PUBLIC[address] in problem["detail"]
    assert not internet.connected


@pytest.mark.parametrize(
    "addresses", [[PUBLIC, "127.0.0.1"], ["10.0.0.1", PUBLIC], [PUBLIC, "10.0.0.1"], [PUBLIC, "fd12::1"]]
)
def test_a_name_with_a_public_and_a_private_address_is_refused(addresses: list[str], internet: Internet) -> None:
    internet.names["both.example"] = [addresses]
    with pytest.raises(AddressForbidden):
        internet.egress().connect("both.example", 80)
    assert not internet.connected


def test_a_name_that_answers_differently_a_moment_later_leads_nowhere_else(internet: Internet, silent: Origin) -> None:
    with Origin() as origin:
        internet.add("rebinding.example", origin)
        internet.names["rebinding.example"] = [[PUBLIC], ["127.0.0.1"]]
        connection = internet.egress().connect("rebinding.example", silent.port)
        connection.socket.close()
        assert internet.asked == ["rebinding.example"]
        assert internet.connected == [(PUBLIC, silent.port)]
        with pytest.raises(AddressForbidden):
            internet.egress().connect("rebinding.example", silent.port)


def test_the_socket_goes_to_the_checked_address_and_resolves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with Origin() as origin:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it was resolved again"))
        egress = Egress(AllowList.parse("127.0.0.1"))
        connection = egress.connect("127.1", origin.port)
        with connection.socket:
            assert connection.socket.getpeername() == ("127.0.0.1", origin.port)
            assert str(connection.address) == "127.0.0.1"


def test_an_address_of_this_machine_is_refused_however_public_it_looks(
    internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sources.egress.require_reachable", lambda *_: None)  # none here is public
    with canary() as origin:
        internet.names["self.example"] = [["127.0.0.1"]]
        with pytest.raises(AddressForbidden, match=r"127\.0\.0\.1 is this machine's own"):
            internet.egress().connect("self.example", origin.port)


def test_what_an_operator_opens_is_reached_by_that_name_and_port_alone(internet: Internet) -> None:
    with Origin() as origin, canary() as silent:
        internet.names |= {"intranet": [["127.0.0.1"]], "other": [["127.0.0.1"]]}
        egress = internet.egress(f"intranet:{origin.port},[::1]")
        fetched = fetch(f"http://INTRANET.:{origin.port}/a", io.BytesIO(), guard=egress, limits=LIMITS)
        assert (fetched.size_bytes, origin.connections) == (2, 1)
        for url in (
            f"http://intranet:{silent.port}/",
            f"http://other:{origin.port}/",
            f"http://127.0.0.1:{origin.port}/",
        ):
            with pytest.raises(AddressForbidden):
                fetch(url, io.BytesIO(), guard=egress, limits=LIMITS)
        assert origin.connections == 1


def test_an_opened_host_is_still_resolved_once(internet: Internet) -> None:
    with Origin() as origin:
        internet.names["intranet"] = [["127.0.0.1"], ["10.0.0.1"]]
        internet.egress("intranet").connect("intranet", origin.port).socket.close()
        assert internet.asked == ["intranet"]


def test_a_sealed_guard_lets_nothing_through() -> None:
    with canary() as origin:
        for host in ("127.0.0.1", "example.com", PUBLIC):
            with pytest.raises(AddressForbidden, match="reaches no network"):
                Sealed().connect(host, origin.port)


# -- what goes wrong ---------------------------------------------


def test_the_next_address_is_tried_when_one_does_not_answer(internet: Internet) -> None:
    with Origin() as origin:
        internet.servers["93.184.216.35"] = origin

        def open_socket(address: object, port: int, timeout_s: float) -> socket.socket:
            if str(address) == PUBLIC:
                raise ConnectionRefusedError
            return internet.open_socket(address, port, timeout_s)  # type: ignore[arg-type]

        internet.names["two.example"] = [[PUBLIC, "93.184.216.35"]]
        egress = Egress(resolve=internet.resolve, open_socket=open_socket)
        connection = egress.connect("two.example", 80)
        connection.socket.close()
        assert str(connection.address) == "93.184.216.35"


@pytest.mark.parametrize(
    ("trouble", "error", "said"),
    [
        (ConnectionRefusedError(), UrlUnreachable, "refuses connections"),
        (OSError("no route"), UrlUnreachable, "cannot be reached"),
        (TimeoutError(), UrlTimeout, "did not answer in time"),
    ],
)
def test_a_place_that_does_not_answer_is_named(
    trouble: OSError, error: type[SourceError], said: str, internet: Internet
) -> None:
    def open_socket(*_: object) -> socket.socket:
        raise trouble

    internet.names["down.example"] = [[PUBLIC]]
    with pytest.raises(error, match=rf"down\.example \({PUBLIC}\), port 443, {said}"):
        Egress(resolve=internet.resolve, open_socket=open_socket).connect("down.example", 443)


def test_a_name_without_an_address_is_named(internet: Internet) -> None:
    internet.names["empty.example"] = [[]]
    internet.names["many.example"] = [[f"93.184.{n}.1" for n in range(100)]]
    with pytest.raises(UrlUnreachable, match=r"nowhere\.example has no address"):
        internet.egress().connect("nowhere.example", 80)
    with pytest.raises(UrlUnreachable, match="has 0 addresses"):
        internet.egress().connect("empty.example", 80)
    with pytest.raises(UrlUnreachable, match="has 100 addresses"):
        internet.egress().connect("many.example", 80)


def test_a_resolver_that_hangs_is_given_up() -> None:
    hanging = threading.Event()
    started = time.monotonic()
    with pytest.raises(UrlTimeout, match=r"slow\.example was not resolved within 0\.1 s"):
        Egress(resolve=lambda _: [] * hanging.wait(10)).connect("slow.example", 80, timeout_s=0.1)
    hanging.set()
    assert time.monotonic() - started < 5


def test_an_address_that_swallows_connections_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        place = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(place)
        with pytest.raises(OcrError) as refusal:
            Egress(AllowList.parse("127.0.0.1"), open_socket=opened).connect("127.0.0.1", place[1], timeout_s=0.2)
        for filler in fillers:
            filler.close()
    assert isinstance(refusal.value, UrlTimeout)
