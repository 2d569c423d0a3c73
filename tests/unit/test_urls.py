"""Web addresses as browsers read them, and the addresses that are public."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_tasks.addresses import why_not_public
from ocr_tasks.errors import AddressForbidden, InvalidUrl
from ocr_tasks.settings import Settings
from ocr_tasks.urls import NON_WEB_PORTS, AllowList, canonical_host, check_url, literal, parse_url

NAT64 = IPv6Network("64:ff9b::/96")
FULL_WIDTH = str.maketrans("0123456789.", "０１２３４５６７８９。")

# Spellings of 127.0.0.1, all of which browsers or resolvers take for it.
LOOPBACKS = (
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0X7F.1",
    "0177.0.0.1",
    "0177.0.0.01",
    "017700000001",
    "0x7f.0.0x1",
    "127.0.0.0x1",
    "%31%32%37.0.0.1",
    "127%2e0%2E0%2e1",
    "127。0。0。1",
    "127．0．0．1",
    "１２７.0.0.1",
    "①②⑦.0.0.1",
    "127.0.0.\u00ad1",
    "𝟏𝟐𝟕.0.0.1",
)


@pytest.mark.parametrize("spelling", LOOPBACKS)
def test_a_spelling_of_an_address_is_that_address(spelling: str) -> None:
    assert canonical_host(spelling) == "127.0.0.1"


@given(st.integers(0, 2**32 - 1), st.data())
@settings(max_examples=200, deadline=None)
def test_any_spelling_of_any_address_is_that_address(number: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    octets = number.to_bytes(4, "big")
    numbers = [*octets[: count - 1], int.from_bytes(octets[count - 1 :], "big")]
    forms = [data.draw(st.sampled_from((str, hex, lambda n: f"0{n:o}", lambda n: f"0X{n:X}"))) for _ in numbers]
    spelt = ".".join(form(part) for form, part in zip(forms, numbers, strict=True)) + data.draw(
        st.sampled_from(("", "."))
    )
    if data.draw(st.booleans()):
        spelt = spelt.translate(FULL_WIDTH)
    if data.draw(st.booleans()):
        spelt = "".join(f"%{byte:02x}" for byte in spelt.encode())
    assert canonical_host(spelt) == str(IPv4Address(number))


@given(st.text(max_size=30))
@settings(max_examples=300, deadline=None)
def test_a_host_is_refused_or_cannot_be_taken_for_an_address_by_the_system(text: str) -> None:
    try:
        host = canonical_host(text)
    except InvalidUrl:
        return
    if literal(host) is None:
        with pytest.raises(OSError, match="illegal IP address"):
            socket.inet_aton(host)
        assert canonical_host(host) == host
    else:
        assert str(ip_address(host)) == host


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "http:/example.com",
        "http:example.com",
        "http:///path",
        "http://?q",
        "ftp://example.com/",
        "file:///etc/passwd",
        "data:text/html,hi",
        "javascript:alert(1)",
        "ws://example.com/",
        "view-source:http://example.com/",
        "http://good@127.0.0.1/",
        "http://good.example:pw@127.0.0.1/",
        "http://127.0.0.1\\@good.example/",
        "http://good.example\\@127.0.0.1/",
        "http://good.example\t.evil.example/",
        "http://good.example\n/",
        "http://[::1]x/",
        "http://[::1%25lo]/",
        "http://[fe80::1%eth0]/",
        "http://[::1",
        "http://::1/",
        "http://[127.0.0.1]/",
        "http://[::ffff:127.0.0.0.1]/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:80:80/",
        "http://example.com:８０/",
        "http://1.2.3.4.5/",
        "http://256.0.0.1/",
        "http://0x100000000/",
        "http://1.2.3.08/",
        "http://example.0x7f/",
        "http://a..example/",
        "http://.example/",
        "http://./",
        "http://exa mple/",
        "http://exa%00mple/",
        "http://exa%2fmple/",
        "http://exa%23mple/",
        "http://%ff%fe/",
        "http://" + "a" * 64 + ".example/",
        "http://" + ".".join(["a" * 60] * 5) + "/",
        "http://example.com/" + "a" * 9000,
        "http://" + "9" * 5000 + "/",
    ],
    ids=lambda url: repr(url)[:60],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl) as refusal:
        parse_url(url)
    assert len(refusal.value.detail) < 500


def test_a_name_or_password_in_a_url_is_said_to_be_the_trouble() -> None:
    for url in ("http://good@127.0.0.1/", "http://good.example:80@127.0.0.1:90/"):
        with pytest.raises(InvalidUrl, match="a name or password before the host"):
            parse_url(url)


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("HTTP://EXAMPLE.com", "http://example.com/"),
        (" https://example.com:443/a?b=c#d ", "https://example.com/a?b=c#d"),
        ("http://example.com.:8080?q", "http://example.com:8080/?q"),
        ("http://bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC"),
        ('http://☃.example/a b|c"d', "http://xn--n3h.example/a%20b|c%22d"),
        ("http://a_b-.example/%zz?x\\y", "http://a_b-.example/%zz?x\\y"),
        ("http://[2606:2800:0220:0001::0]:81/", "http://[2606:2800:220:1::]:81/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com:00080/", "http://example.com/"),
    ],
)
def test_a_url_is_brought_into_one_form(url: str, form: str) -> None:
    assert str(parse_url(url)) == form
    assert str(parse_url(form)) == form


# -- addresses ---------------------------------------------

NOT_PUBLIC = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "100.64.0.1": "shared by a carrier's customers",
    "100.100.100.200": "shared by a carrier's customers",
    "127.255.255.254": "loopback",
    "168.63.129.16": "a cloud's metadata service",
    "169.254.0.1": "link-local",
    "169.254.169.254": "a cloud's metadata service",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.192": "reserved for protocols",
    "192.0.2.1": "for documentation",
    "192.168.255.255": "private",
    "198.19.0.1": "for benchmarks",
    "198.51.100.1": "for documentation",
    "203.0.113.1": "for documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "broadcast",
    "::": "unspecified",
    "::1": "loopback",
    "::127.0.0.1": "an IPv4-compatible address",
    "::ffff:127.0.0.1": "an IPv4-mapped address",
    "::ffff:8.8.8.8": "an IPv4-mapped address",
    "::ffff:0:127.0.0.1": "an IPv4-translated address",
    "64:ff9b::7f00:1": "NAT64 for 127.0.0.1, which is loopback",
    "64:ff9b::169.254.169.254": "NAT64 for 169.254.169.254, which is a cloud's metadata service",
    "64:ff9b:1::1": "a local NAT64",
    "100::1": "for discarding",
    "2001::1": "a Teredo tunnel",
    "2001:0:7f00:1::": "a Teredo tunnel",
    "2001:2::1": "reserved for protocols",
    "2001:db8::1": "for documentation",
    "2002:7f00:1::": "a 6to4 tunnel",
    "3fff::1": "for documentation",
    "4000::1": "reserved",
    "fc00::1": "private",
    "fd00:ec2::254": "a cloud's metadata service",
    "fe80::1": "link-local",
    "febf::1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
}


@pytest.mark.parametrize(("address", "reason"), NOT_PUBLIC.items())
def test_an_address_that_is_not_public_is_known_for_what_it_is(address: str, reason: str) -> None:
    assert why_not_public(ip_address(address)) == reason


PUBLIC_ADDRESSES = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255
172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
2001:200::1 2001:4860:4860::8888 2606:4700::1111 2a00:1450::1 64:ff9b::8.8.8.8
"""


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES.split())
def test_a_public_address_is_public(address: str) -> None:
    assert why_not_public(ip_address(address)) is None


@given(st.one_of(st.integers(0, 2**32 - 1).map(IPv4Address), st.integers(0, 2**128 - 1).map(IPv6Address)))
def test_no_address_that_python_knows_to_be_special_is_public(address: IPv4Address | IPv6Address) -> None:
    special = address.is_private or address.is_loopback or address.is_link_local or address.is_multicast
    if special or address.is_reserved or address.is_unspecified:
        hidden = isinstance(address, IPv6Address) and address in NAT64
        assert hidden or why_not_public(address)


# -- what is open ---------------------------------------------


@pytest.mark.parametrize("spelling", [*LOOPBACKS, "[::1]", "[::ffff:127.0.0.1]", "[::7f00:1]", "[64:ff9b::127.0.0.1]"])
def test_an_address_is_refused_before_anything_is_asked(spelling: str) -> None:
    with pytest.raises(AddressForbidden) as refusal:
        check_url(f"https://{spelling}:8443/x", AllowList())
    assert refusal.value.extensions["port"] == 8443
    assert refusal.value.extensions["address"] in refusal.value.detail


@pytest.mark.parametrize("port", sorted(NON_WEB_PORTS))
def test_ports_of_other_protocols_are_refused(port: int) -> None:
    with pytest.raises(AddressForbidden, match=f"port {port} is not for the web"):
        check_url(f"http://example.com:{port}/", AllowList())


def test_what_is_opened_is_open_by_its_name_in_any_spelling_and_at_its_port_alone() -> None:
    allow = AllowList.parse(" 127.0.0.1:8080, [::1], LOCALHOST., bücher.example:25 ,", closed=frozenset({5432}))
    for url in (
        "http://0x7f.1:8080/",
        "http://[0:0::1]:81/",
        "http://localhost:1234/",
        "http://xn--bcher-kva.example:25",
    ):
        check_url(url, allow)
    for url in ("http://127.0.0.1:8081/", "http://[::1]:9/", "http://[::1]:5432/", "http://[::2]/"):
        with pytest.raises(AddressForbidden):
            check_url(url, allow)
    assert allow.opens("::1", 80)
    assert not allow.opens("localhost", 5432)
    assert not AllowList.parse(None).entries


def test_a_host_without_a_port_does_not_open_the_services_own() -> None:
    allow = Settings(
        _env_file=None,
        database_url="postgresql://user:p@10.0.0.1:5433,10.0.0.2/ocr",
        redis_url="redis://:pass@localhost:6380/1",
        port=8099,
        url_allow="localhost",
    ).open_hosts
    ports = (80, 5432, 5433, 6380, 6379, 8099, 8080, 25)
    assert [port for port in ports if allow.opens("localhost", port)] == [80, 6379, 8080]


@pytest.mark.parametrize("entry", ["::1", "http://x", "x:0", "x:y", "10.0.0.0/8", "*.example", "a b"])
def test_a_setting_that_names_no_host_is_said_to(entry: str) -> None:
    with pytest.raises(ValueError, match="cannot be fetched"):
        Settings(_env_file=None, url_allow=f"good.example,{entry}")
