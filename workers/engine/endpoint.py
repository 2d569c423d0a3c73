"""The engine `endpoint`: pages are read by an OpenAI-compatible server elsewhere, such as vLLM with DeepSeek-OCR."""

from __future__ import annotations

import asyncio
import base64
import io
import queue
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import NamedTuple

import httpx
import structlog
from PIL import Image

from ocr_tasks.contract import Operation, PageResult
from ocr_tasks.errors import EngineFailed, OcrError
from ocr_tasks.settings import Settings, SettingsError
from workers.engine import PageDone, PageWork, WorkId
from workers.engine.answers import ANSWERS_VERSION, parse_answer
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.prompts import most_new_tokens, ngram_ban, prompt_text
from workers.engine.endpoint_answers import Completion
from workers.engine.endpoint_client import Client, Patience, Question

log = structlog.get_logger(__name__)

STEP_S = 0.05
CLOSE_S = 5.0


class Ended(NamedTuple):
    """A request that came to its end."""

    id: WorkId
    request: Future[PageResult | OcrError]


class EndpointEngine:
    """Has as many requests under way as it holds pages, on an event loop in a thread of its own.

    A page that is evicted loses its connection, by which a server such as vLLM learns to stop. Resolution modes are the
    server's matter.
    """

    name = "endpoint"
    operations = frozenset({Operation.READ})

    def __init__(self, settings: Settings, *, patience: Patience | None = None) -> None:
        """Raises SettingsError when no usable server is named, ServiceUnavailable when it is not there."""
        self.capacity = settings.batch_size
        self.family = family_of(settings.endpoint_model)
        self._held: dict[WorkId, Future[PageResult | OcrError]] = {}
        self._ended: queue.SimpleQueue[Ended] = queue.SimpleQueue()
        client = Client(
            _base_url(settings),
            settings.endpoint_model,
            settings.api_key.get_secret_value() if settings.api_key else None,
            connections=self.capacity,
            # A page has its own deadline in the batcher; a second try must fit into it.
            read_timeout_s=settings.page_timeout_s / 2,
            patience=patience or Patience(),
        )
        self._client = client
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="endpoint", daemon=True)
        self._thread.start()
        try:
            server = asyncio.run_coroutine_threadsafe(client.describe(), self._loop).result()
        except BaseException:
            self.close()
            raise
        self.revision = f"{settings.endpoint_model}@{server}+answers-{ANSWERS_VERSION}"

    def admit(self, works: Sequence[PageWork]) -> None:
        for work in works:
            request = asyncio.run_coroutine_threadsafe(self._read(work), self._loop)
            self._held[work.id] = request
            request.add_done_callback(lambda done, page=work.id: self._ended.put(Ended(page, done)))  # type: ignore[misc]

    def step(self) -> Sequence[PageDone]:
        """Wait a moment for requests to end."""
        done: list[PageDone] = []
        timeout_s = STEP_S if self._held else 0.0
        while True:
            try:
                ended = self._ended.get(block=timeout_s > 0, timeout=timeout_s)
            except queue.Empty:
                return done
            timeout_s = 0.0
            if self._held.get(ended.id) is ended.request:
                del self._held[ended.id]
                done.append(PageDone(ended.id, _outcome(ended.request)))

    def evict(self, ids: Collection[WorkId]) -> None:
        for work_id in ids:
            request = self._held.pop(work_id, None)
            if request is not None:
                request.cancel()

    def close(self) -> None:
        self.evict(list(self._held))
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result(CLOSE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_S)

    # -- on the event loop -----------------------------

    async def _read(self, work: PageWork) -> PageResult | OcrError:
        prompt = work.options.prompt
        question = Question(
            prompt_text(prompt, self.family, work.options.locate),
            await asyncio.to_thread(data_url, work.image),
            ngram_ban(prompt, self.family),
            most_new_tokens(self.family),
        )
        try:
            completion = await self._client.complete(question)
        except OcrError as error:
            return error
        return await asyncio.to_thread(_result, work, completion)


def _result(work: PageWork, completion: Completion) -> PageResult:
    width, height = work.image.size
    answer = parse_answer(completion.text, width=width, height=height, ended=completion.ended, options=work.options)
    return PageResult(
        **vars(answer),
        vision_tokens=completion.prompt_tokens,  # and the ten or so of the prompt's own words: they are not told apart
        text_tokens=completion.text_tokens,
        inference_ms=completion.took_ms,
    )


def _outcome(request: Future[PageResult | OcrError]) -> PageResult | OcrError:
    error = request.exception()
    if error is None:
        return request.result()
    log.error("endpoint_request_failed", exc_info=error)
    return EngineFailed(f"The engine failed on this page: {type(error).__name__}.")


def _base_url(settings: Settings) -> str:
    """The server's base URL; raises SettingsError, which never tells it: it may hold a password."""
    if not settings.endpoint:
        raise SettingsError(
            "DEEPSEEK_OCR_ENDPOINT is not set: OCR_ENGINE=endpoint needs the base URL of an OpenAI-compatible server, "
            "such as http://host:8000/v1"
        )
    try:
        url = httpx.URL(settings.endpoint)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError("DEEPSEEK_OCR_ENDPOINT must be a URL such as http://host:8000/v1")
    return settings.endpoint


def family_of(model: str) -> Family:
    """The family of a model, by its name on a server."""
    name = model.lower()
    if "unlimited" in name:
        return Family.UNLIMITED_OCR
    return Family.DEEPSEEK_OCR2 if "ocr-2" in name or "ocr2" in name else Family.DEEPSEEK_OCR


def data_url(page: Image.Image) -> str:
    """An L or RGB page in a URL: as JPEG with colour in full, a fifth of the bytes of PNG."""
    buffer = io.BytesIO()
    page.save(buffer, "JPEG", quality=95, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
