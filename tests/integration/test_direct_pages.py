"""Pages of the web by direct callers: what the client sends, on a real broker, and what a worker makes of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from ocr_tasks.blobs import BlobStore
from ocr_tasks.client import Client, Job
from ocr_tasks.contract import KIND_OF_TASK, TaskName
from ocr_tasks.direct import INLINE_BYTES, store_source
from ocr_tasks.errors import (
    InvalidOption,
    InvalidRequest,
    OcrError,
    OperationUnavailable,
    ServiceUnavailable,
    TooLarge,
    UnknownField,
    UnsupportedMediaType,
)
from ocr_tasks.kinds.options import CompressOptions, CrawlOptions, RenderJobOptions
from ocr_tasks.kinds.sources import StoredSource, entry_route, stored
from ocr_tasks.settings import Settings
from tests.conftest import settings_of
from tests.stack import free_port
from workers.entry import Payload, parse_payload

URL = "https://example.com/a"
LARGE = "<p>ü" * INLINE_BYTES


@pytest.fixture(scope="module")
def settings(new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    blobs = (tmp_path_factory.mktemp("direct") / "blobs").as_uri()
    return settings_of(new_environment(OCR_ENGINE="deepseek", OCR_BLOB_URL=blobs, OCR_MAX_UPLOAD_MB="2"))


@pytest.fixture(scope="module")
def client(settings: Settings) -> Client:
    return Client.of(settings)


@pytest.fixture
def broker(settings: Settings) -> Iterator[redis.Redis]:
    broker = redis.Redis.from_url(settings.broker_url)
    broker.flushdb()
    yield broker
    broker.close()


def taken(broker: redis.Redis, queue: str, job: Job) -> Payload:
    """The only message of a queue, as a worker understands it: it is about this job, and shows nothing of it."""
    message = json.loads(_only(broker, queue))
    headers = message["headers"]
    assert (headers["id"], headers["argsrepr"], headers["kwargsrepr"]) == (str(job.id), "()", "(hidden)")
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    return parse_payload(KIND_OF_TASK[TaskName(headers["task"])], args, kwargs)


def _only(broker: redis.Redis, queue: str) -> bytes:
    assert broker.llen(queue) == 1, broker.keys()
    message = broker.lindex(queue, 0)
    assert isinstance(message, bytes)
    return message


def kept(settings: Settings, payload: Payload) -> StoredSource:
    """What the job's row will say of its source."""
    blobs = BlobStore(settings.blobs_url)
    return stored(store_source(blobs, payload.source, kind=payload.kind, limit_bytes=settings.max_upload_bytes))


def test_a_page_to_be_rendered_goes_to_the_browsers_with_what_was_said(client: Client, broker: redis.Redis) -> None:
    job = client.render(URL, {"waitFor": "networkidle"}, dom_id="7", full_page=False, priority="bulk")
    payload = taken(broker, "browser.bulk", job)
    assert (payload.kind, payload.source.url, payload.source.dom_id) == ("render", URL, "7")
    assert isinstance(payload.options, RenderJobOptions)
    assert (payload.options.wait_for, payload.options.full_page) == ("networkidle", False)
    assert payload.options.model_fields_set == {"wait_for", "full_page", "priority"}


@pytest.mark.parametrize("html", ["<p>Größe", LARGE[: INLINE_BYTES // 2], LARGE[:INLINE_BYTES]])
def test_html_travels_in_its_message_or_through_the_blob_store(
    client: Client, broker: redis.Redis, settings: Settings, html: str
) -> None:
    payload = taken(broker, "browser.interactive", client.render(html=html, dom_id="7"))
    assert (payload.source.html is None) == (len(html.encode()) > INLINE_BYTES)
    source = kept(settings, payload)
    assert BlobStore(settings.blobs_url).get(source.blob or "").decode() == html
    assert (source.media_type, source.dom_id, source.size_bytes) == ("text/html", "7", len(html.encode()))


@pytest.mark.parametrize(
    ("content", "name", "queue", "media_type"),
    [
        (b"%PDF-1.7", "scan.pdf", "prepare", "application/pdf"),
        (b"<?xml version='1.0'?><html/>", "page.xhtml", "browser", "text/html"),
        (b"plain words", None, "browser", "text/html"),
        (b"%PDF-1.7" + bytes(INLINE_BYTES), "large.pdf", "prepare", "application/pdf"),
    ],
)
def test_a_file_to_be_compressed_goes_where_its_bytes_are_understood(
    client: Client, broker: redis.Redis, settings: Settings, content: bytes, name: str | None, queue: str,
    media_type: str,
) -> None:  # fmt: skip
    job = client.compress(content, filename=name, dom_id="7", options={"dtype": "bf16"}, verify=True, pages="1")
    payload = taken(broker, f"{queue}.interactive", job)
    source = kept(settings, payload)
    assert (source.media_type, source.filename, source.dom_id) == (media_type, name, "7")
    assert isinstance(payload.options, CompressOptions)
    assert (payload.options.dtype, payload.options.verify, payload.options.pages) == ("bf16", True, "1")
    assert entry_route(payload.kind, source, payload.options.priority)[1] == f"{queue}.interactive"


def test_a_path_and_a_blob_are_compressed_too(
    client: Client, broker: redis.Redis, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text("<p>")
    source = kept(settings, taken(broker, "browser.interactive", client.compress(tmp_path / "page.html")))
    assert source.filename == "page.html"
    broker.flushdb()
    key = BlobStore(settings.blobs_url).put(b"%PDF-1.7")
    assert kept(settings, taken(broker, "prepare.interactive", client.compress(key))).blob == key


def test_what_is_stored_is_compressed_and_read_back_by_its_name(client: Client, broker: redis.Redis) -> None:
    payload = taken(broker, "prepare.interactive", client.compress(dom_id="shop 7"))
    assert (payload.kind, payload.source.model_dump(exclude_none=True)) == ("compress", {"dom_id": "shop 7"})
    broker.flushdb()
    payload = taken(broker, "prepare.bulk", client.decompress("shop 7", format="text", priority="bulk"))
    assert (payload.kind, payload.source.dom_id) == ("decompress", "shop 7")


def test_a_crawl_is_one_message_with_its_session(client: Client, broker: redis.Redis) -> None:
    job = client.crawl(URL, "monday", CrawlOptions(color_scheme="dark"), dom_id="7", priority="bulk")
    payload = taken(broker, "browser.bulk", job)
    assert isinstance(payload.options, CrawlOptions)
    told = (payload.options.session_id, payload.options.color_scheme, payload.options.compress, payload.source.dom_id)
    assert told == ("monday", "dark", None, "7")  # whether it is compressed is for the workers to say


def test_a_document_to_be_read_by_its_address_is_fetched_by_who_has_a_way_out(
    client: Client, broker: redis.Redis
) -> None:
    payload = taken(broker, "browser.interactive", client.ocr(url=URL, format="text"))
    assert (payload.kind, payload.source.url) == ("ocr", URL)


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda c: c.render(), InvalidRequest, "`url` or `html`; got none"),
        (lambda c: c.render(URL, html="<p>"), InvalidRequest, "got url and html"),
        (lambda c: c.render(html=" "), InvalidOption, "html: it is empty"),
        (lambda c: c.render(html="\ud800"), InvalidOption, "html"),
        (lambda c: c.render("file:///etc/passwd"), InvalidOption, "file:///etc/passwd"),
        (lambda c: c.render(URL, dom_id="a/b"), InvalidOption, "domId"),
        (lambda c: c.render(URL, fullPage="perhaps"), InvalidOption, "perhaps"),
        (lambda c: c.render(URL, full_pgae=True), UnknownField, "full_pgae"),
        (lambda c: c.render(URL, CrawlOptions()), InvalidOption, "RenderJobOptions, not CrawlOptions"),
        (lambda c: c.render(URL, viewport={"width": 4000, "height": 4000}, deviceScaleFactor=3), InvalidOption, "64"),
        (lambda c: c.render(html="x" * (2 * 1024 * 1024 + 1)), TooLarge, str(2 * 1024 * 1024)),
        (lambda c: c.compress(), InvalidRequest, "got none"),
        (lambda c: c.compress(b"%PDF-1.7", html="<p>"), InvalidRequest, "got source and html"),
        (lambda c: c.compress(b"PK\x03\x04" + bytes(60)), UnsupportedMediaType, "zip"),
        (lambda c: c.compress(dom_id="7", mode="tiny", min_quality=0.9), InvalidOption, "mode picks the mode"),
        (lambda c: c.compress("0" * 64), OcrError, "0" * 64),
        (lambda c: c.decompress(""), InvalidOption, "domId"),
        (lambda c: c.decompress("7", format="json"), InvalidOption, "json"),
        (lambda c: c.crawl(URL, "a#b"), InvalidOption, "sessionId"),
        (lambda c: c.ocr(), InvalidRequest, "`source` or `url`"),
        (lambda c: c.ocr(b"%PDF-1.7", url=URL), InvalidRequest, "source and url"),
        (lambda c: c.ocr(b"<html>"), UnsupportedMediaType, "text/html"),
    ],
)
def test_what_is_wrong_raises_before_anything_is_sent(
    client: Client, broker: redis.Redis, call: Callable[[Client], Job], error: type[OcrError], said: str
) -> None:
    with pytest.raises(error, match=said):
        call(client)
    assert broker.keys("*.interactive") == []


def test_what_no_configured_engine_can_do_raises_and_says_what_to_set(client: Client) -> None:
    poor = Client.of(client.settings.model_copy(update={"engine": "rapid"}))
    for call in (lambda: poor.compress(URL), lambda: poor.decompress("7"), lambda: poor.crawl(URL, compress=True)):
        with pytest.raises(OperationUnavailable, match="Set OCR_ENGINE=deepseek"):
            call()


def test_a_page_that_could_not_be_sent_says_how_to_send_it_again(client: Client) -> None:
    gone = Client.of(client.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"}))
    with pytest.raises(ServiceUnavailable, match="Sending again with job_id="):
        gone.crawl(URL)


@pytest.mark.parametrize(
    ("task", "kwargs", "error"),
    [
        (TaskName.RENDER, {"source": {}}, InvalidOption),
        (TaskName.RENDER, {"source": {"domId": "7"}}, InvalidOption),
        (TaskName.RENDER, {"source": {"url": URL, "html": "<p>"}}, InvalidOption),
        (TaskName.RENDER, {"source": {"url": URL}, "options": {"mode": "tiny"}}, UnknownField),
        (TaskName.RENDER, {"source": {"url": URL}, "options": {"viewport": {"width": 4000, "height": 4000},
                                                               "deviceScaleFactor": 4}}, InvalidOption),
        (TaskName.CRAWL, {"source": {"html": "<p>"}}, InvalidOption),
        (TaskName.DECOMPRESS, {"source": {"url": URL}}, InvalidOption),
        (TaskName.DECOMPRESS, {"source": {"domId": "7"}, "options": {"format": "json"}}, InvalidOption),
        (TaskName.COMPRESS, {"source": {"domId": "7"}, "options": {"pages": "2-1"}}, InvalidOption),
    ],
)  # fmt: skip
def test_a_raw_payload_is_held_to_the_same(task: TaskName, kwargs: dict[str, Any], error: type[OcrError]) -> None:
    with pytest.raises(error):
        parse_payload(KIND_OF_TASK[task], [], kwargs)
