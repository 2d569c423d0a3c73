"""What a node measures and what web makes of it; `tests/integration/test_pool.py` holds the numbers of a real stack."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from ocr_tasks.contract import PageResult
from ocr_tasks.jobs.counting import JobCount
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.nodes import NodeRow, NodeState, renew_node
from ocr_tasks.metrics import PREFIX, NodeSnapshot, Rates
from ocr_tasks.settings import Settings
from tests.exposition import Scrape
from tests.simulated import Costs, SimulatedEngine
from tests.unit.test_devices import TWO
from web import create_app
from web.metrics import EndedJobs
from web.traffic import RequestMetrics, shared_folder
from workers.batcher import Batcher
from workers.devices import DeviceReader
from workers.metrics import NodeMetrics

PAGE = PageResult(text="a b", markdown="a b", vision_tokens=100, text_tokens=400, inference_ms=2000)


def scraped(client: FlaskClient) -> Scrape:
    answer = client.get("/metrics")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    return Scrape(answer.text)


def test_metrics_answer_at_once_with_the_database_down_and_say_so() -> None:
    settings = Settings(_env_file=None, database_url="postgresql://127.0.0.1:1/nowhere")
    client = create_app(settings).test_client()
    client.get("/healthz")
    began = time.monotonic()
    scrape = scraped(client)
    assert time.monotonic() - began < 2
    assert list(scrape.values("database_up")) == [0]
    assert scrape.sum("http_request_seconds_count", route="/healthz") >= 1
    assert list(scrape.values("jobs")) == []


def test_the_families_of_all_nodes_stand_together_and_each_says_whose_it_is(settings: Settings, db: Database) -> None:
    for n, name in enumerate(("gpu0@a", "gpu0@b")):
        metrics = NodeMetrics()
        for _ in range(n + 1):
            metrics.page_read(PAGE, queue_ms=1500)
            metrics.page_left("succeeded")
        row = NodeRow(name, "deepseek", "r", 8, NodeState.READY, metrics.snapshot().model_dump_json())
        renew_node(db, row)
    renew_node(db, NodeRow("gpu1@b", "deepseek", "", 0, NodeState.LOADING))
    scrape = scraped(create_app(settings).test_client())
    for n, name in enumerate(("gpu0@a", "gpu0@b"), 1):
        whose = {"node": name, "engine": "deepseek", "device": "cpu"}
        assert list(scrape.values("pages_total", outcome="succeeded", **whose)) == [n]
        assert list(scrape.values("text_tokens_total", **whose)) == [400 * n]
        assert list(scrape.values("page_inference_seconds_sum", **whose)) == [2 * n]
        assert list(scrape.values("page_queue_seconds_bucket", le="1.0", **whose)) == [0]
        assert list(scrape.values("page_queue_seconds_bucket", le="2.5", **whose)) == [n]
    assert list(scrape.values("node_state", node="gpu1@b", state="loading")) == [1]
    assert list(scrape.values("node_state", node="gpu1@b", state="ready")) == [0]


def test_a_node_of_another_version_and_one_that_is_not_seen_any_more_spoil_nothing(
    settings: Settings, db: Database
) -> None:
    renew_node(db, NodeRow("gpu0@new", "deepseek", "r", 8, NodeState.READY, '{"families": {"other": "shape"}}'))
    renew_node(db, NodeRow("gpu0@gone", "deepseek", "r", 8, NodeState.READY))
    db.execute("UPDATE nodes SET seen_at = now() - interval '1 minute' WHERE name = 'gpu0@gone'")
    scrape = scraped(create_app(settings).test_client())
    assert scrape.labels("node_state", "node") == {"gpu0@new"}


def test_a_row_says_how_much_was_done_in_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("workers.metrics.time.monotonic", lambda: now)
    metrics = NodeMetrics()
    assert metrics.snapshot().last_minute == Rates()
    for _ in range(30):
        metrics.page_left("succeeded")
        metrics.page_read(PAGE, queue_ms=0)
    metrics.page_left("failed")
    now += 30
    assert metrics.snapshot().last_minute == Rates(pages=1, vision_tokens=100, text_tokens=400)
    now += 30
    assert metrics.snapshot().last_minute == Rates(pages=0.5, vision_tokens=50, text_tokens=200)
    now += 60
    assert metrics.snapshot().last_minute == Rates()


def test_a_snapshot_survives_its_way_through_json() -> None:
    metrics = NodeMetrics()
    metrics.stepped(3, 0.2)
    metrics.raised(out_of_memory=True)
    snapshot = metrics.snapshot()
    assert NodeSnapshot.model_validate_json(snapshot.model_dump_json(exclude_defaults=True)) == snapshot


def test_requests_of_all_processes_are_added_up(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from web.traffic import RequestMetrics\n"
        "RequestMetrics(Path(sys.argv[1])).observe('GET', '/api/jobs', '200', 0.3)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    ours = RequestMetrics(tmp_path)
    ours.observe("GET", "/api/jobs", "200", 0.004)
    (family,) = ours.collect()
    values = {(sample.name.rpartition("_")[2], sample.labels.get("le")): sample.value for sample in family.samples}
    assert values["count", None] == 3
    assert values["sum", None] == pytest.approx(0.604)
    assert values["bucket", "0.005"] == 1
    assert values["bucket", "0.5"] == values["bucket", "+Inf"] == 3


def test_addresses_that_nobody_serves_and_methods_that_nobody_knows_make_one_series(settings: Settings) -> None:
    client = create_app(settings).test_client()
    earlier = scraped(client)
    before = earlier.sum("http_request_seconds_count", route="none", status="404")
    for n in range(3):
        client.get(f"/no/such/{n}")
        client.open("/", method=f"X{n}")
    scrape = scraped(client)
    assert scrape.sum("http_request_seconds_count", route="none", status="404") - before == 3
    methods = [seen.labels("http_request_seconds_count", "method") for seen in (earlier, scrape)]
    assert methods[1] - methods[0] <= {"GET", "other"}


def test_siblings_share_a_folder_and_that_of_a_dead_parent_goes() -> None:
    folder = shared_folder()
    dead = folder.parent / "1-0"
    dead.mkdir(exist_ok=True)
    assert shared_folder() == folder
    assert not dead.exists()
    assert folder.stat().st_mode & 0o077 == 0
    assert folder.name.startswith(f"{os.getppid()}-")


def test_ended_jobs_are_counted_anew_only_after_a_rest(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, db: Database
) -> None:
    asked: list[float] = []
    now = 1000.0

    def count(_: Database) -> list[JobCount]:
        nonlocal now
        asked.append(now)
        now += 0.5
        return []

    monkeypatch.setattr("web.metrics.count_ended_jobs", count)
    monkeypatch.setattr("web.metrics.time.monotonic", lambda: now)
    ended = EndedJobs(db)
    for moment in (1000.0, 1005.0, 1010.0, 1011.0):
        now = moment
        ended.counts()
    assert asked == [1000.0, 1011.0]


MONITORING = sorted((Path(__file__).resolve().parents[2] / "deploy" / "monitoring").iterdir())
README = Path(__file__).resolve().parents[2] / "README.md"


def test_readme_alerts_and_dashboard_name_metrics_that_there_are(settings: Settings, db: Database) -> None:
    metrics = NodeMetrics(DeviceReader("0", TWO))
    metrics.follow(Batcher(SimulatedEngine(Costs()), page_timeout_s=1, step_timeout_s=1, on_hang=print))
    metrics.raised(out_of_memory=True)
    renew_node(db, NodeRow("gpu0@a", "deepseek", "r", 8, NodeState.READY, metrics.snapshot().model_dump_json()))
    client = create_app(settings).test_client()
    client.get("/healthz")
    names = {name for name, _, _ in scraped(client).samples} | {f"{PREFIX}jobs", f"{PREFIX}live_pages"}
    used = {name for path in MONITORING for name in re.findall(rf"{PREFIX}\w+", path.read_text())}
    assert len(used) > 15
    assert used <= names
    table = README.read_text().partition("### Monitoring")[2].partition("### ")[0]
    told = {f"{PREFIX}{name}" for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)[1:]
            for name in re.findall(r"`(\w+)`", row)}  # fmt: skip
    suffixes = re.compile(r"_(bucket|sum|count)$")
    assert told == {suffixes.sub("", name) for name in names}
