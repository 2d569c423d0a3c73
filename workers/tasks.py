"""The Celery tasks: thin; and what the parent of a prefork pool does when a child dies in one of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from uuid import UUID

import structlog
from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import Terminated, WorkerLostError
from celery import Task
from celery.exceptions import TaskPredicate
from celery.worker.request import Request

from ocr_tasks.app import app
from ocr_tasks.contract import HIDDEN, TaskName, parse_id, parse_options, parse_source
from ocr_tasks.errors import InvalidId, OcrError, ParserDied
from ocr_tasks.jobs.database import Database
from ocr_tasks.jobs.finishing import finish_died
from ocr_tasks.jobs.preparing import inspect_died, range_died
from ocr_tasks.jobs.submitting import create_job
from ocr_tasks.jobs.views import get_job_row
from workers.finish import finish_job
from workers.node import Node
from workers.pages import read_page
from workers.prepare import inspect_job, prepare_range
from workers.runtime import runtime

log = structlog.get_logger(__name__)


class ChildRequest(Request):  # type: ignore[misc]
    """A task in a prefork child, seen from the parent: when the child dies, its row moves on at once.

    Should this fail, the lease runs out and the reconciler does the same, later.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.task_name == TaskName.OCR:
            # The caller's own Celery wrote these: its options may hold a password.
            self._argsrepr = self._kwargsrepr = HIDDEN
            self._request_dict.update(argsrepr=HIDDEN, kwargsrepr=HIDDEN)

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What `inspect active` and Flower are told of a task in work: never its arguments themselves."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown

    def on_timeout(self, soft: bool, timeout: float) -> None:
        super().on_timeout(soft, timeout)
        if not soft:
            self._bury(f"it took longer than {timeout:g} s")

    def on_failure(self, exc_info: ExceptionInfo, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        answer = super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
        failure = exc_info.exception
        if isinstance(failure, ExceptionWithTraceback):
            failure = failure.exc
        if isinstance(failure, WorkerLostError):
            self._bury("it made its parser crash, or use too much memory")
        elif isinstance(failure, OcrError):
            if not failure.retryable:
                self._bury(failure.detail.rstrip("."))
        elif not isinstance(failure, (SystemExit, KeyboardInterrupt, Terminated, TaskPredicate)):
            self._bury("it made its parser fail in a way that is not known")
        return answer

    def _bury(self, reason: str) -> None:
        try:
            child_died(str(self.task_name), str(self.id), self.kwargs, reason)
        except OcrError as error:
            log.warning("child_death_left_to_reconciler", task_id=self.id, error=error.detail)


def child_died(task_name: str, task_id: str, kwargs: dict[str, Any], reason: str) -> None:
    """Charge what killed a child, and send what is to be tried again."""
    shared, settings, db = runtime(), runtime().settings, _impatient_database()
    limits = {"failures": settings.page_failures, "attempts": settings.max_attempts}
    log.warning("child_died", task=task_name, task_id=task_id, reason=reason)
    if task_name == TaskName.PREPARE_RANGE:
        error = ParserDied(f"The page could not be rasterised: {reason}.")
        died = range_died(db, kwargs["range_id"], charge=True, error=error, **limits)
        if died is not None:
            job = get_job_row(db, died.job_id)
            shared.dispatch.ranges(died.job_id, died.range_ids, job["priority"])
            shared.flow.after(died.progress)
    elif task_name == TaskName.OCR:
        job_id = parse_id(task_id)
        if inspect_died(db, job_id, charge=True, **limits):
            password = parse_options(kwargs.get("options") or {}).password
            shared.dispatch.entry(job_id, get_job_row(db, job_id)["priority"], password)
    elif task_name == TaskName.FINISH:
        job_id = UUID(kwargs["job_id"])
        if finish_died(db, job_id):
            log.warning("finish_left_to_reconciler", job_id=kwargs["job_id"])


@lru_cache(maxsize=1)
def _impatient_database() -> Database:
    """For the parent, whose event loop must not stand still: the reconciler is there if Postgres is not."""
    return Database(runtime().settings, patience_s=1, pool_size=1)


class ChildTask(Task):  # type: ignore[misc]
    """A task for the prefork pool."""

    Request = ChildRequest
    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except MemoryError:  # the parent would raise it anew, and do no more for this task
            raise ParserDied("it needed more memory than a parser is given") from None


@app.task(bind=True, name=str(TaskName.OCR), base=ChildTask)
def ocr(self: Task, source: dict[str, Any] | None = None, options: dict[str, Any] | None = None) -> str:
    """The entry task: its id is the job's id. A direct caller's job comes into being here, from its payload."""
    try:
        job_id = UUID(self.request.id)
    except ValueError:
        raise InvalidId(f"The task id {self.request.id[:80]!r} is not a UUID.", value=self.request.id[:80]) from None
    with structlog.contextvars.bound_contextvars(job_id=str(job_id)):
        chosen = parse_options(options or {})
        if source is not None:
            create_job(
                runtime().db,
                job_id,
                engine=runtime().settings.engine,
                source=parse_source(source),
                options=chosen,
            )
        return inspect_job(runtime(), job_id, chosen.password)


@app.task(name=str(TaskName.PREPARE_RANGE), base=ChildTask)
def prepare_range_task(range_id: int) -> str:
    with structlog.contextvars.bound_contextvars(range_id=range_id):
        return prepare_range(runtime(), range_id)


@app.task(name=str(TaskName.FINISH), base=ChildTask)
def finish_task(job_id: str) -> str:
    with structlog.contextvars.bound_contextvars(job_id=job_id):
        return finish_job(runtime(), UUID(job_id))


@app.task(name=str(TaskName.READ_PAGE))
def read_page_task(job_id: str, page_no: int) -> str:
    with structlog.contextvars.bound_contextvars(job_id=job_id, page_no=page_no):
        return read_page(the_node(), UUID(job_id), page_no)


_nodes: list[Node] = []


def serve(node: Node) -> None:
    """Name the node that this process's page tasks use."""
    _nodes[:] = [node]


def the_node() -> Node:
    return _nodes[0]
