"""`/metrics`: the whole service at one address, for Prometheus; nodes open no ports, their rows hold their numbers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import structlog
from flask import Blueprint, Response, current_app
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError

from ocr_tasks.errors import OcrError
from ocr_tasks.jobs.counting import (
    JobCount,
    count_ended_jobs,
    count_live_jobs,
    count_live_pages,
    oldest_waiting,
)
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.nodes import LiveNode, NodeState, list_live_nodes
from ocr_tasks.metrics import PREFIX, NodeSnapshot
from ocr_tasks.settings import Settings
from web.traffic import RequestMetrics

log = structlog.get_logger(__name__)
blueprint = Blueprint("metrics", __name__)

# A number that costs time to find is found again after so many times as long as it took.
REST = 20


@blueprint.get("/metrics")
def metrics() -> Response:
    """200 in Prometheus's text format, also with the database down: then with what is known without it."""
    collector: ServiceMetrics = current_app.extensions["metrics"]
    return Response(generate_latest(collector), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class ServiceMetrics(Collector):
    """All families: what the database knows, what the live nodes said last, and web's own requests."""

    def __init__(self, settings: Settings, requests: RequestMetrics) -> None:
        # Of its own, and without patience: whoever scrapes has a deadline, and must not take the routes' connections.
        self.db = Database(settings, patience_s=0, pool_size=1)
        self.requests = requests
        self._ended = EndedJobs(self.db)

    def collect(self) -> Iterator[Metric]:
        yield from self.requests.collect()
        try:
            families = [*self._work(), *_nodes(list_live_nodes(self.db))]
        except OcrError as error:
            log.warning("metrics_without_database", cause=repr(error.__cause__)[:300])
            families = []
        yield _gauge("database_up", "Whether the database answered; without it, only web's own numbers are here.",
                     [({}, float(bool(families)))])  # fmt: skip
        yield from families

    def _work(self) -> Iterator[Metric]:
        jobs = [*count_live_jobs(self.db), *self._ended.counts()]
        yield _gauge("jobs", "Jobs by kind and status.",
                     [({"kind": job.kind, "status": job.status}, job.jobs) for job in jobs])  # fmt: skip
        labelled = [({"engine": found.engine, "priority": found.priority, "status": found.status}, found.pages)
                    for found in count_live_pages(self.db)]  # fmt: skip
        yield _gauge("live_pages", "Pages that wait for an engine (queued) or that a node holds (running).", labelled)
        oldest = oldest_waiting(self.db)
        text = "Age of the oldest job that nobody has looked at, and of the oldest page that waits for an engine."
        yield _gauge("oldest_waiting_seconds", text, [({"of": "job"}, oldest.job_s), ({"of": "page"}, oldest.page_s)])


class EndedJobs:
    """Counts of jobs that are over, counted anew only now and then: it takes time where there are millions."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self._lock = threading.Lock()
        self._known: list[JobCount] = []
        self._again_at = 0.0

    def counts(self) -> list[JobCount]:
        with self._lock:
            began = time.monotonic()
            if began >= self._again_at:
                self._known = count_ended_jobs(self.db)
                ended = time.monotonic()
                self._again_at = ended + REST * (ended - began)
            return self._known


def _gauge(name: str, text: str, samples: Iterable[tuple[dict[str, str], float]]) -> Metric:
    metric = Metric(PREFIX + name, text, "gauge")
    for labels, value in samples:
        metric.add_sample(PREFIX + name, {key: str(label) for key, label in labels.items()}, value)
    return metric


def _nodes(nodes: Iterable[LiveNode]) -> list[Metric]:
    """What the live nodes said, a family of all of them together, as the format wants it."""
    state = Metric(f"{PREFIX}node_state", "The state that a node is in (1), and those that it is not in (0).", "gauge")
    families = {state.name: state}
    for node in nodes:
        for name in NodeState:
            labels = {"node": node.name, "engine": node.engine, "state": str(name)}
            state.add_sample(state.name, labels, float(node.state == name))
        _add(families, node)
    return list(families.values())


def _add(families: dict[str, Metric], node: LiveNode) -> None:
    try:
        snapshot = NodeSnapshot.model_validate(node.metrics)
    except ValidationError:
        log.warning("node_metrics_not_understood", node=node.name)  # of another version
        return
    labels = {"node": node.name, "engine": node.engine, "device": snapshot.device}
    for family in snapshot.families:
        metric = families.setdefault(family.name, Metric(family.name, family.help, family.type))
        for sample in family.samples:
            metric.add_sample(sample.name, labels | sample.labels, sample.value)
