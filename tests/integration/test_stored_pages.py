"""Harvests and vision tokens stay until somebody deletes them; crawled pages and statistics are asked for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection

from ocr_tasks.app import make_app
from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import Kind, OcrOptions, Source, Status
from ocr_tasks.dispatch import Dispatcher
from ocr_tasks.jobs import statistics
from ocr_tasks.jobs.crawls import NewCrawl, insert_crawl
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.harvests import NewHarvest, delete_harvests, get_harvest
from ocr_tasks.jobs.inspecting import Inspected, claim_inspect, set_pages
from ocr_tasks.jobs.ranges import release_ranges
from ocr_tasks.jobs.submitting import create_job
from ocr_tasks.jobs.views import get_job
from ocr_tasks.kinds.options import OPTIONS
from ocr_tasks.settings import Settings
from ocr_tasks.states import States
from tests.ended_jobs import JobPlan, PagePlan, ended, harvest, insert_compression, source_of
from web import create_app
from workers.finish import finish_job
from workers.flow import Flow
from workers.prepare import prepare_range
from workers.publish import Publisher
from workers.reconcile import Reconciler
from workers.runtime import Runtime

GRACE_S = 3600
A_PAGE = (PagePlan(tokens=(1000, 100)),)


@pytest.fixture
def runtime(settings: Settings, db: Database) -> Runtime:
    """A worker's, whose messages nobody takes."""
    dispatch, blobs = Dispatcher(make_app(settings)), BlobStore(settings.blobs_url)
    publisher = Publisher(States(settings.broker_url), db, blobs)
    return Runtime(settings, db, blobs, dispatch, Flow(settings, db, dispatch, publisher), publisher)


@pytest.fixture
def http(settings: Settings) -> Iterator[FlaskClient]:
    with create_app(settings).test_client() as client:
        yield client


def stored_harvest(db: Database, **changes: Any) -> NewHarvest:
    """A harvest whose job has ended."""
    new = harvest(**changes)
    ended(db, JobPlan(Kind.RENDER, Status.SUCCEEDED), rendered=new)
    return new


# -- kept, and let go ---------------------------------------------


def keep_house(runtime: Runtime) -> None:
    """The collector's round, an hour after all blobs were put and long after all jobs ended."""
    for path in runtime.blobs.fs.find(runtime.blobs.root):
        os.utime(path, (time.time() - 2 * GRACE_S,) * 2)
    changes = {"retention_days": 1e-9, "blob_grace_h": GRACE_S / 3600}
    settings = runtime.settings.model_copy(update=changes)
    Reconciler(Runtime(**{**vars(runtime), "settings": settings})).keep_house()


def test_expired_jobs_lose_their_pages_and_results_but_not_what_was_harvested(db: Database, runtime: Runtime) -> None:
    put = runtime.blobs.put
    dom, image, page, result, orphan = (put(name) for name in (b"dom", b"image", b"page", b"result", b"orphan"))
    new = harvest(dom_blob=dom, image_blob=image)
    plan = JobPlan(Kind.COMPRESS, Status.SUCCEEDED, A_PAGE)
    job_id = ended(db, plan, rendered=new, result={"json": {"blob": result, "size_bytes": 6}})
    db.execute("UPDATE pages SET image_blob = :page", page=page)
    keep_house(runtime)
    assert [runtime.blobs.exists(key) for key in (dom, image)] == [True, True]
    assert [runtime.blobs.exists(key) for key in (page, result, orphan)] == [False, False, False]
    assert db.all("SELECT FROM pages") == []
    assert get_harvest(db, new.id)["job_id"] == job_id
    assert len(db.all("SELECT FROM dom_visual_compressions")) == 1
    delete_harvests(db, new.dom_id)
    keep_house(runtime)
    assert [runtime.blobs.exists(key) for key in (dom, image)] == [False, False]
    assert db.all("SELECT FROM dom_visual_compressions") == []


def test_a_running_job_keeps_its_source_and_the_vision_tokens_of_its_pages(db: Database, runtime: Runtime) -> None:
    source, tokens, orphan = (runtime.blobs.put(name) for name in (b"source", b"tokens", b"orphan"))
    job_id = ended(db, JobPlan(Kind.COMPRESS, Status.RUNNING, A_PAGE))
    db.execute("UPDATE pages SET tokens_blob = :key", key=tokens)
    create_job(
        db,
        uuid4(),
        engine="rapid",
        options=OcrOptions(),
        source=Source(blob=source, media_type="image/png", size_bytes=6),
    )
    keep_house(runtime)
    assert [runtime.blobs.exists(key) for key in (source, tokens, orphan)] == [True, True, False]
    db.execute("DELETE FROM jobs WHERE id = :job", job=job_id)
    keep_house(runtime)
    assert not runtime.blobs.exists(tokens)


def begun(db: Database, kind: Kind, count: int, **source: str) -> tuple[UUID, int]:
    """A job that is to make its pages now, and the range of them."""
    job_id = uuid4()
    create_job(db, job_id, engine="deepseek", source=source_of(kind), options=OPTIONS[kind](), kind=kind)
    claim = claim_inspect(db, job_id, 30)
    assert claim is not None
    assert set_pages(db, claim, Inspected(count, count, dict(source)))
    (range_id,) = release_ranges(db, job_id, window=8, range_pages=8)
    return job_id, range_id


@pytest.mark.parametrize("kind", [Kind.DECOMPRESS, Kind.COMPRESS])
def test_a_job_whose_harvest_is_deleted_fails_and_says_so(db: Database, runtime: Runtime, kind: Kind) -> None:
    new = harvest()
    made_by = ended(db, JobPlan(Kind.COMPRESS, Status.SUCCEEDED, A_PAGE), rendered=new)
    known = {"compressedBy": str(made_by)} if kind == Kind.DECOMPRESS else {"harvestId": str(new.id)}
    job_id, range_id = begun(db, kind, 1, **known)
    delete_harvests(db, new.dom_id)
    prepare_range(runtime, range_id)
    assert db.all("SELECT FROM ranges") == []
    assert finish_job(runtime, job_id).startswith("failed")
    error = get_job(db, job_id).error
    assert error is not None
    assert (error["code"], error["status"]) == ("not_found", 404)
    assert "deleted" in error["detail"]


# -- asked for ---------------------------------------------


def crawled(db: Database, at: datetime, session_id: str | None, url: str = "http://a.example/") -> NewCrawl:
    new = NewCrawl(uuid4(), url, session_id, stored_harvest(db).id, "en", "article", {"title": "Ü", "links": []}, at)
    db.run(lambda connection: insert_crawl(connection, uuid4(), new))
    return new


def test_crawled_pages_are_listed_by_session_and_address_a_part_at_a_time(db: Database, http: FlaskClient) -> None:
    at = datetime(2026, 11, 25, tzinfo=UTC)
    rows = [crawled(db, at + timedelta(seconds=n // 2), "odd" if n % 2 else "even", f"http://a/{n}") for n in range(9)]
    seen, cursor = [], ""
    while cursor is not None:
        part = http.get(f"/api/crawl?sessionId=even&limit=2&cursor={cursor}").get_json()
        assert len(part["crawls"]) <= 2
        seen += part["crawls"]
        cursor = part["next"]
    assert seen == [row.view().wire() for row in reversed(rows[::2])]
    assert {key: seen[0][key] for key in ("crawlSessionId", "layoutType", "extractedContent")} == {
        "crawlSessionId": "even",
        "layoutType": "article",
        "extractedContent": {"title": "Ü", "links": []},
    }
    (found,) = http.get("/api/crawl?url=http://a/3").get_json()["crawls"]
    assert found["id"] == str(rows[3].id)
    assert len(http.get("/api/crawl").get_json()["crawls"]) == 9
    assert http.get("/api/crawl?sessionId=none").get_json() == {"crawls": [], "next": None}


@pytest.mark.parametrize("asked", ["days=0", "days=3651", "days=x", "days=-1", "days=1.5", "days="])
@pytest.mark.parametrize("path", ["/api/ocr/stats", "/api/dom/stats"])
def test_days_that_make_no_sense_are_refused(http: FlaskClient, path: str, asked: str) -> None:
    answer = http.get(f"{path}?{asked}")
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    problem = answer.get_json()
    assert (problem["code"], problem["field"], problem["limit"]) == ("invalid_option", "days", 3650)
    assert http.get(f"{path}?day=1").get_json()["code"] == "unknown_field"


def test_what_just_ended_is_in_the_answer(db: Database, http: FlaskClient) -> None:
    assert http.get("/api/ocr/stats?days=3650").get_json()["stats"] == []
    ended(db, JobPlan(Kind.OCR, Status.SUCCEEDED, (PagePlan(node="gpu0@host", tokens=(1000, 100)),)))
    statistics.roll_up(db)
    ended(db, JobPlan(Kind.OCR, Status.FAILED))
    answer = http.get("/api/ocr/stats").get_json()
    assert answer["days"] == 7
    (row,) = answer["stats"]
    assert row.pop("totalProcessingTime") >= 0
    assert row.pop("date")
    assert row == {
        "processType": "manual",
        "documentsProcessed": 2,
        "totalPages": 1,
        "avgCompressionRatio": 10.0,
        "gpuUtilized": True,
        "successRate": 0.5,
    }
    assert answer["totals"]["documentsProcessed"] == 2
    assert answer["totals"]["successRate"] == 0.5


def test_the_two_ratios_are_told_apart(db: Database, http: FlaskClient) -> None:
    empty = http.get("/api/dom/stats").get_json()
    assert empty["stats"] == []
    assert (empty["totals"]["avgCompressionRatio"], empty["totals"]["byteRatio"]) == (None, None)

    def three_pages(connection: Connection) -> None:
        insert_compression(connection, uuid4(), 1, (1000, 100), sizes=(1000, 4000))
        insert_compression(connection, uuid4(), 1, (400, 100), sizes=(3000, 1000))
        insert_compression(connection, uuid4(), 1, None, sizes=(1000, 1000))

    db.run(three_pages)
    stored_harvest(db, dom_bytes=10, image_bytes=20)
    stored_harvest(db, dom_bytes=1, image_bytes=2)
    db.execute("UPDATE dom_harvests SET created_at = now() - interval '3 days' WHERE dom_bytes = 1")
    answer = http.get("/api/dom/stats?days=2").get_json()
    (row,) = answer["stats"]
    assert row.pop("date")
    assert row == {
        "totalCompressions": 3,
        "avgRatio": 7.0,
        "maxRatio": 10.0,
        "totalSavings": -1000,
        "avgEfficiency": pytest.approx((-3 + 2 / 3 + 0) / 3),
    }
    assert answer["totals"] == {
        "compressions": 3,
        "avgCompressionRatio": 7.0,
        "byteRatio": 1.2,
        "originalBytes": 5000,
        "storedBytes": 6000,
        "harvests": 1,
        "domBytes": 10,
        "imageBytes": 20,
    }
    assert http.get("/api/dom/stats?days=4").get_json()["totals"]["harvests"] == 2
