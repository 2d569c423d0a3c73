"""Pages of the web over REST, on a real database and broker: what is accepted, refused, found and forgotten."""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ocr_tasks.blobs import BlobStore
from ocr_tasks.jobs.database import Database
from ocr_tasks.settings import Settings
from tests.conftest import settings_of
from tests.dom_rows import DOM, IMAGE, add_compression, add_harvest
from web import create_app

URL = "https://example.com/a?b=c"
LIMIT = 1024 * 1024


@pytest.fixture(scope="module")
def settings(new_environment: Callable[..., dict[str, str]]) -> Settings:
    """With an engine that encodes and decodes, and a body of at most 1 MiB."""
    return settings_of(new_environment(OCR_ENGINE="deepseek", OCR_MAX_UPLOAD_MB="1"))


@pytest.fixture(scope="module")
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()


@pytest.fixture(scope="module")
def db(settings: Settings) -> Iterator[Database]:
    database = Database(settings, patience_s=2)
    yield database
    database.close()


@pytest.fixture(scope="module")
def poor(settings: Settings) -> FlaskClient:
    """A service whose engine can only read."""
    return create_app(settings.model_copy(update={"engine": "rapid"})).test_client()


@pytest.fixture(scope="module")
def blobs(settings: Settings) -> BlobStore:
    return BlobStore(settings.blobs_url)


@pytest.fixture(autouse=True)
def _empty(db: Database, settings: Settings) -> None:
    db.execute("TRUNCATE jobs, dom_harvests, dom_visual_compressions CASCADE")
    redis.Redis.from_url(settings.broker_url).flushdb()


def refused(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert answer.content_type == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.get_json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    return problem


def row_of(db: Database, answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    row = db.one("SELECT kind, priority, engine, source, options FROM jobs WHERE id = :id", id=answer.get_json()["id"])
    assert row is not None
    return dict(row)


def queued(settings: Settings) -> dict[str, int]:
    """How many messages wait in each queue that holds any."""
    broker = redis.Redis.from_url(settings.broker_url)
    names = [f"{room}.{lane}" for room in ("prepare", "browser") for lane in ("interactive", "bulk")]
    return {name: count for name in names if isinstance(count := broker.llen(name), int) and count}


# -- what becomes a job ---------------------------------------------


def test_an_address_to_be_rendered_goes_to_the_browsers(client: FlaskClient, db: Database, settings: Settings) -> None:
    body = {"url": URL, "domId": "shop 7", "viewport": {"width": 800}, "waitFor": "css=#x", "priority": "bulk"}
    answer = client.post("/api/dom/render", json=body)
    row = row_of(db, answer)
    assert (row["kind"], row["source"]) == ("render", {"url": URL, "domId": "shop 7"})
    assert (row["options"]["viewport"], row["options"]["waitFor"]) == ({"width": 800, "height": 1080}, "css=#x")
    assert (answer.headers["Location"], answer.headers["Retry-After"]) == (answer.get_json()["links"]["self"], "1")
    assert queued(settings) == {"browser.bulk": 1}


def test_html_is_stored_as_utf_8_before_its_job_is(client: FlaskClient, db: Database, blobs: BlobStore) -> None:
    body = '{"html": "<p>Gr\\u00f6\\u00dfe \\ud83d\\ude00"}'
    row = row_of(db, client.post("/api/dom/render", data=body, content_type="application/json"))
    content = "<p>Größe 😀".encode()
    assert row["source"]["mediaType"] == "text/html"
    assert (blobs.get(row["source"]["blob"]), row["source"]["sizeBytes"]) == (content, len(content))


def test_a_page_to_be_compressed_takes_the_options_of_both(client: FlaskClient, db: Database) -> None:
    body = {"url": URL, "dtype": "bf16", "minQuality": 0.9, "fullPage": False}
    row = row_of(db, client.post("/api/dom/compress", json=body))
    assert row["kind"] == "compress"
    told = {name: row["options"][name] for name in ("dtype", "minQuality", "fullPage", "mode", "verify")}
    assert told == {"dtype": "bf16", "minQuality": 0.9, "fullPage": False, "mode": "auto", "verify": False}


def test_a_file_to_be_compressed_comes_in_a_form(client: FlaskClient, db: Database, settings: Settings) -> None:
    def send(content: bytes, name: str, **fields: str) -> dict[str, Any]:
        form = {"file": (io.BytesIO(content), name), **fields}
        return row_of(db, client.post("/api/dom/compress", data=form))

    pdf = send(b"%PDF-1.7 ...", "scan.pdf", domId="7", pages="1-2", verify="true", viewport='{"width": 640}')
    assert (pdf["source"]["mediaType"], pdf["source"]["domId"]) == ("application/pdf", "7")
    assert (pdf["options"]["pages"], pdf["options"]["verify"]) == ("1-2", True)
    assert pdf["options"]["viewport"]["width"] == 640
    assert queued(settings) == {"prepare.interactive": 1}
    page = send("<p>für".encode("latin-1"), "page.html")
    assert page["source"]["mediaType"] == "text/html"
    assert queued(settings) == {"prepare.interactive": 1, "browser.interactive": 1}


def test_a_harvest_is_compressed_by_its_name_without_a_browser(
    client: FlaskClient, db: Database, blobs: BlobStore, settings: Settings
) -> None:
    harvest = add_harvest(db, blobs, "shop-7")
    for name in ("shop-7", str(harvest.id)):
        assert row_of(db, client.post("/api/dom/compress", json={"domId": name}))["source"] == {"domId": name}
    assert queued(settings) == {"prepare.interactive": 2}


def test_vision_tokens_are_read_back_with_options_or_without_a_body(
    client: FlaskClient, db: Database, blobs: BlobStore
) -> None:
    add_compression(db, blobs, "a b%c")
    plain = row_of(db, client.post("/api/dom/a%20b%25c/decompress"))
    assert (plain["kind"], plain["source"], plain["options"]["format"]) == ("decompress", {"domId": "a b%c"}, "html")
    asked = row_of(db, client.post("/api/dom/a%20b%25c/decompress", json={"format": "text", "priority": "bulk"}))
    assert (asked["options"]["format"], asked["priority"]) == ("text", "bulk")


def test_a_crawl_is_compressed_where_an_engine_can(client: FlaskClient, poor: FlaskClient, db: Database) -> None:
    body = {"url": URL, "sessionId": "monday", "domId": "7", "priority": "bulk"}
    rich_row, poor_row = (row_of(db, which.post("/api/crawl", json=body)) for which in (client, poor))
    assert rich_row["source"] == {"url": URL, "domId": "7"}
    assert (rich_row["options"]["sessionId"], rich_row["options"]["compress"]) == ("monday", True)
    assert poor_row["options"]["compress"] is False


def test_a_document_to_be_read_may_be_named_by_its_address(
    client: FlaskClient, db: Database, settings: Settings
) -> None:
    answer = client.post("/api/ocr/process", json={"url": URL, "format": "text", "pages": "1", "password": "hush"})
    row = row_of(db, answer)
    assert (row["kind"], row["source"], row["options"]["format"]) == ("ocr", {"url": URL}, "text")
    assert "hush" not in json.dumps(row)
    message = redis.Redis.from_url(settings.broker_url).lindex("browser.interactive", 0)
    assert isinstance(message, bytes)
    assert b'"password": "hush"' in base64.b64decode(json.loads(message)["body"])


def test_a_wait_that_is_too_short_gives_the_job(client: FlaskClient) -> None:
    for how in ({"headers": {"Prefer": "wait=0.1"}}, {"query_string": {"wait": "0.1"}}):
        assert client.post("/api/dom/render", json={"url": URL}, **how).status_code == 202


# -- what is refused ---------------------------------------------

RENDER, COMPRESS, CRAWL, OCR = "/api/dom/render", "/api/dom/compress", "/api/crawl", "/api/ocr/process"


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "told"),
    [
        (RENDER, {}, 400, "invalid_request", {"field": "url"}),
        (RENDER, {"domId": "7"}, 400, "invalid_request", {"field": "url"}),
        (RENDER, {"url": URL, "html": "<p>"}, 400, "invalid_request", {"field": "url"}),
        (RENDER, {"html": " \n"}, 422, "invalid_option", {"field": "html"}),
        (RENDER, {"html": 5}, 422, "invalid_option", {"field": "html", "value": "5"}),
        (RENDER, {"html": "\ud800"}, 422, "invalid_option", {"field": "html"}),
        (RENDER, {"url": "file:///etc/passwd"}, 422, "invalid_option", {"field": "url", "value": "file:///etc/passwd"}),
        (RENDER, {"url": "https://example.com:port/"}, 422, "invalid_option", {"field": "url"}),
        (RENDER, {"url": "https://x/" + "y" * 8192}, 422, "invalid_option", {"field": "url", "limit": 8192}),
        (RENDER, {"url": [URL]}, 422, "invalid_option", {"field": "url"}),
        (RENDER, {"url": URL, "colour": 1}, 400, "unknown_field", {"field": "colour"}),
        (RENDER, {"url": URL, "full_page": True}, 400, "unknown_field", {"field": "full_page"}),
        (RENDER, {"url": URL, "callbackUrl": URL}, 400, "unknown_field", {"field": "callbackUrl"}),
        (RENDER, {"url": URL, "mode": "tiny"}, 400, "unknown_field", {"field": "mode"}),
        (RENDER, {"url": URL, "viewport": {"width": 9}}, 422, "invalid_option",
         {"field": "viewport.width", "limit": 16}),
        (RENDER, {"url": URL, "viewport": {"w": 9}}, 422, "invalid_option", {"field": "viewport.w"}),
        (RENDER, {"url": URL, "viewport": [1, 2]}, 422, "invalid_option", {"field": "viewport"}),
        (RENDER, {"url": URL, "viewport": {"width": 4000, "height": 4000}, "deviceScaleFactor": 4}, 422,
         "invalid_option", {"field": "deviceScaleFactor", "limit": 64}),
        (RENDER, {"url": URL, "waitFor": "css=\u0000"}, 422, "invalid_option", {"field": "waitFor"}),
        (RENDER, {"url": URL, "waitFor": 60001}, 422, "invalid_option", {"field": "waitFor"}),
        (RENDER, {"url": URL, "headers": {"Host": "x"}}, 422, "invalid_option", {"field": "headers"}),
        (RENDER, {"url": URL, "format": "bmp"}, 422, "invalid_option", {"field": "format", "value": "bmp"}),
        (RENDER, {"url": URL, "domId": "a/b"}, 422, "invalid_option", {"field": "domId", "value": "a/b"}),
        (RENDER, {"url": URL, "domId": "x" * 201}, 422, "invalid_option", {"field": "domId", "limit": 200}),
        (RENDER, {"url": URL, "domId": "stats"}, 422, "invalid_option", {"field": "domId", "value": "stats"}),
        (RENDER, {"url": URL, "domId": ".."}, 422, "invalid_option", {"field": "domId"}),
        (RENDER, {"url": URL, "domId": "\u0000"}, 422, "invalid_option", {"field": "domId"}),
        (COMPRESS, {}, 400, "invalid_request", {"field": "url"}),
        (COMPRESS, {"domId": "nobody"}, 404, "not_found", {"value": "nobody"}),
        (COMPRESS, {"url": URL, "mode": "tiny", "compressionRatio": 9}, 422, "invalid_option",
         {"field": "compressionRatio", "value": "9"}),
        (COMPRESS, {"url": URL, "minQuality": 1.5}, 422, "invalid_option", {"field": "minQuality", "limit": 1}),
        (COMPRESS, {"url": URL, "dtype": "fp8"}, 422, "invalid_option", {"field": "dtype", "value": "fp8"}),
        (COMPRESS, {"html": "<p>", "deviceScaleFactor": 9}, 422, "invalid_option", {"field": "deviceScaleFactor"}),
        (COMPRESS, {"url": URL, "pages": "3-1"}, 422, "invalid_page_range", {"field": "pages", "value": "3-1"}),
        (CRAWL, {"domId": "7"}, 400, "invalid_request", {"field": "url"}),
        (CRAWL, {"html": "<p>"}, 400, "invalid_request", {"field": "html"}),
        (CRAWL, {"url": URL, "sessionId": ""}, 422, "invalid_option", {"field": "sessionId"}),
        (OCR, {}, 400, "invalid_request", {"field": "url"}),
        (OCR, {"url": URL, "html": "<p>"}, 400, "unknown_field", {"field": "html"}),
        (OCR, {"url": URL, "mode": "huge"}, 422, "invalid_option", {"field": "mode", "value": "huge"}),
        ("/api/dom/nobody/decompress", {}, 404, "not_found", {"value": "nobody"}),
        ("/api/dom/nobody/decompress", {"format": "json"}, 422, "invalid_option", {"field": "format"}),
        ("/api/dom/nobody/decompress", {"html": "<p>"}, 400, "unknown_field", {"field": "html"}),
        ("/api/dom/..%00/decompress", {}, 422, "invalid_option", {"field": "domId"}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_name_and_value(
    client: FlaskClient, db: Database, path: str, body: dict[str, Any], status: int, code: str, told: dict[str, Any]
) -> None:
    problem = refused(client.post(path, json=body), status, code)
    assert told.items() <= problem.items(), problem
    assert db.all("SELECT id FROM jobs") == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b'{"url": "https://x/"', "not JSON"),
        (b"[1]", "a list"),
        (b"null", "null"),
        (b'{"deviceScaleFactor": NaN}', "NaN"),
        (b'{"url": "\xff"}', "not in UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"url": "https://a/", "url": "https://b/"}', "'url' is given more than once"),
        (b'{"waitFor": ' + b"9" * 5000 + b"}", "not JSON"),
    ],
)
def test_a_body_that_is_no_object_in_json_is_refused(client: FlaskClient, body: bytes, said: str) -> None:
    for path in (RENDER, COMPRESS, CRAWL, OCR):
        problem = refused(client.post(path, data=body, content_type="application/json"), 400, "invalid_request")
        assert said in problem["detail"]


def test_a_body_of_another_type_is_refused_with_what_is_taken(client: FlaskClient, db: Database) -> None:
    for path in (RENDER, CRAWL, "/api/dom/7/decompress"):
        problem = refused(client.post(path, data=b"url=x", content_type="text/plain"), 415, "unsupported_media_type")
        assert problem["value"] == "text/plain"
    assert "multipart/form-data" in refused(client.post(COMPRESS, data=b"x"), 415, "unsupported_media_type")["detail"]


def test_html_beyond_the_limit_is_refused_with_both_sizes(client: FlaskClient) -> None:
    problem = refused(client.post(RENDER, json={"html": "x" * LIMIT}), 413, "body_too_large")
    assert problem["limit"] == LIMIT
    assert problem["value"] > LIMIT


@pytest.mark.parametrize(
    ("content", "fields", "status", "code", "field"),
    [
        (b"PK\x03\x04" + bytes(60), {}, 415, "unsupported_media_type", None),
        (bytes(500), {}, 415, "unsupported_media_type", None),
        (b"<p>", {"html": "<p>"}, 400, "unknown_field", "html"),
        (b"<p>", {"viewport": "wide"}, 400, "invalid_request", "viewport"),
        (b"<p>", {"viewport": "[]"}, 422, "invalid_option", "viewport"),
        (b"<p>", {"domId": "a?b"}, 422, "invalid_option", "domId"),
        (b"%PDF-1.7", {"pages": "0"}, 422, "invalid_page_range", "pages"),
    ],
)
def test_a_wrong_form_is_refused_before_anything_is_stored(
    client: FlaskClient, db: Database, content: bytes, fields: dict[str, str], status: int, code: str, field: str | None
) -> None:
    form = {"file": (io.BytesIO(content), "page.html"), **fields}
    assert refused(client.post(COMPRESS, data=form), status, code).get("field") == field
    assert db.all("SELECT id FROM jobs") == []


def test_what_no_configured_engine_can_do_is_refused_with_what_to_set(
    poor: FlaskClient, db: Database, blobs: BlobStore
) -> None:
    add_compression(db, blobs, "7")
    for path, body in (
        (COMPRESS, {"url": URL}),
        (COMPRESS, {"domId": "nobody"}),
        (CRAWL, {"url": URL, "compress": True}),
        ("/api/dom/7/decompress", {}),
    ):
        problem = refused(poor.post(path, json=body), 422, "operation_unavailable")
        assert "OCR_ENGINE is 'rapid', which cannot. Set OCR_ENGINE=deepseek, or OCR_TOKEN_ENGINE=" in problem["detail"]
    assert poor.post(RENDER, json={"url": URL}).status_code == 202
    assert len(db.all("SELECT id FROM jobs")) == 1


# -- what is found ---------------------------------------------


def test_a_harvest_is_shown_by_its_name_and_by_its_id(client: FlaskClient, db: Database, blobs: BlobStore) -> None:
    old, new = add_harvest(db, blobs, "shop 7"), add_harvest(db, blobs, "shop 7", title="Newer")
    shown = client.get("/api/dom/shop%207").get_json()
    assert (shown["id"], shown["title"], shown["domId"]) == (str(new.id), "Newer", "shop 7")
    assert shown["textRuns"] == [{"text": "hello world", "box": [10, 20, 110, 40]}]
    assert shown["pages"] == [{"pageNo": 1, "top": 0, "bottom": 1080}]
    base = f"/api/dom/{new.id}"
    assert shown["links"] == {"self": base, "image": f"{base}/image", "html": f"{base}/html"}
    assert client.get(f"/api/dom/{old.id}").get_json()["title"] == "Example"


def test_screenshot_and_dom_are_served_so_that_nothing_in_them_runs(
    client: FlaskClient, db: Database, blobs: BlobStore
) -> None:
    links = client.get(f"/api/dom/{add_harvest(db, blobs).id}").get_json()["links"]
    image, html = client.get(links["image"]), client.get(links["html"])
    assert (image.data, image.content_type) == (IMAGE, "image/png")
    assert (html.data, html.content_type) == (DOM, "text/html; charset=utf-8")
    for answer in (image, html):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    policy = html.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox;")
    assert "allow-" not in policy
    assert "script-src" not in policy
    assert client.get(links["image"], headers={"If-None-Match": image.headers["ETag"]}).status_code == 304


def test_harvests_are_listed_newest_first_and_a_page_at_a_time(
    client: FlaskClient, db: Database, blobs: BlobStore
) -> None:
    ids = [str(add_harvest(db, blobs).id) for _ in range(5)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.get("/api/dom", query_string={"limit": "2", **cursor}).get_json()
        seen += [harvest["id"] for harvest in answer["harvests"]]
        assert all("textRuns" not in harvest for harvest in answer["harvests"])
        if answer["next"] is None:
            break
        cursor = {"cursor": answer["next"]}
    assert seen == ids[::-1]


def test_harvests_are_found_by_words_of_text_and_title_and_by_address(
    client: FlaskClient, db: Database, blobs: BlobStore
) -> None:
    add_harvest(db, blobs, "1", title="Kaffee", text="Röstung in Wien", url="https://example.com/1")
    add_harvest(db, blobs, "2", title="Tee", text="Ernte in Assam und Wien", url="https://example.com/2")

    def found(**query: str) -> list[str]:
        return [one["domId"] for one in client.get("/api/dom", query_string=query).get_json()["harvests"]]

    assert found(q="wien") == ["2", "1"]
    assert found(q="Kaffee röstung") == ["1"]
    assert found(q="wien -tee") == ["1"]
    assert found(q='"in assam"') == ["2"]
    assert found(q="nirgends") == []
    assert found(q=" ") == ["2", "1"]
    assert found(q="'; DROP TABLE jobs; --") == []
    assert found(url="https://example.com/1") == ["1"]
    assert found(url="https://example.com/1", q="tee") == []


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("limit=0", 422, "invalid_option", "limit"),
        ("limit=201", 422, "invalid_option", "limit"),
        ("cursor=x", 422, "invalid_option", "cursor"),
        ("q=%00", 422, "invalid_option", "q"),
        (f"q={'x' * 1001}", 422, "invalid_option", "q"),
        ("words=x", 400, "unknown_field", "words"),
    ],
)
def test_a_wrong_query_is_refused(client: FlaskClient, query: str, status: int, code: str, field: str) -> None:
    assert refused(client.get(f"/api/dom?{query}"), status, code)["field"] == field


def test_vision_tokens_are_shown_page_by_page_with_both_ratios(
    client: FlaskClient, db: Database, blobs: BlobStore
) -> None:
    harvest = add_harvest(db, blobs, "7")
    add_compression(db, blobs, "7", harvest.id)
    add_compression(db, blobs, "7", harvest.id, pages=3)
    for name in ("7", str(harvest.id)):
        pages = client.get(f"/api/dom/{name}/compressions").get_json()["compressions"]
        assert [page["pageNo"] for page in pages] == [1, 2, 3]
        assert (pages[0]["compressionRatio"], pages[0]["byteRatio"], pages[0]["quality"]) == (2.0, 2.25, None)


@pytest.mark.parametrize("path", ["", "/image", "/html", "/compressions"])
def test_what_is_not_there_is_not_found_and_what_is_no_name_is_told(client: FlaskClient, path: str) -> None:
    assert refused(client.get(f"/api/dom/{uuid.uuid4()}{path}"), 404, "not_found")
    assert refused(client.get(f"/api/dom/{'x' * 201}{path}"), 422, "invalid_option")["limit"] == 200
    assert refused(client.get(f"/api/dom/nobody{path}?x=1"), 400, "unknown_field")


# -- what is forgotten ---------------------------------------------


def test_a_name_is_forgotten_with_all_that_is_stored_under_it(
    client: FlaskClient, db: Database, blobs: BlobStore
) -> None:
    harvests = [add_harvest(db, blobs, "7") for _ in range(2)]
    add_compression(db, blobs, "7", harvests[0].id)
    add_compression(db, blobs, "7")  # of a file
    other = add_harvest(db, blobs, "8")
    answer = client.delete("/api/dom/7")
    assert (answer.status_code, answer.data) == (204, b"")
    for path in ("/api/dom/7", f"/api/dom/{harvests[0].id}", "/api/dom/7/compressions"):
        refused(client.get(path), 404, "not_found")
    refused(client.delete("/api/dom/7"), 404, "not_found")
    assert client.get(f"/api/dom/{other.id}").status_code == 200


def test_one_harvest_is_forgotten_by_its_id_and_leaves_the_others_of_its_name(
    client: FlaskClient, db: Database, blobs: BlobStore
) -> None:
    old, new = add_harvest(db, blobs, "7"), add_harvest(db, blobs, "7")
    add_compression(db, blobs, "7", new.id)
    assert client.delete(f"/api/dom/{new.id}").status_code == 204
    assert client.get("/api/dom/7").get_json()["id"] == str(old.id)
    refused(client.get("/api/dom/7/compressions"), 404, "not_found")


# -- results ---------------------------------------------


def test_a_result_is_given_in_the_formats_that_its_kind_has(
    client: FlaskClient, db: Database, blobs: BlobStore
) -> None:
    add_compression(db, blobs, "7")
    answers = {
        "render": client.post(RENDER, json={"url": URL}),
        "decompress": client.post("/api/dom/7/decompress", json={"format": "text"}),
    }
    formats = {"render": ["json"], "decompress": ["json", "markdown", "html", "text"]}
    for kind, answer in answers.items():
        contents = {form: f'{{"is": "{kind} {form}"}}'.encode() for form in formats[kind]}
        result = {form: {"blob": blobs.put(content), "size_bytes": len(content)} for form, content in contents.items()}
        address = answer.get_json()["links"]["result"]
        refused(client.get(address), 409, "not_ready")
        db.execute(
            "UPDATE jobs SET status = 'succeeded', result = :result WHERE kind = :kind",
            kind=kind,
            result=json.dumps(result),
        )
        assert client.get(address).get_json() == {"is": f"{kind} json"}
        for form in formats[kind]:
            assert client.get(f"{address}?format={form}").data == contents[form]
    address = answers["render"].get_json()["links"]["result"]
    problem = refused(client.get(f"{address}?format=text"), 406, "unsupported_format")
    assert problem["detail"] == "format: a render job has no text; it has json."
    assert problem["value"] == "text"
