"""The REST front by itself, on a real database and broker: what it accepts, refuses and says."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from ocr_tasks.contract import NOTICES
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.nodes import NodeRow, NodeState, renew_node
from ocr_tasks.settings import Settings
from tests.documents import encoded
from web import create_app

PNG = encoded(Image.new("L", (60, 40), 255), "PNG")


@pytest.fixture
def client(settings: Settings) -> Iterator[FlaskClient]:
    app = create_app(settings.model_copy(update={"max_upload_mb": 1}))
    with app.test_client() as client:
        yield client


def submit(client: FlaskClient, content: bytes = PNG, name: str = "page.png", **fields: Any) -> TestResponse:
    # Written by httpx: werkzeug's own writer leaves the line break after an empty part out.
    form = httpx.Request("POST", "http://localhost", files={"file": (name, content)}, data=fields)
    return client.post("/api/ocr/process", data=form.read(), content_type=form.headers["Content-Type"])


def refused(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer that must be one, complete and of its own media type."""
    assert answer.content_type == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.get_json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), problem
    assert {"type", "title", "detail", "instance"} <= problem.keys()
    assert "/work" not in problem["detail"]
    return problem


def jobs_stored(db: Database) -> int:
    return len(db.all("SELECT id FROM jobs"))


def test_a_submitted_file_is_accepted_with_the_addresses_to_go_on_with(client: FlaskClient) -> None:
    answer = submit(client, priority="bulk")
    job = answer.get_json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/api/jobs/{job['id']}" == job["links"]["self"]
    assert answer.headers["Retry-After"] == "1"
    assert set(job) == {"id", "kind", "engine", "notice", "status", "priority", "batchId", "pages", "createdAt",
                        "startedAt", "finishedAt", "error", "links"}  # fmt: skip
    assert (job["engine"], job["notice"]) == ("rapid", None)
    assert (job["kind"], job["status"], job["priority"]) == ("ocr", "queued", "bulk")
    assert job["pages"] == {"total": None, "succeeded": 0, "failed": 0}
    assert client.get(job["links"]["self"]).get_json()["id"] == job["id"]


def test_the_message_follows_the_row_into_the_lane_of_its_priority(client: FlaskClient, settings: Settings) -> None:
    job = submit(client, priority="bulk").get_json()
    broker = redis.Redis.from_url(settings.broker_url)
    assert broker.llen("prepare.bulk") == 1
    message = broker.lindex("prepare.bulk", 0)
    assert isinstance(message, bytes)
    assert job["id"].encode() in message


def test_a_job_is_accepted_while_redis_is_down(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))
    with app.test_client() as client:
        answer = submit(client)
        assert answer.status_code == 202
        assert client.get(answer.headers["Location"]).get_json()["status"] == "queued"
        assert "broker" in refused(client.get("/readyz"), 503, "service_unavailable")["detail"]


def test_the_engine_of_vision_tokens_is_told_of_and_not_waited_for(settings: Settings, db: Database) -> None:
    renew_node(db, NodeRow("rapid0@here", "rapid", "1", 1, NodeState.READY))
    app = create_app(settings.model_copy(update={"token_engine": "nano"}))
    with app.test_client() as client:
        for state, told in ((None, "no node serves the engine nano (yet)"), (NodeState.LOADING, "loading"),
                            (NodeState.READY, "ok")):  # fmt: skip
            if state is not None:
                renew_node(db, NodeRow("nano0@here", "nano", "1", 1, state))
            ready = client.get("/readyz").get_json()
            assert (ready["status"], ready["checks"]["engine"]) == ("ready", "ok")
            assert ready["tokenEngine"] == {"name": "nano", "state": told, "notice": NOTICES["nano"]}
        job = client.post("/api/dom/compress", json={"html": "<p>Hello.</p>"}).get_json()
        assert (job["engine"], job["notice"]) == ("nano", NOTICES["nano"])


def test_without_a_database_a_submit_is_refused_as_unavailable(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"}))
    with app.test_client() as client:
        answer = submit(client)
        refused(answer, 503, "service_unavailable")
        assert answer.headers["Retry-After"] == "1"
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "code", "field", "value"),
    [
        ({"colour": "yes"}, 400, "unknown_field", "colour", None),
        ({"compression_ratio": "10"}, 400, "unknown_field", "compression_ratio", None),
        ({"callbackUrl": "http://x"}, 400, "unknown_field", "callbackUrl", None),
        ({"format": "docx"}, 422, "invalid_option", "format", "docx"),
        ({"mode": "enormous"}, 422, "invalid_option", "mode", "enormous"),
        ({"priority": "urgent"}, 422, "invalid_option", "priority", "urgent"),
        ({"compressionRatio": "-3"}, 422, "invalid_option", "compressionRatio", "-3"),
        ({"includeLayout": "perhaps"}, 422, "invalid_option", "includeLayout", "perhaps"),
        ({"pages": "3-1"}, 422, "invalid_page_range", "pages", "3-1"),
        ({"pages": "0"}, 422, "invalid_page_range", "pages", "0"),
        ({"pages": ""}, 422, "invalid_page_range", "pages", ""),
        ({"pages": "1,two"}, 422, "invalid_page_range", "pages", "1,two"),
        ({"compression": "true"}, 422, "operation_unavailable", "compression", True),
    ],
)
def test_a_wrong_option_is_refused_by_name_and_value(
    client: FlaskClient, db: Database, fields: dict[str, Any], status: int, code: str, field: str, value: object
) -> None:
    problem = refused(submit(client, **fields), status, code)
    assert problem["field"] == field
    assert problem.get("value") == value
    assert jobs_stored(db) == 0


@pytest.mark.parametrize(
    ("content", "name", "status", "code"),
    [
        (b"", "empty.pdf", 422, "empty_file"),
        (b"just some words", "notes.txt", 415, "unsupported_media_type"),
        (b"<html><body>x</body></html>", "page.pdf", 415, "unsupported_media_type"),
        (b"PK\x03\x04" + bytes(60), "letter.docx", 415, "unsupported_media_type"),
        (bytes(2000), "zeros.png", 415, "unsupported_media_type"),
    ],
)
def test_a_file_that_is_no_document_is_refused_before_it_is_stored(
    client: FlaskClient, db: Database, settings: Settings, content: bytes, name: str, status: int, code: str
) -> None:
    refused(submit(client, content, name), status, code)
    assert jobs_stored(db) == 0
    assert [path for path in (settings.data_dir / "blobs").rglob("*") if path.is_file()] == []


def test_a_body_above_the_limit_is_refused_with_both_sizes(client: FlaskClient) -> None:
    problem = refused(submit(client, PNG + bytes(1024 * 1024)), 413, "body_too_large")
    assert problem["limit"] == 1024 * 1024
    assert problem["value"] > problem["limit"]


def test_a_form_of_thousands_of_fields_is_refused(client: FlaskClient) -> None:
    fields: dict[str, Any] = {f"field{n}": "1" for n in range(5000)}
    problem = refused(submit(client, **fields), 413, "body_too_large")
    assert problem["limit"] == 100


def test_the_shape_of_the_form_is_checked(client: FlaskClient) -> None:
    def post(**arguments: Any) -> TestResponse:
        return client.post("/api/ocr/process", **arguments)

    refused(post(data={"format": "text"}, content_type="multipart/form-data"), 400, "invalid_request")
    refused(post(data=b'{"url": "http://example.com/a.pdf"}', content_type="text/plain"), 415, "unsupported_media_type")
    refused(post(data=b"raw"), 415, "unsupported_media_type")
    two = [(io.BytesIO(PNG), "1.png"), (io.BytesIO(PNG), "2.png")]
    refused(post(data={"file": two}), 400, "invalid_request")
    problem = refused(post(data={"document": (io.BytesIO(PNG), "1.png")}), 400, "unknown_field")
    assert problem["field"] == "document"
    refused(submit(client, format=["text", "html"]), 400, "invalid_request")
    problem = refused(post(query_string={"wiat": "3"}, data={"file": (io.BytesIO(PNG), "1.png")}), 400, "unknown_field")
    assert problem["field"] == "wiat"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\scan.png", "scan.png"),
        ("a\x00b\n.png", "ab.png"),
        ("x" * 400 + ".png", "x" * 255),
        ("", None),
    ],
)
def test_a_file_name_is_kept_for_people_and_never_as_a_path(
    client: FlaskClient, db: Database, given: str, kept: str | None
) -> None:
    from web.intake import _file_name

    assert _file_name(given) == kept
    if "\x00" not in given and given:
        assert submit(client, name=given).status_code == 202
        row = db.one("SELECT source ->> 'filename' AS filename FROM jobs")
        assert row is not None
        assert "/" not in row["filename"]


@pytest.mark.parametrize("path", ["", "/result", "/pages/1", "/pages/1/image", "/events"])
def test_what_does_not_exist_is_not_found_and_what_is_no_id_is_named(client: FlaskClient, path: str) -> None:
    missing = uuid.uuid4()
    assert str(missing) in refused(client.get(f"/api/jobs/{missing}{path}"), 404, "not_found")["detail"]
    assert refused(client.get(f"/api/jobs/nonsense{path}"), 400, "invalid_id")["value"] == "nonsense"


def test_unknown_addresses_and_methods_are_problems_too(client: FlaskClient) -> None:
    assert refused(client.get("/api/nothing"), 404, "not_found")["instance"] == "/api/nothing"
    answer = client.put("/api/ocr/process")
    refused(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


def test_a_result_that_is_not_ready_says_so_and_when_to_ask_again(client: FlaskClient) -> None:
    job = submit(client).get_json()
    answer = client.get(job["links"]["result"])
    assert refused(answer, 409, "not_ready")["value"] == "queued"
    assert answer.headers["Retry-After"] == "1"
    refused(client.get(f"{job['links']['self']}/pages/1"), 409, "not_ready")
    assert refused(client.get(f"{job['links']['self']}/pages/x"), 400, "invalid_request")["value"] == "x"
    refused(client.get(f"{job['links']['result']}?format=docx"), 406, "unsupported_format")


def test_a_result_past_its_retention_is_gone(client: FlaskClient, db: Database) -> None:
    job = submit(client).get_json()
    db.execute("UPDATE jobs SET status = 'succeeded', pages_total = 1, source_pages = 1, expired_at = now()")
    refused(client.get(job["links"]["result"]), 410, "gone")
    refused(client.get(f"{job['links']['self']}/pages/1"), 410, "gone")
    assert client.get(job["links"]["self"]).status_code == 200


def test_jobs_are_listed_newest_first_and_a_page_at_a_time(client: FlaskClient) -> None:
    ids = [submit(client).get_json()["id"] for _ in range(5)]
    client.delete(f"/api/jobs/{ids[2]}")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.get("/api/jobs", query_string={"limit": "2", **cursor}).get_json()
        seen += [job["id"] for job in answer["jobs"]]
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
    assert seen == ids[::-1]
    cancelled = client.get("/api/jobs?status=cancelled").get_json()["jobs"]
    assert [job["id"] for job in cancelled] == [ids[2]]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 422, "invalid_option"),
        ("limit=201", 422, "invalid_option"),
        ("limit=many", 422, "invalid_option"),
        ("limit=00000000199999999999999999999999999", 422, "invalid_option"),
        ("status=done", 422, "invalid_option"),
        ("cursor=%00", 422, "invalid_option"),
        ("page=2", 400, "unknown_field"),
    ],
)
def test_a_wrong_query_of_the_list_is_refused(client: FlaskClient, query: str, status: int, code: str) -> None:
    refused(client.get(f"/api/jobs?{query}"), status, code)


def test_a_wait_that_is_no_number_is_refused_in_the_query_and_ignored_as_a_preference(client: FlaskClient) -> None:
    file = {"file": (io.BytesIO(PNG), "1.png")}
    refused(client.post("/api/ocr/process?wait=soon", data=file), 422, "invalid_option")
    file = {"file": (io.BytesIO(PNG), "1.png")}
    assert client.post("/api/ocr/process", data=file, headers={"Prefer": "wait=soon"}).status_code == 202


def test_a_wait_that_is_too_short_gives_the_job_instead(client: FlaskClient) -> None:
    file = {"file": (io.BytesIO(PNG), "1.png")}
    answer = client.post("/api/ocr/process", data=file, headers={"Prefer": "respond-async, wait=0.2"})
    assert answer.status_code == 202
    assert "Preference-Applied" not in answer.headers


def test_nothing_that_is_answered_may_run_in_a_browser(client: FlaskClient) -> None:
    for path in ("/", "/api/jobs", "/api/nothing"):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
