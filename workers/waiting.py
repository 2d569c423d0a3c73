"""The pages that wait for an engine: best lane first, jobs of a lane in turn, images decoded shortly before."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ocr_tasks.contract import PageResult, Priority
from ocr_tasks.errors import OcrError
from workers.engine import PageDone, PageWork, WorkId
from workers.fairness import FairTags
from workers.visual import VisionTokens

LANES = {Priority.INTERACTIVE: 0, Priority.BULK: 1}
DECODERS = 2  # images are decoded beside the engine; Pillow lets go of the interpreter meanwhile


class Withdrawn(Exception):
    """The page left the batcher unread, through no fault of its own."""


@dataclass(frozen=True)
class Answer:
    """A page as the engine left it (see PageDone); `waited_ms` counts from its submission to its admission."""

    outcome: PageResult | OcrError
    waited_ms: int
    tokens: VisionTokens | None = None
    source_text_tokens: int | None = None


@dataclass
class Entry:
    """A page on its way through the batcher. `admitted_at`: when it last entered the engine, 0 before that."""

    work: PageWork
    rank: tuple[int, int, int]  # lane, fair tag, arrival
    decoded: Future[object] | None = None  # of its image, once its turn is near
    future: Future[Answer] = field(default_factory=Future)
    submitted_at: float = field(default_factory=time.monotonic)
    admitted_at: float = 0.0

    def __lt__(self, other: Entry) -> bool:
        return self.rank < other.rank

    def answer(self, done: PageDone) -> None:
        """It has been in the engine, and this came of it."""
        waited_ms = int((self.admitted_at - self.submitted_at) * 1000)
        self.future.set_result(Answer(done.outcome, waited_ms, done.tokens, done.source_text_tokens))

    def fail(self, error: OcrError) -> None:
        """It has been in the engine, and nothing came of it."""
        self.answer(PageDone(self.work.id, error))

    def is_loaded(self) -> bool:
        """Wait for its image or vision tokens; a page that has none ends, and the node does not."""
        assert self.decoded is not None
        error = self.decoded.exception()
        if error is not None:
            self.future.set_exception(error)
        return error is None


class WaitingList:
    """A heap of entries; within a lane, start-time fair queueing over jobs. Its owner holds a lock around each call."""

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self._fair = FairTags()
        self._arrivals = itertools.count()
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="batcher-decoder")

    def __len__(self) -> int:
        return len(self._heap)

    def entry_of(self, work: PageWork) -> Entry:
        """A page with its rank, not waiting yet."""
        return Entry(work, (LANES[work.priority], self._fair.tag(work.id.job_id), next(self._arrivals)))

    def add(self, entry: Entry) -> None:
        heapq.heappush(self._heap, entry)

    def add_again(self, entries: Iterable[Entry], *, alone: bool = False) -> None:
        """Put entries back where they stood, their images let go of; `alone`: to be run one at a time."""
        for entry in entries:
            entry.work, entry.decoded = replace(entry.work, alone=entry.work.alone or alone), None
            heapq.heappush(self._heap, entry)

    def take(self, has_room: Callable[[Entry, list[Entry]], bool]) -> list[Entry]:
        """The best entries, as long as there is room for one more beside those taken."""
        taken: list[Entry] = []
        while self._heap and has_room(self._heap[0], taken):
            taken.append(heapq.heappop(self._heap))
        self._fair.served(entry.rank[1] for entry in taken)
        return taken

    def best(self, count: int) -> list[Entry]:
        """Those whose turn is near; they go on waiting."""
        return heapq.nsmallest(count, self._heap)

    def drop(self, ids: Collection[WorkId] | None) -> list[Entry]:
        """Take these pages out, or all for None; ids that do not wait are no error."""
        dropped = [entry for entry in self._heap if ids is None or entry.work.id in ids]
        if dropped:
            self._heap = [entry for entry in self._heap if ids is not None and entry.work.id not in ids]
            heapq.heapify(self._heap)
        return dropped

    def never_admitted(self) -> list[WorkId]:
        """The pages that were never in the engine."""
        return [entry.work.id for entry in self._heap if not entry.admitted_at]

    def decode(self, entries: Iterable[Entry]) -> None:
        """Have the images of entries decoded, in this order; needs no lock."""
        for entry in entries:
            entry.decoded = entry.decoded or self._decoders.submit(_load, entry.work)

    def close(self) -> None:
        self._decoders.shutdown(cancel_futures=True)


def _load(work: PageWork) -> object:
    return work.loaded
