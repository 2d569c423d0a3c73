"""What is wrong with what comes in is told by code, value and limit; nothing of it stays, and nobody is harmed."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from ocr_tasks.jobs.database import Database
from tests.conftest import settings_of
from tests.documents import PdfPage, born_digital, encoded, encrypted_pdf, pdf_file
from tests.hostile import PDFS
from tests.stack import StackUnderTest, running_stack, tiff, until

pytestmark = pytest.mark.stack

MAX_UPLOAD_MB, MAX_PAGES = 8, 20
MAX_BYTES = MAX_UPLOAD_MB * 1024 * 1024
MAX_PIXELS = 4_000_000
PNG = encoded(Image.effect_noise((60, 40), 50), "PNG")
PDF = pdf_file([born_digital(["one"], size=(200, 200))])
TMP = "tmp"  # where the stack's programs make temporary files, below its folder


@pytest.fixture(scope="module")
def environment(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("bad")
    (folder / TMP).mkdir()
    return new_environment(
        OCR_MAX_UPLOAD_MB=str(MAX_UPLOAD_MB),
        DEEPSEEK_OCR_MAX_PAGES=str(MAX_PAGES),
        OCR_MAX_PAGE_MPX=str(MAX_PIXELS / 1_000_000),
        OCR_PREPARE_TIMEOUT_S="4",
        OCR_PREPARE_MEMORY_MB="1024",
        OCR_PAGE_FAILURES="1",
        OCR_LEASE_S="30",
        OCR_LOG_LEVEL="debug",
        TMPDIR=str(folder / TMP),
    )


@pytest.fixture(scope="module")
def stack(environment: dict[str, str]) -> Iterator[StackUnderTest]:
    folder = Path(environment["TMPDIR"]).parent
    with running_stack(folder, environment, "web", "prepare", "reconcile", "simulated") as stack:
        stack.ended(stack.submit(tiff(2))["id"])
        yield stack


@pytest.fixture(scope="module")
def rows(environment: dict[str, str]) -> Iterator[Database]:
    database = Database(settings_of(environment), patience_s=2)
    yield database
    database.close()


def pids(stack: StackUnderTest) -> set[int]:
    """All processes of the stack."""
    mains = [psutil.Process(process.pid) for process in stack.processes.values()]
    return {one.pid for main in mains for one in [main, *main.children(recursive=True)]}


def blobs(stack: StackUnderTest) -> set[str]:
    root = Path(stack.environment["OCR_DATA_DIR"]) / "blobs"
    return {path.name for path in root.rglob("*") if path.is_file()}


def leftovers(stack: StackUnderTest, rows: Database) -> list[str]:
    """What only work in progress may leave: spooled and temporary files, ranges, jobs and pages that are not over."""
    spool = (Path(stack.environment["OCR_DATA_DIR"]) / "blobs" / "spool").glob("*")
    # pymp-: a folder of Python's multiprocessing, for as long as its process runs.
    temporary = [path for path in (stack.folder / TMP).iterdir() if not path.name.startswith("pymp-")]
    found = [str(path) for path in [*spool, *temporary]]
    live = "status NOT IN ('succeeded', 'failed', 'cancelled')"
    for table, which in (("ranges", "true"), ("jobs", live), ("pages", live)):
        found += [f"{table}: {row['row']}" for row in rows.all(f"SELECT t::text AS row FROM {table} t WHERE {which}")]
    return found


@pytest.fixture(autouse=True)
def _nothing_stays_and_nobody_is_harmed(
    stack: StackUnderTest, rows: Database, request: pytest.FixtureRequest
) -> Iterator[None]:
    before = pids(stack)
    crashes = stack.log("web").count("request_crashed")
    yield
    good = stack.submit(tiff(2))["id"]
    assert stack.ended(good, 20)["status"] == "succeeded"
    until(lambda: not leftovers(stack, rows) or None, 10, f"the end of {leftovers(stack, rows)}")
    assert stack.log("web").count("request_crashed") == crashes
    if "kills_parsers" not in request.keywords:
        assert pids(stack) == before
        return
    # One that only just survived may be replaced any time later, for the memory it once took.
    stack.stop("prepare")
    stack.revive("prepare")
    assert stack.ended(stack.submit(tiff(2))["id"], 60)["status"] == "succeeded"


@dataclass(frozen=True)
class Case:
    """A file with options, and the problem that it must end in; `extensions` are members of the problem."""

    content: bytes
    status: int
    code: str
    says: str = ""
    name: str = "file.pdf"
    options: dict[str, str] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)


def submitted(stack: StackUnderTest, content: bytes, name: str = "file.pdf", **options: str) -> httpx.Response:
    with stack.http as http:
        return http.post("/api/ocr/process", files={"file": (name, content)}, data=options)


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert problem["detail"]
    assert str(problem.get("limit", "")) in problem["detail"]
    return problem


REFUSED = {
    "empty": Case(b"", 422, "empty_file", "'file.pdf' has no bytes"),
    "text": Case(b"words", 415, "unsupported_media_type", "Accepted: PDF, PNG", "a.txt"),
    "html named pdf": Case(b"<html>", 415, "unsupported_media_type", "text/html", extensions={"value": "text/html"}),
    "office": Case(b"PK\3\4" + bytes(60), 415, "unsupported_media_type", "application/zip", "a.docx"),
    "page range": Case(
        PDF, 422, "invalid_page_range", "1-3,5", options={"pages": "5-2"}, extensions={"value": "5-2", "field": "pages"}
    ),
    "unknown option": Case(
        PDF, 400, "unknown_field", "Known fields: ", options={"colour": "1"}, extensions={"field": "colour"}
    ),
    "format": Case(PDF, 422, "invalid_option", "'markdown'", options={"format": "docx"}, extensions={"value": "docx"}),
    "number": Case(
        PDF, 422, "invalid_option", "100", options={"compressionRatio": "1e9"},
        extensions={"value": "1e9", "limit": 100},
    ),
    "no number": Case(PDF, 422, "invalid_option", "nan", options={"compressionRatio": "nan"}),
    "long option": Case(
        PDF, 422, "invalid_option", "1000", options={"pages": "1," * 600}, extensions={"field": "pages", "limit": 1000}
    ),
    "long password": Case(
        PDF, 422, "invalid_option", "256", options={"password": "x" * 257},
        extensions={"field": "password", "limit": 256},
    ),
    "NUL in an option": Case(PDF, 422, "invalid_option", "got", options={"mode": "a\0b"}),
    "NUL in a password": Case(PDF, 422, "invalid_option", "NUL", options={"password": "a\0b"}),
    "half a surrogate pair": Case(PDF, 422, "invalid_page_range", "page", options={"pages": "\udc80"}),
    "NUL in a name of a field": Case(PDF, 400, "unknown_field", "Known", options={"a\0b": "1"}),
    "a field of a megabyte": Case(PDF, 413, "body_too_large", "500 kB", options={"pages": "1" * 1_000_000}),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_be_seen_at_once_is_refused_and_nothing_is_stored(
    stack: StackUnderTest, rows: Database, name: str
) -> None:
    case, stored, jobs = REFUSED[name], blobs(stack), len(rows.all("SELECT id FROM jobs"))
    options = {key: value.encode(errors="surrogateescape") for key, value in case.options.items()}
    with stack.http as http:
        answer = http.post("/api/ocr/process", files={"file": (case.name, case.content)}, data=options)
    problem = problem_of(answer, case.status, case.code)
    assert case.says in problem["detail"]
    assert case.extensions.items() <= problem.items()
    assert "xxxx" not in answer.text
    assert (blobs(stack), len(rows.all("SELECT id FROM jobs"))) == (stored, jobs)


def bomb(width: int, height: int) -> bytes:
    """A PNG of black pixels that is thousands of times smaller than what it unpacks to."""
    chunks = [(b"IHDR", width.to_bytes(4) + height.to_bytes(4) + b"\1\0\0\0\0")]
    chunks += [(b"IDAT", zlib.compress(bytes((width // 8 + 1) * height), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4) for kind, data in chunks
    )


SECRET = encrypted_pdf([born_digital(["secret"], size=(200, 200))] * 3, user="Rosebud-1941", owner="Kane")
MANY = pdf_file([PdfPage(size=(50, 50))] * (MAX_PAGES + 1))
PIXELS = 20_000 * 20_000

FAILED = {
    "no PDF": Case(b"%PDF-1.7 and then nothing", 422, "broken_file", "damaged or cut off"),
    "truncated PDF": Case(PDF[:200], 422, "broken_file", "cut off"),
    "truncated PNG": Case(PNG[: len(PNG) // 2], 422, "broken_file", "Page 1", "a.png"),
    "no password": Case(SECRET, 422, "password_required", "option `password`"),
    "wrong password": Case(SECRET, 422, "wrong_password", "does not open it", options={"password": "Rosebud"}),
    "pixel bomb": Case(
        bomb(20_000, 20_000), 422, "page_too_large", "20000 x 20000", extensions={"value": PIXELS, "limit": MAX_PIXELS}
    ),
    "huge page": Case(
        pdf_file([PdfPage(size=(200_000, 200_000))]), 422, "page_too_large", "200000 x 200000 pt",
        extensions={"value": 200_000**2, "limit": MAX_PIXELS},
    ),
    "0 pages": Case(pdf_file([]), 422, "no_pages", "0 pages"),
    "too many pages": Case(
        MANY, 422, "too_many_pages", "pages=1-20", extensions={"value": MAX_PAGES + 1, "limit": MAX_PAGES}
    ),
    "too many chosen": Case(
        MANY, 422, "too_many_pages", "pages=1-20", options={"pages": "1-"}, extensions={"value": 21, "limit": MAX_PAGES}
    ),
    "pages that are not there": Case(
        PDF, 422, "invalid_page_range", "has 1 page", options={"pages": "1-9"}, extensions={"value": "1-9", "limit": 1}
    ),
}  # fmt: skip


def test_what_only_parsing_shows_fails_the_job_with_the_problem_that_a_refusal_would_have_been(
    stack: StackUnderTest,
) -> None:
    jobs = {name: stack.submit(case.content, case.name, **case.options)["id"] for name, case in FAILED.items()}
    for name, job_id in jobs.items():
        case, job = FAILED[name], stack.ended(job_id, 30)
        assert job["status"] == "failed", name
        assert (job["error"]["code"], job["error"]["status"]) == (case.code, case.status), name
        assert case.says in job["error"]["detail"], name
        assert case.extensions.items() <= job["error"].items(), name
        assert problem_of(stack.result(job_id), case.status, case.code)["detail"] == job["error"]["detail"]


GOOD = {
    "a PNG named pdf": (PNG, {}, ["page of 60 by 40"]),
    "as many pages as allowed": (MANY, {"pages": f"2-{MAX_PAGES + 1}"}, ["page of 139 by 139"] * MAX_PAGES),
    "the right password": (SECRET, {"password": "Rosebud-1941"}, ["page of 556 by 556"] * 3),
    "the owner's password": (SECRET, {"password": "Kane", "pages": "2"}, ["page of 556 by 556"]),
    "a password for nothing": (PDF, {"password": "not needed"}, ["page of 556 by 556"]),
    "a password for a picture": (PNG, {"password": "not needed"}, ["page of 60 by 40"]),
}


def test_what_only_looks_wrong_is_read(stack: StackUnderTest) -> None:
    jobs = {name: stack.submit(content, "file.pdf", **options)["id"] for name, (content, options, _) in GOOD.items()}
    for name, job_id in jobs.items():
        assert stack.ended(job_id, 30)["status"] == "succeeded", name
        assert stack.text(job_id).strip().split("\f") == GOOD[name][2], name


@pytest.mark.kills_parsers
def test_every_hostile_document_ends_with_a_reason_and_none_is_stuck(stack: StackUnderTest) -> None:
    jobs = {name: stack.submit(make())["id"] for name, make in PDFS.items()}
    ends = {name: stack.ended(job_id, 60) for name, job_id in jobs.items()}
    for name, job in ends.items():
        assert job["status"] in ("succeeded", "failed"), name
        assert job["status"] == "succeeded" or job["error"]["detail"], name
        assert "internal_error" not in json.dumps(job), name
    codes = {job["error"]["code"] for job in ends.values() if job["error"]}
    assert {"broken_file", "parser_died", "too_many_pages"} <= codes
    assert "crashed" not in stack.log("prepare")


# -- bodies ---------------------------------------------


def form_body(*parts: tuple[str, bytes], boundary: str = "b") -> bytes:
    """A multipart body; a part is what its disposition says after `form-data;`, and its content."""
    made = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    )
    return made + f"--{boundary}--\r\n".encode()


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def curl(stack: StackUnderTest, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit status of curl and the problem that it was answered with."""
    done = subprocess.run(
        ["curl", "-sS", *words, f"{stack.url}/api/ocr/process"], capture_output=True, timeout=60, check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 20 * MAX_BYTES])
@pytest.mark.parametrize(
    "way", [[], ["Transfer-Encoding: chunked"], ["Expect:"], ["Transfer-Encoding: chunked", "Expect:"]]
)
def test_a_body_too_large_is_refused_where_its_sender_can_read_it(
    stack: StackUnderTest, tmp_path: Path, size: int, way: list[str]
) -> None:
    stored, large = blobs(stack), tmp_path / "large.pdf"
    with large.open("wb") as file:
        file.write(PDF)
        file.truncate(size)
    headers = [word for line in way for word in ("-H", line)]
    status, problem = curl(stack, *headers, "-F", f"file=@{large}")
    assert (status, problem["status"], problem["code"]) == (0, 413, "body_too_large")
    assert problem["limit"] == MAX_BYTES
    assert str(MAX_BYTES) in problem["detail"]
    if "Transfer-Encoding: chunked" not in way:
        assert problem["value"] > size
    assert blobs(stack) == stored


def test_ten_thousand_parts_in_one_form_are_refused(stack: StackUnderTest) -> None:
    body = form_body(*((f'name="field{n}"', b"1") for n in range(10_000)))
    with stack.http as http:
        answer = http.post("/api/ocr/process", content=body, headers=FORM)
    assert problem_of(answer, 413, "body_too_large")["limit"] == 100


FILE_PART = 'name="file"; filename="a.pdf"'
SHAPES = {
    "no boundary": ({"Content-Type": "multipart/form-data"}, form_body((FILE_PART, PDF)), 400, "invalid_request"),
    "another boundary": (
        {"Content-Type": "multipart/form-data; boundary=c"}, form_body((FILE_PART, PDF)), 400, "invalid_request",
    ),
    "endless boundary": (
        {"Content-Type": f"multipart/form-data; boundary={'b' * 4000}"}, form_body((FILE_PART, PDF)), 400,
        "invalid_request",
    ),
    "no body": (FORM, b"", 400, "invalid_request"),
    "only noise": (FORM, bytes(range(256)) * 100, 400, "invalid_request"),
    "never ended": (FORM, form_body((FILE_PART, PDF))[:-20], 400, "invalid_request"),
    "no form": ({"Content-Type": "text/plain"}, b'{"file": [1, {"a": null}]}', 415, "unsupported_media_type"),
    "another object": ({"Content-Type": "application/json"}, b'{"file": [1, {"a": null}]}', 400, "unknown_field"),
    "a file as option": (FORM, form_body((FILE_PART, PDF), ('name="pages"; filename="x"', b"1")), 400, "unknown_field"),
    "a file as field": (FORM, form_body(('name="file"', PDF)), 400, "invalid_request"),
    "a name not in UTF-8": (
        FORM, form_body((FILE_PART, PDF)).replace(b"a.pdf", b"a\x80.pdf"), 400, "invalid_request",
    ),
    "no name": (FORM, form_body(('filename="a.pdf"', PDF)), 400, "invalid_request"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_a_body_that_is_no_form_is_refused(stack: StackUnderTest, name: str) -> None:
    headers, body, status, code = SHAPES[name]
    stored = blobs(stack)
    with stack.http as http:
        answer = http.post("/api/ocr/process", content=body, headers=headers)
    assert "file" in problem_of(answer, status, code)["detail"]
    assert blobs(stack) == stored


TRICKS = [
    "../../../etc/passwd",
    "..\\..\\boot.ini",
    "/",
    "..",
    "file:///etc",
    "ä\N{SNOWMAN}",
    "x" * 5000,
    "a;b|`d`$(e).pdf",
]


@pytest.mark.parametrize("given", TRICKS)
def test_a_file_name_full_of_tricks_is_a_name_and_nothing_else(
    stack: StackUnderTest, rows: Database, given: str
) -> None:
    head = b'name="file"; filename="' + given.encode() + b'"'
    body = b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + PNG + b"\r\n--b--\r\n"
    with stack.http as http:
        answer = http.post("/api/ocr/process", content=body, headers=FORM)
    assert answer.status_code == 202, answer.text
    assert stack.ended(answer.json()["id"])["status"] == "succeeded"
    row = rows.one("SELECT source ->> 'filename' AS name FROM jobs WHERE id = :job", job=answer.json()["id"])
    assert row is not None
    assert "/" not in (row["name"] or "")
    assert len(row["name"] or "") <= 255


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_that_its_sender_cuts_off_leaves_nothing(
    stack: StackUnderTest, rows: Database, chunked: bool
) -> None:
    stored, jobs = blobs(stack), len(rows.all("SELECT id FROM jobs"))
    body = form_body((FILE_PART, PDF + bytes(900_000)))[:600_000]
    length = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1000000"
    head = f"POST /api/ocr/process HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM['Content-Type']}\r\n{length}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", stack.port)) as sender:
        sender.sendall(head.encode() + (b"f4240\r\n" if chunked else b"") + body)
        sender.shutdown(socket.SHUT_WR)
        answer = sender.makefile("rb").read()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer[:300]
    assert (blobs(stack), len(rows.all("SELECT id FROM jobs"))) == (stored, jobs)
    assert "Traceback" not in stack.log("web")


def test_what_is_no_id_or_no_format_is_named(stack: StackUnderTest) -> None:
    good = stack.submit(PNG)["id"]
    stack.ended(good)
    wanted = {
        "/api/jobs/..%2f..%2fetc": (404, "not_found"),
        "/api/jobs/%00": (400, "invalid_id"),
        "/api/jobs/" + "9" * 3000: (400, "invalid_id"),
        "/api/jobs/%ED%A0%80/result": (400, "invalid_id"),
        f"/api/jobs/{uuid.uuid4()}": (404, "not_found"),
        f"/api/jobs/{good}/result?format=docx": (406, "unsupported_format"),
        f"/api/jobs/{good}/result?format=%00": (406, "unsupported_format"),
        f"/api/jobs/{good}/pages/{'9' * 400}": (400, "invalid_request"),
        f"/api/jobs/{good}/pages/999999999": (404, "not_found"),
        f"/api/jobs/{good}/pages/%D9%A1": (400, "invalid_request"),
        "/api/jobs?limit=%00": (422, "invalid_option"),
        "/api/jobs?cursor=" + "A" * 3000: (422, "invalid_option"),
        "/api/jobs?status=%ED%A0%80": (422, "invalid_option"),
    }
    with stack.http as http:
        for path, (status, code) in wanted.items():
            problem_of(http.get(path), status, code)


def test_ten_thousand_junk_requests_leave_web_as_it_was(stack: StackUnderTest) -> None:
    junk = [
        (FORM, form_body((FILE_PART, b""))),
        (FORM, form_body((FILE_PART, b"words"), ('name="colour"', b"1"))),
        (FORM, form_body(*((f'name="f{n}"', b"1") for n in range(20)))),
        ({"Content-Type": "text/plain"}, b"{}"),
    ]

    def send(count: int) -> set[int]:
        connection, seen = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30), set()
        for n in range(count):
            headers, body = junk[n % len(junk)]
            connection.request("POST", "/api/ocr/process", body, headers)
            answer = connection.getresponse()
            answer.read()
            seen.add(answer.status)
        connection.close()
        return seen

    def burden() -> tuple[float, int]:
        (worker,) = psutil.Process(stack.processes["web"].pid).children()
        return worker.memory_info().rss / 2**20, worker.num_fds()

    with ThreadPoolExecutor(4) as senders:
        first = set().union(*senders.map(send, [500] * 4))
        memory, handles = burden()
        rest = set().union(*senders.map(send, [2000] * 4))
    assert first == rest == {400, 415, 422}
    assert burden()[0] < memory + 10
    until(lambda: burden()[1] <= handles or None, 10, "closing what was opened")


# -- passwords ---------------------------------------------


def test_a_password_is_found_nowhere_once_it_was_used(stack: StackUnderTest, rows: Database) -> None:
    import redis

    from ocr_tasks.app import make_app

    word = "Rosebud-1941"
    app = make_app(settings_of(dict(stack.environment)))
    events: list[dict[str, Any]] = []
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": events.append})
        threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True).start()
        until(lambda: events, 10, "a heartbeat")
        good = stack.submit(SECRET, password=word)["id"]
        wrong = stack.submit(SECRET, password=f"{word}x")["id"]
        direct = str(uuid.uuid4())
        source = rows.one("SELECT source FROM jobs WHERE id = :job", job=good)
        assert source is not None
        payload = {"source": {"blob": source["source"]["blob"]}, "options": {"password": word}}
        app.send_task("ocr_tasks.ocr", kwargs=payload, task_id=direct, queue="prepare.bulk")
        until(lambda: rows.one("SELECT 1 FROM jobs WHERE id = :job", job=direct), 20, "the direct caller's row")
        ends = [stack.ended(job_id)["status"] for job_id in (good, wrong, direct)]
        until(lambda: any(event.get("uuid") == direct for event in events), 10, "the event of the direct caller's task")
        receiver.should_stop = True
    assert ends == ["succeeded", "failed", "succeeded"]
    sent = [event for event in events if event["type"] == "task-received" and event["uuid"] in (good, wrong, direct)]
    assert {event["kwargs"] for event in sent} <= {"(hidden)"}
    assert word not in json.dumps([event for event in events if event["type"] != "task-sent"], default=str)
    for table in ("jobs", "pages", "ranges"):
        assert word not in str(rows.all(f"SELECT t::text FROM {table} t"))
    for name in stack.processes:
        assert word not in stack.log(name)
    root = Path(stack.environment["OCR_DATA_DIR"]) / "blobs"
    assert [path for path in root.rglob("*") if path.is_file() and word.encode() in path.read_bytes()] == []
    client = redis.Redis.from_url(stack.environment["REDIS_URL"])
    assert [key for key in client.scan_iter() if word.encode() in dumped(client, key)] == []


def dumped(client: Any, key: bytes) -> bytes:
    """All that a key of Redis holds."""
    kind = client.type(key)
    readers = {b"list": lambda: client.lrange(key, 0, -1), b"hash": lambda: client.hgetall(key)}
    return str(readers.get(kind, lambda: client.get(key) if kind == b"string" else "")()).encode()
