"""Web addresses as browsers read them (the URL standard), and which of them an operator has opened.

A host is brought into one form first, so that no spelling of an address goes by another name: `2130706433`, `0x7f.1`,
`127.1`, full-width digits and percent-encoding are all `127.0.0.1`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal
from urllib.parse import quote, unquote_to_bytes

import idna

from ocr_tasks.addresses import Address, why_not_public
from ocr_tasks.errors import AddressForbidden, InvalidUrl

LONGEST_URL = 8192
LONGEST_HOST = 253
LONGEST_LABEL = 63
DEFAULT_PORTS = {"http": 80, "https": 443}

Scheme = Literal["http", "https"]
_SCHEMES: dict[str, Scheme] = {"http": "http", "https": "https"}

# The fetch standard's bad ports, which browsers refuse as well: a request there speaks to mail servers and the like.
# fmt: off
NON_WEB_PORTS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
    5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080
))
# fmt: on

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_LABEL = re.compile(r"[a-z0-9_-]+")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
# What stays as it is in a path and a query; quoted is what browsers quote there.
_AS_IT_IS = "!$%&'()*+,-./:;=?@[\\]^_`{|}~"


@dataclass(frozen=True)
class WebUrl:
    """An http or https URL in one form. `host` is ASCII, an IPv6 address without brackets; `target` path and query."""

    scheme: Scheme
    host: str
    port: int
    target: str
    fragment: str = ""

    @property
    def authority(self) -> str:
        """Host and port as a `Host` header has them: the port only when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}{self.fragment}"


def parse_url(text: str) -> WebUrl:
    """A URL as a browser would understand it, without looking at where it leads.

    Stricter than browsers: no name or password in it, no backslash before the query, no control characters.
    Raises InvalidUrl.
    """
    text = text.strip(" \t\r\n\f")
    if len(text) > LONGEST_URL:
        raise InvalidUrl(f"The URL has {len(text)} characters; the limit is {LONGEST_URL}.", limit=LONGEST_URL)
    if _CONTROL.search(text) or "\\" in re.split(r"[?#]", text)[0]:
        raise _invalid(text, "it holds a backslash or a control character")
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise _invalid(text, "it must start with http:// or https://")
    name = _SCHEMES.get(scheme[1].lower())
    if name is None:
        raise _invalid(text, f"its scheme is {scheme[1].lower()!r}; only http and https are fetched")
    if not text[scheme.end() :].startswith("//"):
        raise _invalid(text, f"it must start with {name}://")
    rest = text[scheme.end() + 2 :]
    authority = re.match(r"[^/?#]*", rest)[0]  # type: ignore[index]  # matches everything
    rest, hash_, fragment = rest[len(authority) :].partition("#")
    if "@" in authority:
        raise _invalid(text, "a name or password before the host is not taken")
    host, port = split_authority(authority, DEFAULT_PORTS[name])
    target = quote(rest if rest.startswith("/") else f"/{rest}", safe=_AS_IT_IS)
    return WebUrl(name, host, port, target, hash_ + quote(fragment, safe=f"{_AS_IT_IS}#"))


def split_authority(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Host, in one form, and port of `host:port`; without a default the port must be there. Raises InvalidUrl."""
    matched = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?", text)
    if matched is None:
        raise _invalid(text, "it is not host:port; an IPv6 address is written in brackets")
    host, port = canonical_host(matched[1]), matched[2]
    if not port:
        if default_port is None:
            raise _invalid(text, "the port is missing")
        return host, default_port
    number = int(port) if len(port.lstrip("0")) <= 5 else 0
    if not 1 <= number <= 65535:
        raise _invalid(text, "its port is not in 1-65535")
    return host, number


def canonical_host(text: str) -> str:
    """A host in the one form that it is known by; an IPv6 address, which comes in brackets, goes without.

    Raises InvalidUrl. Source: the URL standard's host parser, but names hold letters, digits, `-` and `_` only.
    """
    if text.startswith("["):
        try:
            if "%" in text:
                raise AddressValueError("a zone")
            return str(IPv6Address(text[1:-1]))
        except AddressValueError:
            raise _invalid(text, "it is not an IPv6 address, which must come without a zone") from None
    name = _ascii(text)
    labels = name.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return str(_ipv4(labels, text))
    if len(name) > LONGEST_HOST or any(len(label) > LONGEST_LABEL for label in labels):
        raise _invalid(text, f"a host has up to {LONGEST_HOST} characters, {LONGEST_LABEL} between two dots")
    if not all(map(_LABEL.fullmatch, labels)):
        raise _invalid(text, "it is no name of a host")
    return ".".join(labels)


def _ascii(text: str) -> str:
    """Percent-encoding undone, compatibility forms mapped (full-width digits, ideographic dots), then punycode."""
    if len(text) > 4 * LONGEST_HOST:
        raise _invalid(text, f"a host has up to {LONGEST_HOST} characters")
    try:
        mapped = idna.uts46_remap(unquote_to_bytes(text).decode(), std3_rules=False, transitional=False)
        labels = [
            label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in mapped.split(".")
        ]
    except (UnicodeError, idna.IDNAError):
        raise _invalid(text, "it is no name of a host") from None
    return ".".join(labels)


def _ipv4(labels: list[str], text: str) -> IPv4Address:
    """The URL standard's IPv4 parser: one to four numbers, decimal, octal (0...) or hexadecimal (0x...)."""
    try:
        if len(labels) > 4 or not all(map(_NUMBER.fullmatch, labels)) or max(map(len, labels)) > LONGEST_LABEL:
            raise ValueError
        *first, last = map(_number, labels)
        if any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
            raise ValueError
    except ValueError:
        raise _invalid(text, "it ends in a number and is no IPv4 address") from None
    return IPv4Address(last + sum(number << (24 - 8 * place) for place, number in enumerate(first)))


def _number(digits: str) -> int:
    if digits[:2] in ("0x", "0X"):
        return int(digits[2:] or "0", 16)
    return int(digits, 8 if digits.startswith("0") else 10)


def literal(host: str) -> Address | None:
    """The address that a canonical host is; None for a name."""
    if ":" in host:
        return IPv6Address(host)
    try:
        return IPv4Address(host)
    except AddressValueError:
        return None


def _invalid(text: str, reason: str) -> InvalidUrl:
    shown = text if len(text) <= 200 else f"{text[:199]}…"
    return InvalidUrl(f"{shown!r} cannot be fetched: {reason}.", value=shown)


# -- what is open ---------------------------------------------


@dataclass(frozen=True)
class AllowList:
    """Hosts that may be reached whatever their addresses, at one port or at all that are not `closed`."""

    entries: frozenset[tuple[str, int | None]] = frozenset()
    closed: frozenset[int] = NON_WEB_PORTS

    @classmethod
    def parse(cls, text: str | None, closed: frozenset[int] = frozenset()) -> AllowList:
        """From comma-separated `host[:port]`; raises InvalidUrl, which names the entry."""
        given = [entry.strip() for entry in (text or "").split(",")]
        return cls(frozenset(_entry(entry) for entry in given if entry), NON_WEB_PORTS | closed)

    def opens(self, host: str, port: int) -> bool:
        """Whether a canonical host may be reached at a port without a look at its addresses."""
        return (host, port) in self.entries or ((host, None) in self.entries and port not in self.closed)


def _entry(text: str) -> tuple[str, int | None]:
    host, port = split_authority(text, 0)
    return host, port or None


def require_reachable(host: str, port: int, addresses: tuple[Address, ...]) -> None:
    """Raise AddressForbidden unless the port is one for the web and each address is public unicast."""
    if port in NON_WEB_PORTS:
        raise forbidden(host, port, f"port {port} is not for the web")
    for address in addresses:
        reason = why_not_public(address)
        if reason:
            said = "it is" if str(address) == host else f"{address} is"
            raise forbidden(host, port, f"{said} {reason}", address=str(address))


def check_url(text: str, allow: AllowList) -> WebUrl:
    """`parse_url`, and what else can be known of a URL without asking for its addresses.

    Raises InvalidUrl or AddressForbidden.
    """
    url = parse_url(text)
    if not allow.opens(url.host, url.port):
        address = literal(url.host)
        require_reachable(url.host, url.port, (address,) if address else ())
    return url


def forbidden(host: str, port: int, reason: str, **extensions: str) -> AddressForbidden:
    """The error about a place that may not be reached; `reason` ends its sentence."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return AddressForbidden(f"{place} may not be reached: {reason}.", host=host, port=port, reason=reason, **extensions)
