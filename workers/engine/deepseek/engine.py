"""The engine `deepseek`: pages in, results out, with DeepSeek-OCR in this process."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any
from uuid import UUID

import structlog
import torch
from PIL import Image

from ocr_tasks.contract import Mode, Operation, PageResult
from ocr_tasks.errors import EngineFailed, OcrError
from ocr_tasks.settings import Settings
from workers.engine import DeviceLost, OutOfMemory, PageDone, PageWork, WorkId
from workers.engine.answers import ANSWERS_VERSION, parse_answer
from workers.engine.deepseek.batching import ContinuousBatch, Ended
from workers.engine.deepseek.checkpoint import Checkpoint, load_checkpoint
from workers.engine.deepseek.limits import limits_for, pages_held
from workers.engine.deepseek.memory import free_device, is_out_of_memory
from workers.engine.deepseek.modes import ViewLayout, better_mode
from workers.engine.deepseek.nano import NANO
from workers.engine.deepseek.preparing import Prepared, Preparer
from workers.engine.deepseek.prompts import locators
from workers.engine.deepseek.readings import Reading, better_reading
from workers.engine.deepseek.scheduler import Limits
from workers.visual import VisionTokens

log = structlog.get_logger(__name__)

ENGINE_VERSION = 2  # raise it with every change that makes pages come out differently
PREPARERS = 2  # threads that cut pages into views
IDLE_WAIT_S = 0.5
NANO_SLOTS, NANO_THREADS = 8, 1
READ, ENCODE, DECODE = Operation.READ, Operation.ENCODE, Operation.DECODE


@dataclass
class Page:
    """A page in the engine. `prepared` until it is in the batch, then `mode` and `layout`.

    first: a reading that had flags; encoded: its vision tokens, while it is decoded from them.
    """

    work: PageWork
    prepared: Future[Prepared] | None
    mode: Mode | None = None
    layout: ViewLayout | None = None
    started_at: float = 0.0
    first: Reading | None = None
    encoded: VisionTokens | None = None
    source_text_tokens: int | None = None


class DeepSeekEngine:
    """Reads, encodes and decodes pages with continuous batching: each has a slot of the key-value cache until it ends.

    A page whose reading is flagged is read once more, in the next better mode; `retried_from` is then the first mode.
    Kept is the reading whose flags are less grave, and of two alike the second, which saw the page closer. What was
    decoded from vision tokens is left as it is.

    The decoder is always given vision tokens in bfloat16, on a CPU too: so those stored as bf16 give, token for token,
    the text that reading the page gives in their mode.
    """

    operations = frozenset({READ, ENCODE, DECODE})

    def __init__(self, checkpoint: Checkpoint, limits: Limits, name: str = "deepseek") -> None:
        self.name = name
        self.checkpoint = checkpoint
        self.capacity = pages_held(limits.slots)
        library = f"transformers-{version('transformers')}"
        versions = f"engine-{ENGINE_VERSION}+answers-{ANSWERS_VERSION}"
        self.revision = f"{checkpoint.name}@{checkpoint.revision}+{library}+{versions}"
        self._limits = limits
        self._pages: dict[WorkId, Page] = {}
        self._batch: ContinuousBatch | None = ContinuousBatch(checkpoint, limits)
        self._preparer = Preparer(checkpoint, limits.room)
        self._locators = locators(checkpoint.tokenizer)
        self._threads = ThreadPoolExecutor(PREPARERS, thread_name_prefix="deepseek-preparer")

    def admit(self, works: Sequence[PageWork]) -> None:
        for work in works:
            self._pages[work.id] = Page(work, self._threads.submit(self._preparer.prepare, work))

    def step(self) -> Sequence[PageDone]:
        try:
            refused = self._take_prepared()
            ended = [self._finished(one) for one in self.batch.step()]
            return [*refused, *(done for done in ended if done)]
        except BaseException as error:
            if isinstance(error, torch.AcceleratorError):
                raise DeviceLost(str(error)) from error
            if not is_out_of_memory(error):
                self._clear()
                raise
            log.warning("device_out_of_memory", capacity=self.capacity, error=str(error))
        # Only now: the error held the frames of the step, and they its tensors.
        self._halve()
        raise OutOfMemory(f"the device has room for fewer pages; from now on {self.capacity}")

    def evict(self, ids: Collection[WorkId]) -> None:
        for work_id in ids:
            page = self._pages.pop(work_id, None)
            if page and page.prepared:
                page.prepared.cancel()
        self.batch.remove(ids)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
        self._pages.clear()
        self._batch = None
        free_device()

    def count_text_tokens(self, text: str) -> int:
        """The number of text tokens that the model needs for a text."""
        return self._preparer.count_text_tokens(text)

    def warm_up(self) -> None:
        """Read the start of an empty page, so that the first real one does not wait for memory and kernels."""
        work = PageWork(WorkId(UUID(int=0), 1, 1), lambda: Image.new("RGB", (1000, 1400), "white"))
        self.batch.add(replace(self._preparer.prepare(work).request, most_new_tokens=2))
        while len(self.batch):
            self.batch.step()

    @property
    def batch(self) -> ContinuousBatch:
        assert self._batch is not None, "the engine was closed"
        return self._batch

    # -- a page's way in ---------------------------------

    def _take_prepared(self) -> list[PageDone]:
        """Move pages that are ready into the batch; return those that cannot be read."""
        coming = {page.prepared: page for page in self._pages.values() if page.prepared}
        if coming and not len(self.batch):
            wait(coming, IDLE_WAIT_S, FIRST_COMPLETED)
        taken = [self._taken(page, prepared) for prepared, page in coming.items() if prepared.done()]
        return [done for done in taken if done]

    def _taken(self, page: Page, prepared: Future[Prepared]) -> PageDone | None:
        page.prepared = None
        again = page.first is not None or page.encoded is not None
        try:
            page.mode, page.layout, request, counted = prepared.result()
            self.batch.add(request, first=again)
        except OcrError as error:
            return self._failed(page, error)
        except Exception as error:
            log.exception("page_not_prepared")
            return self._failed(page, EngineFailed(f"The page could not be prepared: {type(error).__name__}."))
        page.started_at = page.started_at or time.monotonic()
        page.source_text_tokens = page.source_text_tokens if again else counted
        return None

    # -- a page's way out --------------------------------

    def _finished(self, one: Ended) -> PageDone | None:
        """What became of a page, or None when it goes round once more."""
        assert isinstance(one.id, WorkId)
        page = self._pages[one.id]
        operations = page.work.operations
        tokens = page.encoded or self._tokens(page, one)
        if operations == {ENCODE}:
            return self._done(page, Reading(self._measured(page), tokens))
        if operations == {ENCODE, DECODE} and page.encoded is None:
            page.encoded = tokens
            assert tokens is not None
            page.prepared = self._threads.submit(self._preparer.prepare_stored, page.work, tokens)
            return None
        reading = Reading(self._read(page, one), tokens)
        if page.first is not None:
            return self._done(page, better_reading(page.first, reading))
        if READ in operations and self._reads_again(page, reading):
            return None
        return self._done(page, reading)

    def _reads_again(self, page: Page, reading: Reading) -> bool:
        """Whether a flagged reading is done once more, in the next better mode if there is one."""
        result = reading.result
        next_mode = better_mode(result.mode, self.checkpoint.resolutions) if result.flags and result.mode else None
        if next_mode is None:
            return False
        log.info("page_read_again", flags=result.flags, mode=result.mode, next_mode=next_mode)
        page.first = reading
        page.prepared = self._threads.submit(self._preparer.prepare, page.work, next_mode)
        return True

    def _tokens(self, page: Page, one: Ended) -> VisionTokens | None:
        if one.features is None:
            return None
        assert page.layout is not None
        assert page.mode is not None
        return self._preparer.storing.stored(one.features, page.layout, page.mode, page.work.size)

    def _measured(self, page: Page, **read: Any) -> PageResult:
        assert page.layout is not None
        return PageResult(
            **{"text": "", "markdown": ""} | read,
            vision_tokens=page.layout.vision_tokens,
            mode=page.mode,
            inference_ms=round((time.monotonic() - page.started_at) * 1000),
        )

    def _read(self, page: Page, one: Ended) -> PageResult:
        width, height = page.work.size
        # Special tokens stay: what they mark is for the parser to see. EOS is not among them.
        tokens = [token for token in one.tokens if token not in self._locators]
        text = str(self.checkpoint.tokenizer.decode(tokens, skip_special_tokens=False))
        answer = parse_answer(text, width=width, height=height, ended=one.ended, options=page.work.options)
        return self._measured(page, **vars(answer), text_tokens=len(tokens))

    def _done(self, page: Page, reading: Reading) -> PageDone:
        del self._pages[page.work.id]
        return PageDone(page.work.id, *reading, page.source_text_tokens)

    def _failed(self, page: Page, error: OcrError) -> PageDone:
        """A page that cannot be prepared: when that was for a second reading, the first one counts."""
        if page.first is not None:
            return self._done(page, page.first)
        del self._pages[page.work.id]
        return PageDone(page.work.id, error)

    # -- when it goes wrong ------------------------------

    def _clear(self) -> None:
        """Hold nothing any more; what is being prepared is left to its thread."""
        self.evict(list(self._pages))

    def _halve(self) -> None:
        """Give everything back and go on with half the slots; with one it stays at that."""
        self._clear()
        self._batch = None
        free_device()
        slots = max(1, self._limits.slots // 2)
        self._limits = replace(self._limits, slots=slots)
        self.capacity = pages_held(slots)
        self._batch = ContinuousBatch(self.checkpoint, self._limits)


def load_deepseek(settings: Settings) -> DeepSeekEngine:
    """The engine for DEEPSEEK_OCR_MODEL_PATH, on the first CUDA device where one may be used; it has read a page."""
    device = "cuda" if settings.gpu_enabled and torch.cuda.is_available() else "cpu"
    return _loaded(settings, "deepseek", settings.model_path, settings.model_revision, device)


def load_nano(settings: Settings) -> DeepSeekEngine:
    """The engine for the demonstration model that comes with the package; it has read a page.

    It makes do with little of the CPU, beside whatever else this machine is for.
    """
    modest = {"batch_size": min(settings.batch_size, NANO_SLOTS), "cpu_threads": settings.cpu_threads or NANO_THREADS}
    return _loaded(settings.model_copy(update=modest), NANO, NANO, None, "cpu")


def _loaded(settings: Settings, name: str, model: str, revision: str | None, device: str) -> DeepSeekEngine:
    if settings.cpu_threads:
        torch.set_num_threads(settings.cpu_threads)
    checkpoint = load_checkpoint(model, revision=revision, device=device)
    engine = DeepSeekEngine(checkpoint, limits_for(checkpoint.model, most_slots=settings.batch_size), name)
    engine.warm_up()
    log.info("engine_loaded", revision=engine.revision, device=device, capacity=engine.capacity)
    return engine
