"""Downloads: through the guard, within limits, from real servers with simulated public addresses."""

from __future__ import annotations

import gzip
import io
import os
import socket
import ssl
import time
from pathlib import Path

import pytest

from ocr_tasks.contract import Source
from ocr_tasks.errors import (
    AddressForbidden,
    InvalidUrl,
    OcrError,
    UrlStatus,
    UrlTimeout,
    UrlTooLarge,
    UrlUnreachable,
)
from tests.internet import PUBLIC, Internet, Origin, Script, answering, canary, head_of
from workers.sources.content import STEP_BYTES, decoded
from workers.sources.fetch import MOST_REDIRECTS, Fetched, FetchLimits, fetch
from workers.sources.http_get import Deadline

KIB = 1024
LIMITS = FetchLimits(max_bytes=64 * KIB, timeout_s=5)


def answer_of(*headers: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def fetched_from(
    script: Script, url: str = "http://site.example/files/report.pdf?x=1", limits: FetchLimits = LIMITS
) -> tuple[Fetched, bytes]:
    internet, into = Internet(), io.BytesIO()
    with Origin(script) as origin:
        internet.add("site.example", origin)
        fetched = fetch(url, into, guard=internet.egress(), limits=limits)
    return fetched, into.getvalue()


def refusal_of(script: Script, limits: FetchLimits = LIMITS) -> OcrError:
    with pytest.raises(OcrError) as refusal:
        fetched_from(script, limits=limits)
    return refusal.value


def test_a_file_is_downloaded_with_what_is_said_of_it() -> None:
    answer = answer_of("Content-Type: Application/PDF; charset=x", body=b"%PDF-1.7")
    fetched, content = fetched_from(answering(answer), "HTTP://Site.Example:8080/files/report.pdf?x=1#page=2")
    assert content == b"%PDF-1.7"
    assert fetched == Fetched(
        url="http://site.example:8080/files/report.pdf?x=1#page=2",
        status=200,
        media_type="application/pdf",
        filename="report.pdf",
        size_bytes=8,
    )


def test_the_request_says_who_asks_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    internet = Internet()
    with Origin() as origin:
        internet.add("site.example", origin)
        fetch("http://site.example/a b?c", io.BytesIO(), guard=internet.egress(), limits=LIMITS)
        lines = origin.heads[0].decode().split("\r\n")
    assert lines[0] == "GET /a%20b?c HTTP/1.1"
    assert {line.split(":")[0].lower() for line in lines[1:-2]} == {
        "host",
        "user-agent",
        "accept",
        "accept-encoding",
        "connection",
    }


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="scan 1.pdf"', "scan 1.pdf"),
        ("attachment; filename=scan.pdf", "scan.pdf"),
        ("attachment; filename*=UTF-8''%e2%82%ac%20rates.pdf", "€ rates.pdf"),
        ('attachment; filename="../../etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\Users\\\\me\\\\a.pdf"', "a.pdf"),
        ('attachment; filename="größe.pdf"', "größe.pdf"),
        ('attachment; filename=".."', "report.pdf"),
        ('attachment; filename="a\x7fb\u202e.pdf"', "ab.pdf"),
        ("attachment; filename*=UTF-8''%ff%00%0a.pdf", None),
        ("inline", "report.pdf"),
        (';;;="', "report.pdf"),
        (f'attachment; filename="{"x" * 400}.pdf"', "x" * 251 + ".pdf"),
    ],
)
def test_a_file_name_is_one_that_a_source_can_have(header: str, name: str | None) -> None:
    answer = answer_of(f"Content-Disposition: {header}", body=b"x")
    fetched, _ = fetched_from(answering(answer))
    if name is not None:
        assert fetched.filename == name
    Source(blob="0" * 64, media_type="a/b", size_bytes=1, filename=fetched.filename)


@pytest.mark.parametrize("path", ["/", "", "/%00", "/a/..", "/%2e%2e", "/?x=/y.pdf"])
def test_a_path_without_a_name_gives_none(path: str) -> None:
    assert fetched_from(answering(answer_of(body=b"x")), f"http://site.example{path}")[0].filename is None


@pytest.mark.parametrize("claimed", ["", "nonsense", "text/html\xff", "a/b/c", "x/" + "y" * 200])
def test_a_media_type_that_is_none_is_not_taken(claimed: str) -> None:
    answer = answer_of("X: y", body=b"x").replace(b"X: y", b"Content-Type: " + claimed.encode("latin-1"))
    assert fetched_from(answering(answer))[0].media_type is None


# -- redirects ---------------------------------------------


def test_redirects_are_followed_to_the_end() -> None:
    def leads_on(location: str) -> bytes:
        return answer_of(f"Location: {location}", status="302 Found")

    internet, into = Internet(), io.BytesIO()
    with (
        Origin(answering(leads_on("//b.example/x/y"))) as a,
        Origin(lambda connection: answer_by_path(connection)) as b,
    ):
        internet.add("a.example", a)
        internet.add("b.example", b, "93.184.216.35")
        fetched = fetch("http://a.example/", into, guard=internet.egress(), limits=LIMITS)
    assert fetched.url == "http://b.example/x/z.png"
    assert into.getvalue() == b"here"


def answer_by_path(connection: socket.socket) -> None:
    if b" /x/y " in head_of(connection):
        connection.sendall(answer_of("Location: z.png", status="301 Moved"))
    else:
        connection.sendall(answer_of(body=b"here"))


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1:{port}/", "//0x7f.1:{port}", "http://[::ffff:127.0.0.1]:{port}/", "http://evil.example/"],
)
def test_a_redirect_into_the_house_is_refused(location: str) -> None:
    with canary() as silent:
        internet = Internet()
        internet.names["evil.example"] = [["127.0.0.1"]]
        answer = answer_of(f"Location: {location.format(port=silent.port)}", status="302 Found")
        with Origin(answering(answer)) as origin:
            internet.add("site.example", origin)
            with pytest.raises(AddressForbidden):
                fetch("http://site.example/", io.BytesIO(), guard=internet.egress(), limits=LIMITS)
        assert [address for address, _ in internet.connected] == [PUBLIC]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://x/", "http://a@b/", "http://[", "data:,x"])
def test_a_redirect_to_what_is_no_web_address_is_refused(location: str) -> None:
    refusal = refusal_of(answering(answer_of(f"Location: {location}", status="302 Found")))
    assert isinstance(refusal, InvalidUrl)
    assert "site.example leads on" in refusal.detail


def test_redirects_without_end_are_given_up() -> None:
    internet = Internet()
    with Origin(answering(answer_of("Location: /again", status="307 Again"))) as origin:
        internet.add("site.example", origin)
        with pytest.raises(UrlStatus, match="more than 10 times"):
            fetch("http://site.example/", io.BytesIO(), guard=internet.egress(), limits=LIMITS)
        assert origin.connections == MOST_REDIRECTS + 1


# -- what goes wrong ---------------------------------------------


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oh", "302 Nowhere", "304 Not Modified", "199 Odd"])
def test_a_status_that_is_no_success_is_named(status: str) -> None:
    refusal = refusal_of(answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()))
    if status.startswith("199"):  # an interim answer, with nothing behind it
        assert isinstance(refusal, UrlUnreachable)
    else:
        assert isinstance(refusal, UrlStatus)
        assert refusal.extensions == {"host": "site.example", "value": int(status[:3])}
        assert f"site.example answered {status}." in refusal.detail


def test_interim_answers_are_passed_over() -> None:
    assert fetched_from(answering(b"HTTP/1.1 103 Hints\r\n\r\n" + answer_of(body=b"x")))[1] == b"x"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhe",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        answer_of("Content-Encoding: br", body=b"x"),
        answer_of("Content-Encoding: gzip, gzip", body=b"x"),
        answer_of("Content-Encoding: gzip", body=b"no gzip at all"),
        answer_of("Content-Encoding: gzip", body=gzip.compress(b"x" * 1000, mtime=0)[:-9]),
    ],
    ids=lambda answer: repr(answer)[:60],
)
def test_what_is_no_answer_is_said_to_be_none(answer: bytes) -> None:
    refusal = refusal_of(answering(answer))
    assert isinstance(refusal, UrlUnreachable)
    assert "site.example" in refusal.detail


def test_gzip_is_unpacked_in_one_member_or_several() -> None:
    body = os.urandom(20 * KIB) + bytes(20 * KIB)
    packed = gzip.compress(body[:5000]) + gzip.compress(body[5000:]) + bytes(512)
    fetched, content = fetched_from(answering(answer_of("Content-Encoding: gzip", body=packed)))
    assert content == body
    assert fetched.size_bytes == len(body)
    assert fetched_from(answering(answer_of("Content-Encoding: gzip")))[1] == b""


def test_a_bomb_is_unpacked_in_small_steps() -> None:
    bomb = gzip.compress(bytes(20 * KIB * KIB))
    parts = list(decoded([bomb], {"content-encoding": "gzip"}, "site.example"))
    assert sum(map(len, parts)) == 20 * KIB * KIB
    assert max(map(len, parts)) <= STEP_BYTES


@pytest.mark.parametrize("how", ["announced", "chunked", "until the end", "gzip"])
def test_what_is_too_large_is_refused_as_soon_as_it_is(how: str) -> None:
    flood = bytes(16 * KIB)

    def script(connection: socket.socket) -> None:
        head_of(connection)
        if how == "gzip":
            connection.sendall(answer_of("Content-Encoding: gzip", body=gzip.compress(bytes(100 * KIB * KIB))))
            return
        head = {"announced": f"Content-Length: {10**12}\r\n", "chunked": "Transfer-Encoding: chunked\r\n"}.get(how, "")
        connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode())
        while True:
            connection.sendall(b"%x\r\n%b\r\n" % (len(flood), flood) if how == "chunked" else flood)

    refusal = refusal_of(script)
    assert isinstance(refusal, UrlTooLarge)
    assert refusal.extensions == {"host": "site.example", "limit": 64 * KIB}


def test_a_file_of_exactly_the_limit_is_taken() -> None:
    body = bytes(64 * KIB)
    assert fetched_from(answering(answer_of(body=body)))[0].size_bytes == 64 * KIB
    assert isinstance(refusal_of(answering(answer_of(body=body + b"x"))), UrlTooLarge)


@pytest.mark.parametrize("drip", [b"", b"H", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_server_that_takes_too_long_is_given_up(drip: bytes) -> None:
    def script(connection: socket.socket) -> None:
        head_of(connection)
        for start in range(len(drip)):
            connection.sendall(drip[start : start + 1])
        while connection.recv(1):
            pass

    for limits in (FetchLimits(KIB, timeout_s=0.15), FetchLimits(KIB, timeout_s=10, stall_s=0.15)):
        started = time.monotonic()
        assert isinstance(refusal_of(script, limits), UrlTimeout)
        assert time.monotonic() - started < 5


def test_a_deadline_that_is_over_leaves_no_time() -> None:
    with pytest.raises(UrlTimeout, match=r"site\.example takes longer"):
        Deadline(at=time.monotonic() - 1, stall_s=5).left_s("site.example")


def test_a_server_that_drips_is_given_up_in_all() -> None:
    def script(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.settimeout(0.01)
        while True:
            connection.sendall(b"x")
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                continue

    assert isinstance(refusal_of(script, FetchLimits(KIB * KIB, timeout_s=0.3, stall_s=5)), UrlTimeout)


def test_a_full_disk_is_not_the_servers_fault() -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(28, "No space left on device")

    internet = Internet()
    with Origin() as origin:
        internet.add("site.example", origin)
        with pytest.raises(OSError, match="No space left"):
            fetch("http://site.example/", Full(), guard=internet.egress(), limits=LIMITS)


# -- TLS ---------------------------------------------


# For site.example, its own authority, with its key: good for nothing but these tests.
CERTIFICATE = Path(__file__).parents[1] / "samples" / "site.pem"


def over_tls() -> Script:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)

    def script(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(answer_of(body=b"secret"))

    return script


def fetched_over_tls(host: str, tls: ssl.SSLContext | None) -> bytes:
    internet, into = Internet(), io.BytesIO()
    with Origin(over_tls()) as origin:
        internet.add(host, origin)
        fetch(f"https://{host}/", into, guard=internet.egress(), limits=LIMITS, tls=tls)
    return into.getvalue()


def test_tls_is_checked_for_the_name_and_not_for_the_address() -> None:
    trusting = ssl.create_default_context(cafile=str(CERTIFICATE))
    assert fetched_over_tls("site.example", trusting) == b"secret"
    with pytest.raises(UrlUnreachable, match="not to be trusted: Hostname mismatch"):
        fetched_over_tls("other.example", trusting)


def test_a_certificate_of_nobody_is_refused() -> None:
    with pytest.raises(UrlUnreachable, match="not to be trusted: self-signed"):
        fetched_over_tls("site.example", None)


def test_a_server_without_tls_is_said_to_be_none() -> None:
    internet = Internet()
    with Origin(lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as origin:
        internet.add("site.example", origin)
        with pytest.raises(UrlUnreachable, match=r"site\.example broke the connection off"):
            fetch("https://site.example/", io.BytesIO(), guard=internet.egress(), limits=LIMITS)
