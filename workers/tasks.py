"""The Celery tasks: thin; and what the parent of a prefork pool does when a child dies in one of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import structlog
from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import Terminated, WorkerLostError
from celery import Task
from celery.exceptions import Reject, TaskPredicate
from celery.worker.request import Request

from ocr_tasks.app import app
from ocr_tasks.contract import HIDDEN, KIND_OF_TASK, TaskName
from ocr_tasks.direct import is_job_id, parse_task_id
from ocr_tasks.errors import OcrError, ParserDied
from ocr_tasks.jobs.finishing import finish_died
from ocr_tasks.jobs.inspecting import inspect_died
from ocr_tasks.jobs.ranges import range_died
from ocr_tasks.jobs.views import get_job_row, route_of
from workers.entry import NoBackend, enter, fail_unstored, password_of
from workers.finish import finish_job
from workers.node import Node
from workers.pages import read_page
from workers.prepare import prepare_range, stopping
from workers.revoking import expire_job, revoke_job
from workers.runtime import impatient_runtime, runtime

log = structlog.get_logger(__name__)

# A message that cannot be worked on now goes back to its queue after this pause.
GIVE_BACK_S = 1.0


class ChildRequest(Request):  # type: ignore[misc]
    """A task in a prefork child, seen from the parent: when the child dies, its row moves on at once.

    Should this fail, the lease runs out and the reconciler does the same, later.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.task_name in KIND_OF_TASK:
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
            # A child of a worker that is told to stop was told so too, most likely: that is nobody's fault.
            child_died(str(self.task_name), str(self.id), self.kwargs, reason, charge=not stopping.is_set())
        except OcrError as error:
            log.warning("child_death_left_to_reconciler", task_id=self.id, error=error.detail)


def child_died(task_name: str, task_id: str, kwargs: dict[str, Any], reason: str, *, charge: bool = True) -> None:
    """Charge what killed a child, and send what is to be tried again."""
    shared = impatient_runtime()
    settings, db = shared.settings, shared.db
    limits: dict[str, Any] = {"failures": settings.page_failures, "losses": settings.max_losses}
    log.warning("child_died", task=task_name, task_id=task_id, reason=reason)
    if task_name == TaskName.PREPARE_RANGE:
        error = ParserDied(f"The page could not be rasterised: {reason}.")
        died = range_died(db, kwargs["range_id"], charge=charge, error=error, **limits)
        if died is not None:
            job = get_job_row(db, died.job_id)
            shared.dispatch.ranges(died.job_id, died.range_ids, job["priority"])
            shared.flow.after(died.progress)
    elif task_name in KIND_OF_TASK and is_job_id(task_id):
        job_id = UUID(task_id)
        if inspect_died(db, job_id, charge=charge, **limits):
            shared.dispatch.entry(job_id, route_of(get_job_row(db, job_id)), password_of(kwargs))
        elif kwargs:
            fail_unstored(shared, job_id, reason)
    elif task_name == TaskName.FINISH:
        job_id = UUID(kwargs["job_id"])
        if finish_died(db, job_id):
            log.warning("finish_left_to_reconciler", job_id=kwargs["job_id"])


class ChildTask(Task):  # type: ignore[misc]
    """A task for the prefork pool."""

    Request = ChildRequest
    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except MemoryError:  # the parent would raise it anew, and do no more for this task
            raise ParserDied("it needed more memory than a parser is given") from None


class EntryRequest(ChildRequest):
    """An entry task, seen from the parent."""

    def _announce_revoked(self, reason: str, terminated: bool, signum: Any, expired: bool) -> None:
        super()._announce_revoked(reason, terminated, signum, expired)
        if expired and is_job_id(str(self.id)):
            try:
                expire_job(impatient_runtime(), UUID(self.id))
            except OcrError as error:
                log.warning("expiry_not_published", task_id=self.id, error=error.detail)


class EntryTask(ChildTask):
    Request = EntryRequest
    abstract = True


@contextmanager
def delivered_again() -> Iterator[None]:
    """What cannot be done now goes back to its queue: for messages that no row stands for."""
    try:
        yield
    except OcrError as error:
        if not error.retryable:
            raise
        log.warning("message_given_back", error=error.detail)
        time.sleep(GIVE_BACK_S)
        raise Reject(error.detail, requeue=True) from error


def _entry(self: Task, *args: Any, **kwargs: Any) -> str:
    """An entry task: its id is the job's id. A direct caller's job comes into being here, from its payload."""
    with structlog.contextvars.bound_contextvars(job_id=str(self.request.id)[:80]), delivered_again():
        return enter(runtime(), self.request, args, kwargs)


for _name in KIND_OF_TASK:
    app.task(_entry, bind=True, name=str(_name), base=EntryTask, backend=NoBackend(app))


@app.task(name=str(TaskName.CANCEL), base=ChildTask)
def cancel_task(job_id: str) -> str:
    """Cancel a job, or keep it from beginning: what a caller sends who wants it to happen for certain."""
    with structlog.contextvars.bound_contextvars(job_id=job_id[:80]), delivered_again():
        revoke_job(runtime(), parse_task_id(job_id))
        return "cancelled"


@app.task(name=str(TaskName.PREPARE_RANGE), base=ChildTask)
def prepare_range_task(range_id: int) -> str:
    with structlog.contextvars.bound_contextvars(range_id=range_id):
        return prepare_range(runtime(), range_id)


@app.task(name=str(TaskName.FINISH), base=ChildTask)
def finish_task(job_id: str) -> str:
    with structlog.contextvars.bound_contextvars(job_id=job_id):
        outcome = finish_job(runtime(), UUID(job_id))
        runtime().publisher.end(UUID(job_id))
        return outcome


@app.task(name=str(TaskName.READ_PAGE))
def read_page_task(job_id: str, page_no: int) -> str:
    with structlog.contextvars.bound_contextvars(job_id=job_id, page_no=page_no):
        return str(read_page(the_node(), UUID(job_id), page_no))


_nodes: list[Node] = []


def serve(node: Node) -> None:
    """Name the node that this process's page tasks use."""
    _nodes[:] = [node]


def the_node() -> Node:
    return _nodes[0]
