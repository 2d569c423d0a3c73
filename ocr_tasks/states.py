"""What Celery's result backend says of a direct caller's job, under the job's id, as any AsyncResult reads it.

Written here and not by a Celery backend, because the fence has to be inside Redis: a command that a frozen Redis still
had in its socket would otherwise let a late PROGRESS overwrite the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ocr_tasks.app import RESULT_EXPIRES_S
from ocr_tasks.errors import Problem, ServiceUnavailable

Meta = dict[str, Any]


class State(StrEnum):
    """Celery's states, those that a job is in."""

    PENDING = "PENDING"
    PROGRESS = "PROGRESS"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"


ENDED = frozenset({State.SUCCESS, State.FAILURE, State.REVOKED})


class Over(StrEnum):
    """What a new state may overwrite."""

    ANYTHING = "anything"
    UNENDED = "unended"  # nothing, or progress
    OLDER = "older"  # nothing, or progress of no more pages


# KEYS: the state's key. ARGV: the new state, seconds it is kept, what it may overwrite, pages ended in it.
# Published as well, as Celery does: a client that waits in `get` listens on the channel of that name.
STORE = """
local current = redis.call('GET', KEYS[1])
if current and ARGV[3] ~= 'anything' then
    local readable, known = pcall(cjson.decode, current)
    if readable and (known.status == 'SUCCESS' or known.status == 'FAILURE' or known.status == 'REVOKED') then
        return 0
    end
    if readable and known.status == 'PROGRESS' and ARGV[3] == 'older'
       and known.result.succeeded + known.result.failed > tonumber(ARGV[4]) then
        return 0
    end
end
redis.call('SETEX', KEYS[1], ARGV[2], ARGV[1])
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""


def state_key(task_id: str) -> str:
    """Where Celery keeps the state of a task."""
    return f"celery-task-meta-{task_id}"


def progress_meta(task_id: str, *, status: str, total: int | None, succeeded: int, failed: int) -> Meta:
    """PROGRESS, in pages."""
    counted = {"status": status, "total": total, "succeeded": succeeded, "failed": failed}
    return _meta(task_id, State.PROGRESS, counted)


def success_meta(task_id: str, result: dict[str, Any]) -> Meta:
    """SUCCESS, with a small result."""
    return _meta(task_id, State.SUCCESS, result)


def failure_meta(task_id: str, problem: Problem) -> Meta:
    """FAILURE: any client rebuilds a RuntimeError "code: detail"; the whole problem document lies beside it."""
    message = f"{problem['code']}: {problem['detail']}"
    error = {"exc_type": "RuntimeError", "exc_module": "builtins", "exc_message": [message]}
    return _meta(task_id, State.FAILURE, error, problem=problem)


def revoked_meta(task_id: str) -> Meta:
    """REVOKED: the job was cancelled."""
    error = {
        "exc_type": "TaskRevokedError",
        "exc_module": "celery.exceptions",
        "exc_message": ["the job was cancelled"],
    }
    return _meta(task_id, State.REVOKED, error)


def _meta(task_id: str, state: State, result: object, **more: object) -> Meta:
    date_done = datetime.now(UTC).isoformat() if state in ENDED else None
    return {
        "task_id": task_id,
        "status": str(state),
        "result": result,
        "traceback": None,
        "children": [],
        "date_done": date_done,
        **more,
    }


# Says since when Redis remembers, and which run of the server said so: one that was emptied, or started again from an
# old copy, says otherwise.
MEMORY_KEY = "lightdom-ocr:remembers-since"


class States:
    """States in Redis. `timeout_s`: how long a frozen or absent Redis may hold a caller up, about twice that in all."""

    def __init__(self, url: str, *, timeout_s: float = 1) -> None:
        self.redis = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # One more try, for a connection that was closed at the other end meanwhile.
            retry=Retry(NoBackoff(), 1),
        )
        self._store = self.redis.register_script(STORE)

    def put(self, meta: Meta, over: Over) -> bool:
        """Store a state unless it may not overwrite what is there; raises ServiceUnavailable."""
        result = meta["result"]
        ended = result["succeeded"] + result["failed"] if meta["status"] == State.PROGRESS else 0
        try:
            stored = self._store(
                keys=[state_key(meta["task_id"])], args=[json.dumps(meta), RESULT_EXPIRES_S, str(over), ended]
            )
        except redis.RedisError as error:
            raise ServiceUnavailable("Redis is not reachable.") from error
        return bool(stored)

    def remembers_since(self, clock: Callable[[], datetime]) -> datetime:
        """States that were stored before this time may be forgotten; raises ServiceUnavailable.

        clock: asked after a first mark was set, so that whoever empties Redis meanwhile takes the mark away as well.
        """
        try:
            run = str(self.redis.info("server").get("run_id", "unnamed"))
            known = self.redis.get(MEMORY_KEY)
            said_by, _, since = known.decode().partition(" ") if isinstance(known, bytes) else ("", "", "")
            if said_by == run:
                return datetime.fromisoformat(since)
            self.redis.set(MEMORY_KEY, "nothing yet")
            now = clock()
            self.redis.set(MEMORY_KEY, f"{run} {now.isoformat()}", xx=True)
        except redis.RedisError as error:
            raise ServiceUnavailable("Redis is not reachable.") from error
        return now

    def get(self, task_id: str) -> Meta | None:
        """What is known of a task; raises ServiceUnavailable."""
        try:
            raw = self.redis.get(state_key(task_id))
        except redis.RedisError as error:
            raise ServiceUnavailable("Redis is not reachable.") from error
        return json.loads(raw) if isinstance(raw, (bytes, str)) else None
