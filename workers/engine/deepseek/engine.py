"""The engine `deepseek`: pages in, results out, with DeepSeek-OCR in this process."""

from __future__ import annotations

import gc
import time
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from importlib.metadata import version
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
from workers.engine.deepseek.modes import better_mode
from workers.engine.deepseek.preparing import Prepared, Preparer
from workers.engine.deepseek.scheduler import Limits

log = structlog.get_logger(__name__)

ENGINE_VERSION = 1  # raise it with every change that makes pages come out differently
PREPARERS = 2  # threads that cut pages into views
IDLE_WAIT_S = 0.5
GRAVITY = ("no_eos", "truncated", "repetition", "empty")  # flags, the worst last


@dataclass
class Page:
    """A page in the engine. `prepared` until it is in the batch, then `mode`; `first`: a reading that had flags."""

    work: PageWork
    prepared: Future[Prepared] | None
    mode: Mode | None = None
    vision_tokens: int = 0
    started_at: float = 0.0
    first: PageResult | None = None


class DeepSeekEngine:
    """Reads pages with continuous batching: each has a slot of the key-value cache until its text ends.

    A page whose answer is flagged is read once more, in the next better mode; `retried_from` is then the first mode.
    Kept is the answer whose flags are less grave, and of two alike the second, which saw the page closer.
    """

    name = "deepseek"
    operations = frozenset({Operation.READ})

    def __init__(self, checkpoint: Checkpoint, limits: Limits) -> None:
        self.checkpoint = checkpoint
        self.capacity = pages_held(limits.slots)
        library = f"transformers-{version('transformers')}"
        versions = f"engine-{ENGINE_VERSION}+answers-{ANSWERS_VERSION}"
        self.revision = f"{checkpoint.family}@{checkpoint.revision}+{library}+{versions}"
        self._limits = limits
        self._pages: dict[WorkId, Page] = {}
        self._batch: ContinuousBatch | None = ContinuousBatch(checkpoint, limits)
        self._preparer = Preparer(checkpoint, limits.room)
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
        try:
            page.mode, page.vision_tokens, request = prepared.result()
            self.batch.add(request, first=page.first is not None)
        except OcrError as error:
            return self._done(page, page.first or error)
        except Exception as error:
            log.exception("page_not_prepared")
            failed = EngineFailed(f"The page could not be prepared: {type(error).__name__}.")
            return self._done(page, page.first or failed)
        page.started_at = page.started_at or time.monotonic()
        return None

    # -- a page's way out --------------------------------

    def _finished(self, one: Ended) -> PageDone | None:
        """What became of a page, or None when it goes round once more."""
        assert isinstance(one.id, WorkId)
        page = self._pages[one.id]
        result = self._result(page, one)
        if page.first is not None:
            return self._done(page, better_of(page.first, result))
        next_mode = better_mode(result.mode, self.checkpoint.family) if result.flags and result.mode else None
        if next_mode is None:
            return self._done(page, result)
        log.info("page_read_again", flags=result.flags, mode=result.mode, next_mode=next_mode)
        page.first = result
        page.prepared = self._threads.submit(self._preparer.prepare, page.work, next_mode)
        return None

    def _result(self, page: Page, one: Ended) -> PageResult:
        image, options = page.work.image, page.work.options
        # Special tokens stay: what they mark is for the parser to see. EOS is not among them.
        text = str(self.checkpoint.tokenizer.decode(list(one.tokens), skip_special_tokens=False))
        answer = parse_answer(text, width=image.width, height=image.height, ended=one.ended, options=options)
        return PageResult(
            **vars(answer),
            vision_tokens=page.vision_tokens,
            text_tokens=len(one.tokens),
            mode=page.mode,
            inference_ms=round((time.monotonic() - page.started_at) * 1000),
        )

    def _done(self, page: Page, outcome: PageResult | OcrError) -> PageDone:
        del self._pages[page.work.id]
        return PageDone(page.work.id, outcome)

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


def better_of(first: PageResult, second: PageResult) -> PageResult:
    """The reading with the less grave flags, the second when they are alike; it says that there were two."""
    kept = first if gravity(first) < gravity(second) else second
    return kept.model_copy(update={"retried_from": first.mode, "inference_ms": second.inference_ms})


def gravity(result: PageResult) -> list[int]:
    """How bad a reading's flags are, the worst of them first; to be compared."""
    return sorted((GRAVITY.index(flag) for flag in result.flags), reverse=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a step failed because memory ran out: on CUDA an error of its own, on the CPU a text."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def free_device() -> None:
    """Give the memory of tensors that nobody holds back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def load_deepseek(settings: Settings) -> DeepSeekEngine:
    """The engine for DEEPSEEK_OCR_MODEL_PATH, on the first CUDA device where one may be used; it has read a page."""
    device = "cuda" if settings.gpu_enabled and torch.cuda.is_available() else "cpu"
    if settings.cpu_threads:
        torch.set_num_threads(settings.cpu_threads)
    checkpoint = load_checkpoint(settings.model_path, revision=settings.model_revision, device=device)
    engine = DeepSeekEngine(checkpoint, limits_for(checkpoint.model, most_slots=settings.batch_size))
    engine.warm_up()
    log.info("engine_loaded", revision=engine.revision, device=device, capacity=engine.capacity)
    return engine
