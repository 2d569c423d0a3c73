"""Messages, always sent after the commit. One that cannot be sent is no error: the row is the truth.

A message's task id starts with its key, which names the row it is about; the reconciler recognises by it what the
queues still hold.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from uuid import UUID

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import SecretStr
from redis.exceptions import RedisError

from ocr_tasks.contract import HIDDEN, KIND_OF_TASK, Priority, TaskName, engine_queue, prepare_queue

log = structlog.get_logger(__name__)


# A Redis that hangs costs whoever finds it out its timeouts; for this long nobody else is held up by it.
PAUSE_S = 1.0


class Dispatcher:
    """Sends the messages of the pipeline. The methods return whether the message went out."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self._paused_until = 0.0

    def entry(self, job_id: UUID, route: tuple[TaskName, str], password: SecretStr | None = None) -> bool:
        """A job's first step, by its task and queue. Its task id is the job's id.

        The password is in no row: only this message carries it.
        """
        task, queue = route
        kwargs = {"password": password.get_secret_value()} if password else {}
        return self._send(task, str(job_id), queue, kwargs)

    def ranges(self, job_id: UUID, range_ids: Iterable[int], priority: Priority) -> None:
        """Ranges to be prepared."""
        for range_id in range_ids:
            self._send(
                TaskName.PREPARE_RANGE,
                _unique(f"{job_id}:r{range_id}"),
                prepare_queue(priority),
                {"range_id": range_id},
            )

    def pages(self, job_id: UUID, page_nos: Iterable[int], engine: str, priority: Priority) -> None:
        """Pages to be read."""
        for page_no in page_nos:
            self._send(
                TaskName.READ_PAGE,
                _unique(f"{job_id}:{page_no}"),
                engine_queue(engine, priority),
                {"job_id": str(job_id), "page_no": page_no},
            )

    def finish(self, job_id: UUID, priority: Priority) -> bool:
        """A job whose pages have all ended."""
        return self._send(
            TaskName.FINISH, _unique(f"{job_id}:finish"), prepare_queue(priority), {"job_id": str(job_id)}
        )

    def cancel(self, job_id: UUID) -> bool:
        """A job to be cancelled, by whichever preparing worker comes first."""
        return self._send(
            TaskName.CANCEL,
            _unique(f"{job_id}:cancel"),
            prepare_queue(Priority.INTERACTIVE),
            {"job_id": str(job_id)},
        )

    def _send(self, name: TaskName, task_id: str, queue: str, kwargs: Mapping[str, object]) -> bool:
        if time.monotonic() < self._paused_until:
            return False
        shown = {"kwargsrepr": HIDDEN} if name in KIND_OF_TASK else {}
        try:
            self.app.send_task(str(name), kwargs=kwargs, task_id=task_id, queue=queue, ignore_result=True, **shown)
        except (OperationalError, RedisError, OSError) as error:
            log.warning("message_not_sent", task=str(name), task_id=task_id, queue=queue, error=str(error)[:200])
            self._paused_until = time.monotonic() + PAUSE_S
            return False
        return True


def _unique(key: str) -> str:
    """Two messages about one row need two task ids: a worker keeps its books by them."""
    return f"{key}:{uuid.uuid4().hex[:8]}"


def message_key(task_id: str) -> str:
    """What a message is about: its task id without the part that makes it unique."""
    return task_id.rsplit(":", 1)[0]
