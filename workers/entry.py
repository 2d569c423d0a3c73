"""A direct caller's task becomes a job: its payload is checked, stored as a row, and goes on like everyone's.

Whatever is refused is published under the task's id; nothing is left behind in Postgres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from celery.app.task import Context
from celery.backends.base import DisabledBackend
from pydantic import SecretStr

from ocr_tasks.app import app
from ocr_tasks.contract import KIND_OF_TASK, Kind, OcrOptions, TaskName, parse_options
from ocr_tasks.direct import DirectSource, parse_direct_source, parse_task_id, store_source
from ocr_tasks.errors import InvalidOption, InvalidRequest, NotFound, OcrError, ParserDied, UnknownField
from ocr_tasks.jobs.submitting import create_job
from ocr_tasks.jobs.views import get_job_row, route_of
from ocr_tasks.kinds.engines import settled
from ocr_tasks.kinds.options import OPTIONS, JobOptions, parse_job_options
from workers.inspecting import inspect_job
from workers.revoking import revoke_job
from workers.runtime import Runtime

log = structlog.get_logger(__name__)

FIELDS = ("source", "options")

# Queues that this process serves; empty: it has not said, and serves them all.
served_queues: set[str] = set()


def runs_here(queue: str) -> bool:
    return not served_queues or queue in served_queues


# What Celery hangs on a task, to be sent when the task returns.
LINKS = {"callbacks": "link", "errbacks": "link_error", "chain": "chain", "chord": "chord"}


class NoBackend(DisabledBackend):  # type: ignore[misc]
    """For the entry task: its own return is not the job's end, so nothing may be stored or sent because of it.

    An older client's message says `ignore_result: false`, which would store the return as SUCCESS for good.
    """

    def mark_as_failure(self, *_: Any, **__: Any) -> None:
        """Neither stored, nor told to error callbacks, chains or chords."""

    def mark_as_revoked(self, *_: Any, **__: Any) -> None:
        """As above."""

    def mark_as_retry(self, *_: Any, **__: Any) -> None:
        """As above."""


@dataclass(frozen=True)
class Payload:
    """A valid task of a direct caller."""

    kind: Kind
    source: DirectSource
    options: JobOptions

    @property
    def password(self) -> SecretStr | None:
        return self.options.password if isinstance(self.options, OcrOptions) else None


def enter(runtime: Runtime, request: Context, args: Any, kwargs: dict[str, Any]) -> str:
    """The first step of a job, whoever sent it; returns what became of it, for the log.

    Raises ServiceUnavailable or StorageFull: the message is to be delivered again.
    """
    if not args and kwargs.keys() <= {"password"}:
        return _step(runtime, request.id, password_of(kwargs))
    unlink, linked = _links_of(request)
    try:
        if linked:
            raise InvalidRequest(
                f"{', '.join(linked)}: not possible on {request.task}, which returns long before its job ends. "
                "Wait for AsyncResult(job_id) and send what is to follow then.",
                value=linked,
            )
        kind = KIND_OF_TASK[TaskName(request.task)]
        return _become_job(runtime, parse_task_id(request.id), parse_payload(kind, args, kwargs))
    except OcrError as error:
        if error.retryable:
            raise
        return _refuse(runtime, request, unlink, error)


def password_of(kwargs: dict[str, Any]) -> SecretStr | None:
    """The password that came with a task: beside nothing else in the service's own message, else among the options."""
    given = kwargs.get("password") or (kwargs.get("options") or {}).get("password")
    return parse_options({"password": given}).password


def _step(runtime: Runtime, task_id: str, password: SecretStr | None) -> str:
    """A message that the service sent itself: its row is there."""
    return _begin(runtime, parse_task_id(task_id), password)


def _begin(runtime: Runtime, job_id: UUID, password: SecretStr | None) -> str:
    """Inspect a job's source here, or let the pool do it that has a browser."""
    route = route_of(get_job_row(runtime.db, job_id))
    if runs_here(route[1]):
        outcome = inspect_job(runtime, job_id, password)
    else:
        runtime.dispatch.entry(job_id, route, password)
        outcome = f"passed on to {route[1]}"
    runtime.publisher.end(job_id)
    return outcome


def parse_payload(kind: Kind, args: Any, kwargs: dict[str, Any]) -> Payload:
    """What a direct caller sent; raises InvalidRequest, UnknownField, InvalidOption, InvalidPageRange, TooLarge."""
    if args:
        raise InvalidRequest(f"Give `source` and `options` by name; {len(args)} positional argument(s) came.")
    unknown = sorted(set(kwargs) - set(FIELDS))
    if unknown:
        raise UnknownField(f"Unknown argument {unknown[0][:80]!r}. Known: {', '.join(FIELDS)}.", field=unknown[0][:80])
    given = {name: kwargs.get(name) or {} for name in FIELDS}
    for name, value in given.items():
        if not isinstance(value, dict):
            raise InvalidOption(f"{name}: must be an object; got {type(value).__name__}.", field=name)
    return Payload(kind, parse_direct_source(given["source"], kind), parse_job_options(OPTIONS[kind], given["options"]))


def _become_job(runtime: Runtime, job_id: UUID, payload: Payload) -> str:
    settings = runtime.settings
    engine, options = settled(settings, payload.options)
    if not _exists(runtime, job_id):
        source = store_source(runtime.blobs, payload.source, kind=payload.kind, limit_bytes=settings.max_upload_bytes)
        create_job(runtime.db, job_id, kind=payload.kind, engine=engine, source=source, options=options, direct=True)
    # Asked after the row is there: whoever revokes looks for the row after leaving this mark, so one of us sees it.
    if runtime.publisher.was_revoked(job_id):
        revoke_job(runtime, job_id)
    return _begin(runtime, job_id, payload.password)


def _refuse(runtime: Runtime, request: Context, links: dict[str, Any], error: OcrError) -> str:
    """Tell the caller; one that waits for the end of a chain or chord is told there, and nothing of it is sent."""
    log.info("task_refused", code=error.code, detail=error.detail)
    if _exists(runtime, request.id):
        return f"refused: {error.code}, and there is a job of this id"
    if links:
        told = Context(request.__dict__ | links)
        reason = RuntimeError(f"{error.code}: {error.detail}")
        app.backend.mark_as_failure(request.id, reason, request=told, call_errbacks=False)
    runtime.publisher.refuse(request.id, error)
    return f"refused: {error.code}"


def fail_unstored(runtime: Runtime, job_id: UUID, reason: str) -> None:
    """A child died over a direct caller's message; its caller is told, unless there is a row, which knows better."""
    if not _exists(runtime, job_id):
        runtime.publisher.refuse(str(job_id), ParserDied(f"The message could not be taken in: {reason}."))


def _links_of(request: Context) -> tuple[dict[str, Any], list[str]]:
    """Take what Celery would send after the task off its request: (what was there, names of it for people)."""
    links = {name: getattr(request, name) for name in LINKS if getattr(request, name)}
    for name in links:
        setattr(request, name, None)
    return links, [LINKS[name] for name in links]


def _exists(runtime: Runtime, task_id: UUID | str) -> bool:
    try:
        get_job_row(runtime.db, UUID(str(task_id)))
    except (NotFound, ValueError):
        return False
    return True
