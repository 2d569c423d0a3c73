"""One document read by one engine in this process: no Postgres, no Redis, nothing left behind."""

from __future__ import annotations

import io
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from PIL import Image

from ocr_tasks.contract import Format, OcrOptions, PageResult, Status, notice_of, select_pages
from ocr_tasks.errors import OcrError, OperationUnavailable, Problem
from ocr_tasks.jobs.views import PageView
from ocr_tasks.settings import Settings
from workers.batcher import Answer, Batcher
from workers.engine import Engine, PageWork, WorkId
from workers.figures import without_links
from workers.results import ResultFiles, why_none
from workers.sources.encode import PageFailure, PageImage
from workers.sources.isolated import IsolatedSource

NO_JOB = UUID(int=0)


@dataclass(frozen=True)
class Reading:
    """A document as it was read; `took_ms` without the time that loading the engine took."""

    pages: tuple[PageView, ...]
    took_ms: int

    @property
    def failed(self) -> list[PageView]:
        return [page for page in self.pages if page.status == Status.FAILED]

    @property
    def error(self) -> Problem | None:
        """Why there is no result: set when not one page could be read."""
        return why_none(self.pages[0], len(self.pages)) if len(self.failed) == len(self.pages) else None

    def result(self, form: Format) -> bytes:
        """The result, the same bytes as the service's `result` would answer."""
        with tempfile.TemporaryDirectory(prefix="lightdom-ocr-") as folder:
            files = ResultFiles(Path(folder))
            files.write(self.pages, took_ms=self.took_ms)
            return files.path(form).read_bytes()


def read_document(
    source: IsolatedSource,
    options: OcrOptions,
    settings: Settings,
    load: Callable[[], Engine],
    *,
    on_hang: Callable[[str], None],
    tell: Callable[[str], None] = lambda text: None,
) -> Reading:
    """Read a document's pages, as many at a time as the engine can hold; raises OcrError about the document.

    load: gives the engine; called once the document is known to be one. on_hang: as the batcher's.
    """
    began = time.monotonic()
    try:
        page_nos = select_pages(options.pages, source.count(), limit=settings.max_pages)
        opened = time.monotonic()
        engine = _loaded(load, settings.engine)
        tell(f"{engine.name} is ready after {time.monotonic() - opened:.1f} s; pages to read: {len(page_nos)}")
        if (notice := notice_of(engine.revision)) is not None:
            tell(notice)
        looked_s, began = opened - began, time.monotonic()
        with _batcher(engine, settings, on_hang) as batcher:
            pages = tuple(_read(batcher, source.pages(page_nos), options))
    finally:
        source.close()
    return Reading(pages, round((looked_s + time.monotonic() - began) * 1000))


def _loaded(load: Callable[[], Engine], name: str) -> Engine:
    try:
        return load()
    except OcrError:
        raise
    except Exception as error:
        raise OperationUnavailable(f"The engine {name} cannot be loaded: {error}") from error


@contextmanager
def _batcher(engine: Engine, settings: Settings, on_hang: Callable[[str], None]) -> Iterator[Batcher]:
    batcher = Batcher(
        engine, page_timeout_s=settings.page_timeout_s, step_timeout_s=settings.step_timeout_s, on_hang=on_hang
    )
    batcher.start()
    try:
        yield batcher
    finally:
        batcher.stop(0)
        batcher.join(settings.stop_grace_s)


@dataclass
class Waiting:
    """A page on its way: made, and read if it could be made."""

    page: PageImage | PageFailure
    future: Future[Answer] | None = None


def _read(batcher: Batcher, pages: Iterator[PageImage | PageFailure], options: OcrOptions) -> Iterator[PageView]:
    """The pages in their order; so many are made ahead that the engine never waits for one."""
    waiting: deque[Waiting] = deque()
    for page in pages:
        future = batcher.submit(_work(page, options)) if isinstance(page, PageImage) else None
        waiting.append(Waiting(page, future))
        while len(waiting) > 2 * batcher.engine.capacity:
            yield _view(waiting.popleft(), batcher.engine)
    while waiting:
        yield _view(waiting.popleft(), batcher.engine)


def _work(page: PageImage, options: OcrOptions) -> PageWork:
    def load() -> Image.Image:
        image = Image.open(io.BytesIO(page.content))
        image.load()
        return image

    return PageWork(WorkId(NO_JOB, page.page_no, 1), load, options, options.operations(), options.priority)


def _view(waiting: Waiting, engine: Engine) -> PageView:
    """A page as the service shows it."""
    page, answer = waiting.page, waiting.future.result() if waiting.future else None
    outcome = answer.outcome if answer else page.error  # type: ignore[union-attr]
    shown: dict[str, object] = dict.fromkeys(PageView.model_fields)
    shown |= {"page_no": page.page_no, "status": Status.FAILED, "flags": ()}
    if isinstance(page, PageImage) and answer:
        shown |= {"width": page.width, "height": page.height, "engine": engine.name, "revision": engine.revision}
        shown |= {"queue_ms": answer.waited_ms}
    if isinstance(outcome, PageResult):
        shown |= {name: getattr(outcome, name) for name in PageResult.model_fields if name in shown}
        ratio = _ratio(outcome)
        shown |= {"status": Status.SUCCEEDED, "compression_ratio": ratio}
        shown["markdown"] = without_links(outcome.markdown)  # no figure is stored
    else:
        shown["error"] = outcome.problem()
    return PageView.model_validate(shown)


def _ratio(result: PageResult) -> float | None:
    if not result.vision_tokens or result.text_tokens is None:
        return None
    return round(result.text_tokens / result.vision_tokens, 2)
