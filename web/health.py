"""Whether this process lives, and whether the service can do its work."""

from __future__ import annotations

from collections.abc import Callable

import redis
from flask import Blueprint, Response

from ocr_tasks import __version__
from ocr_tasks.contract import NOTICES
from ocr_tasks.errors import OcrError, ServiceUnavailable
from ocr_tasks.jobs.nodes import NodeState, live_states
from web.responses import json_response
from web.services import Services, services

blueprint = Blueprint("health", __name__)


@blueprint.get("/")
def about() -> Response:
    """What this is."""
    links = {
        "submit": "/api/ocr/process",
        "render": "/api/dom/render",
        "compress": "/api/dom/compress",
        "crawl": "/api/crawl",
        "harvests": "/api/dom",
        "jobs": "/api/jobs",
        "health": "/healthz",
        "readiness": "/readyz",
    }
    return json_response({"service": "lightdom-ocr", "version": __version__, "links": links})


@blueprint.get("/healthz")
def health() -> Response:
    """200 while this process answers at all; asks nobody else."""
    return json_response({"status": "ok"})


@blueprint.get("/readyz")
def ready() -> Response:
    """200 when database, broker and at least one engine node are there; else 503 with what is missing."""
    shared = services()
    checks = {"database": _database, "broker": _broker, "engine": _engine}
    results = {name: _outcome(check, shared) for name, check in checks.items()}
    if any(outcome != "ok" for outcome in results.values()):
        missing = ", ".join(f"{name}: {outcome}" for name, outcome in results.items() if outcome != "ok")
        raise ServiceUnavailable(f"Not ready: {missing}.", checks=results)
    return json_response({"status": "ready", "checks": results, **_token_engine(shared)})


def _outcome(check: Callable[[Services], str], shared: Services) -> str:
    try:
        return check(shared)
    except (OcrError, redis.RedisError) as error:
        return error.detail if isinstance(error, OcrError) else "not reachable"


def _database(shared: Services) -> str:
    shared.db.one("SELECT 1 FROM jobs LIMIT 1")
    return "ok"


def _broker(shared: Services) -> str:
    client = redis.Redis.from_url(shared.settings.broker_url, socket_timeout=1, socket_connect_timeout=1)
    with client:
        client.ping()
    return "ok"


def _engine(shared: Services) -> str:
    """Whether a node takes pages; `loading` while the first one is still loading its model."""
    return _nodes(shared, shared.settings.engine)


def _token_engine(shared: Services) -> dict[str, dict[str, str | None]]:
    """How OCR_TOKEN_ENGINE is, if it is set: nothing else waits for it."""
    engine = shared.settings.token_engine
    if engine is None:
        return {}
    return {"tokenEngine": {"name": engine, "state": _nodes(shared, engine), "notice": NOTICES.get(engine)}}


def _nodes(shared: Services, engine: str) -> str:
    states = live_states(shared.db, engine)
    if states[NodeState.READY]:
        return "ok"
    return "loading" if states[NodeState.LOADING] else f"no node serves the engine {engine} (yet)"
