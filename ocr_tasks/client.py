"""What a crawler calls: documents and pages go to the workers as Celery tasks, without the web service.

    from ocr_tasks import client
    job = client.ocr(Path("page.pdf"), format="markdown")
    print(job.get(timeout=120).text())
    crawl = client.crawl("https://example.com/", session_id="monday", priority="bulk")

What is guaranteed: from the moment a worker has stored the job's row, it ends exactly once, whatever dies, and `get`
hears of it again even if Redis loses everything. Before that, only Redis knows of the job: its message is worked on at
least once, but if Redis loses it, nobody remembers, and `get` times out. Send it again then with `job_id=job.id`: one
that did arrive is not worked on twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from ocr_tasks.app import make_app
from ocr_tasks.contract import HIDDEN, Kind
from ocr_tasks.direct import parse_task_id
from ocr_tasks.errors import InvalidRequest, ServiceUnavailable
from ocr_tasks.following import Job, JobCancelled, JobFailed, JobNotOver, JobProgress, JobResult
from ocr_tasks.kinds.engines import settled
from ocr_tasks.kinds.options import JobOptions
from ocr_tasks.kinds.sources import entry_route
from ocr_tasks.payloads import Document, Given, Loading, Payload, options_from
from ocr_tasks.settings import Settings, get_settings
from ocr_tasks.states import States

__all__ = [
    "Client",
    "Document",
    "Job",
    "JobCancelled",
    "JobFailed",
    "JobNotOver",
    "JobProgress",
    "JobResult",
    "compress",
    "crawl",
    "decompress",
    "default_client",
    "job",
    "ocr",
    "render",
]

JobId = UUID | str | None
P = ParamSpec("P")


@dataclass(frozen=True)
class Client:
    """Sends work to the workers that the settings name, and asks after it. Safe to share between threads.

    Everything that can be refused is refused before anything is sent. Of all methods that send:
    options, further: as over REST, `options` in camelCase, `further` by their Python or their camelCase name.
    job_id: of an earlier call whose message may have been lost.
    Raise OcrError: InvalidOption and its like, OperationUnavailable, UnsupportedMediaType, TooLarge,
    ServiceUnavailable.
    """

    settings: Settings
    app: Celery = field(repr=False)
    states: States = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Client:
        return cls(settings, make_app(settings, socket_timeout_s=2), States(settings.broker_url, timeout_s=2))

    def ocr(
        self,
        /,
        source: Document | None = None,
        options: Given = None,
        *,
        url: str | None = None,
        filename: str | None = None,
        job_id: JobId = None,
        **further: Any,
    ) -> Job:
        """Send one document to be read: a file, or the `url` of one."""
        _one_of(source=source, url=url)
        chosen = self._chosen(Kind.OCR, options, further)
        loading = Loading(self.settings, Kind.OCR)
        payload = loading.named(url=url) if source is None else loading.document(source, filename, None)
        return self._send(payload, chosen, job_id)

    def render(
        self,
        /,
        url: str | None = None,
        options: Given = None,
        *,
        html: str | None = None,
        dom_id: str | None = None,
        job_id: JobId = None,
        **further: Any,
    ) -> Job:
        """Have a browser render a page: its address, or its text. dom_id: the caller's name for the harvest."""
        _one_of(url=url, html=html)
        chosen = self._chosen(Kind.RENDER, options, further)
        return self._send(self._page(Kind.RENDER, url, html, dom_id), chosen, job_id)

    def compress(
        self,
        /,
        source: Document | None = None,
        options: Given = None,
        *,
        url: str | None = None,
        html: str | None = None,
        dom_id: str | None = None,
        filename: str | None = None,
        job_id: JobId = None,
        **further: Any,
    ) -> Job:
        """Have a file or a page turned into vision tokens.

        dom_id: the caller's name for it; alone, the harvest that is there under this name already.
        """
        if dom_id is None or (source, url, html) != (None, None, None):
            _one_of(source=source, url=url, html=html)
        chosen = self._chosen(Kind.COMPRESS, options, further)
        if source is not None:
            payload = Loading(self.settings, Kind.COMPRESS).document(source, filename, dom_id)
        else:
            payload = self._page(Kind.COMPRESS, url, html, dom_id)
        return self._send(payload, chosen, job_id)

    def decompress(self, /, dom_id: str, options: Given = None, *, job_id: JobId = None, **further: Any) -> Job:
        """Have what is stored as vision tokens read back. dom_id: the caller's own, or the id of a harvest."""
        chosen = self._chosen(Kind.DECOMPRESS, options, further)
        return self._send(Loading(self.settings, Kind.DECOMPRESS).named(domId=dom_id), chosen, job_id)

    def crawl(
        self,
        /,
        url: str,
        session_id: str | None = None,
        options: Given = None,
        *,
        dom_id: str | None = None,
        job_id: JobId = None,
        **further: Any,
    ) -> Job:
        """Have a page rendered, read, and turned into vision tokens where an engine can.

        session_id: the crawler's own.
        """
        session = {"session_id": session_id} if session_id is not None else {}
        chosen = self._chosen(Kind.CRAWL, options, session | further)
        return self._send(self._page(Kind.CRAWL, url, None, dom_id), chosen, job_id)

    def job(self, job_id: UUID | str) -> Job:
        """An earlier job, by its id; raises InvalidId."""
        return Job(parse_task_id(str(job_id)), self.settings, self.app, self.states)

    def _chosen(self, kind: Kind, options: Given, further: dict[str, Any]) -> JobOptions:
        """What is left open there is for the workers to decide; what no engine can do is refused here."""
        chosen = options_from(kind, options, further)
        settled(self.settings, chosen)
        return chosen

    def _page(self, kind: Kind, url: str | None, html: str | None, dom_id: str | None) -> Payload:
        loading = Loading(self.settings, kind)
        return loading.named(url=url, domId=dom_id) if html is None else loading.html(html, dom_id)

    def _send(self, payload: Payload, options: JobOptions, job_id: JobId) -> Job:
        task_id = parse_task_id(str(job_id)) if job_id is not None else uuid.uuid4()
        task, queue = entry_route(payload.kind, payload.stored(), options.priority)
        try:
            self.app.send_task(
                str(task),
                kwargs={"source": payload.wire(), "options": options.sent()},
                task_id=str(task_id),
                queue=queue,
                ignore_result=True,
                # What events, Flower and logs show: neither the document nor what its options keep secret.
                argsrepr="()",
                kwargsrepr=HIDDEN,
            )
        except (OperationalError, RedisError, OSError) as error:
            raise ServiceUnavailable(
                f"The message could not be sent, or nobody confirmed it. Sending again with job_id='{task_id}' is safe."
            ) from error
        return Job(task_id, self.settings, self.app, self.states)


def _one_of(**ways: object) -> None:
    """Raise InvalidRequest unless exactly one of these was given."""
    named = [name for name, value in ways.items() if value is not None]
    if len(named) != 1:
        listed = " or ".join(f"`{name}`" for name in ways)
        raise InvalidRequest(f"Give {listed}; got {' and '.join(named) or 'none of them'}.", field=next(iter(ways)))


@lru_cache(maxsize=1)
def default_client() -> Client:
    """The client on the servers that this process's settings name."""
    return Client.of(get_settings())


# -- on the servers that the environment names ---------------------------------------------


def _by_default(method: Callable[Concatenate[Client, P], Job]) -> Callable[P, Job]:
    def call(*args: P.args, **kwargs: P.kwargs) -> Job:
        return method(default_client(), *args, **kwargs)

    call.__doc__ = method.__doc__
    return call


ocr = _by_default(Client.ocr)
render = _by_default(Client.render)
compress = _by_default(Client.compress)
decompress = _by_default(Client.decompress)
crawl = _by_default(Client.crawl)


def job(job_id: UUID | str) -> Job:
    """An earlier job, by its id; raises InvalidId."""
    return default_client().job(job_id)
