"""Which addresses may be reached: every connection to a place that a stranger named is opened here, or not at all.

A name is resolved once, all its addresses are checked, and the socket is opened to one of the addresses that were
checked: a name that answers differently a moment later changes nothing.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import NoReturn, Protocol

import structlog

from ocr_tasks.addresses import Address
from ocr_tasks.errors import OcrError, UrlTimeout, UrlUnreachable
from ocr_tasks.settings import Settings
from ocr_tasks.urls import AllowList, WebUrl, canonical_host, forbidden, literal, parse_url, require_reachable

log = structlog.get_logger(__name__)

CONNECT_TIMEOUT_S = 10.0
MOST_ADDRESSES = 64  # of one name; each of them is checked

Resolve = Callable[[str], Sequence[Address]]
"""The addresses of a name, best first; OSError when it has none."""

OpenSocket = Callable[[Address, int, float], socket.socket]
"""A TCP connection to an address and a port within so many seconds; OSError when there is none."""


@dataclass(frozen=True)
class Connection:
    """A connected socket, and the checked address that it is connected to."""

    socket: socket.socket
    address: Address


class Guard(Protocol):
    """Opens connections, or refuses to."""

    def connect(self, host: str, port: int, *, timeout_s: float = CONNECT_TIMEOUT_S) -> Connection:
        """A connection to a host as a URL names it (IPv6 in brackets or not); the caller closes it.

        Raises InvalidUrl, AddressForbidden, UrlUnreachable or UrlTimeout.
        """


class Sealed:
    """A guard that lets nothing through: for pages that were given and have no business anywhere."""

    def connect(self, host: str, port: int, *, timeout_s: float = CONNECT_TIMEOUT_S) -> NoReturn:
        raise forbidden(host, port, "a page that was given as HTML reaches no network")


class Egress:
    """The guard: public unicast addresses, and the hosts that `allow` opens."""

    def __init__(
        self, allow: AllowList | None = None, *, resolve: Resolve | None = None, open_socket: OpenSocket | None = None
    ) -> None:
        self.allow = allow or AllowList()
        self._resolve = resolve or resolved
        self._open_socket = open_socket or opened

    @classmethod
    def of(cls, settings: Settings) -> Egress:
        return cls(settings.open_hosts)

    def check(self, url: str | WebUrl, *, timeout_s: float = CONNECT_TIMEOUT_S) -> WebUrl:
        """A URL whose host may be reached now, in the one form to pass on.

        To be told early: what counts is `connect`. Raises as `connect` does, UrlUnreachable for a name without address.
        """
        url = parse_url(url) if isinstance(url, str) else url
        self._checked(url.host, url.port, timeout_s)
        return url

    def connect(self, host: str, port: int, *, timeout_s: float = CONNECT_TIMEOUT_S) -> Connection:
        """See Guard."""
        give_up_at = time.monotonic() + timeout_s
        host = canonical_host(f"[{host}]" if ":" in host and not host.startswith("[") else host)
        addresses = self._checked(host, port, timeout_s)
        trouble: OSError = TimeoutError()
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            # An address that does not answer leaves time for the others.
            share_s = (give_up_at - time.monotonic()) / left
            if share_s <= 0:
                break
            try:
                return Connection(self._open_socket(address, port, share_s), address)
            except OSError as error:
                trouble = error
        raise _not_connected(host, port, addresses, trouble)

    def _checked(self, host: str, port: int, timeout_s: float) -> tuple[Address, ...]:
        """The addresses of a canonical host, all of which may be reached at this port."""
        opened_by_name = self.allow.opens(host, port)
        if not opened_by_name:
            require_reachable(host, port, ())
        address = literal(host)
        addresses = (address,) if address else self._addresses(host, timeout_s)
        if not opened_by_name:
            require_reachable(host, port, addresses)
            own = next(filter(_is_own, addresses), None)
            if own:
                raise forbidden(host, port, f"{own} is this machine's own", address=str(own))
        return addresses

    def _addresses(self, host: str, timeout_s: float) -> tuple[Address, ...]:
        try:
            addresses = tuple(dict.fromkeys(_within(timeout_s, lambda: self._resolve(host))))
        except TimeoutError:
            raise UrlTimeout(f"{host} was not resolved within {timeout_s:g} s.", host=host) from None
        except (OSError, UnicodeError) as error:
            log.info("host_not_resolved", host=host, error=str(error))
            raise UrlUnreachable(f"{host} has no address.", host=host) from None
        if not 0 < len(addresses) <= MOST_ADDRESSES:
            raise UrlUnreachable(f"{host} has {len(addresses)} addresses; up to {MOST_ADDRESSES} are taken.", host=host)
        return addresses


def _not_connected(host: str, port: int, addresses: Sequence[Address], error: OSError) -> OcrError:
    tried = ", ".join(map(str, addresses[:4]))
    log.info("host_not_reached", host=host, port=port, addresses=tried, error=str(error))
    place = f"{host} ({tried}), port {port}," if tried != host else f"{host}, port {port},"
    if isinstance(error, TimeoutError):
        return UrlTimeout(f"{place} did not answer in time.", host=host, port=port)
    said = "refuses connections" if isinstance(error, ConnectionRefusedError) else "cannot be reached"
    return UrlUnreachable(f"{place} {said}.", host=host, port=port)


def resolved(host: str) -> list[Address]:
    """What the system's resolver says, in the order in which to try (RFC 6724)."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found]


def opened(address: Address, port: int, timeout_s: float) -> socket.socket:
    """A TCP connection. An address is given, so that nothing is resolved."""
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect((str(address), port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_own(address: Address) -> bool:
    """Whether an address is one of this machine: the kernel would then send from that very address. Sends nothing.

    Such a connection never passes a firewall in front of the machine, however public the address.
    """
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((str(address), 9))
        return ip_address(probe.getsockname()[0].partition("%")[0]) == address
    return False


def _within(timeout_s: float, resolve: Callable[[], Sequence[Address]]) -> Sequence[Address]:
    """What resolving answers; raises TimeoutError, as a resolver has no time limit that a caller could set."""
    answers: queue.SimpleQueue[Sequence[Address] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve())
        except Exception as error:  # noqa: BLE001  # raised in the thread that waits
            answers.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout_s)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer
