"""What an engine is asked for about a page whose vision tokens are wanted, and what that was worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

from ocr_tasks.contract import Mode, Operation, PageResult
from ocr_tasks.jobs.reading import StoredTokens
from ocr_tasks.kinds.options import JobOptions, TokenOptions
from workers.engine import PageWork
from workers.quality import quality
from workers.visual import pack, unpack
from workers.waiting import Answer

READ, ENCODE, DECODE = Operation.READ, Operation.ENCODE, Operation.DECODE
MODES: tuple[Mode, ...] = get_args(Mode)  # from the fewest vision tokens to the most

Submit = Callable[[PageWork], Answer]
"""Has the engine work on a page, and waits for what comes of it."""


@dataclass(frozen=True)
class Worked:
    """A page as its engine left it.

    container: its vision tokens as they are stored, if it was encoded; quality: of what they decode to.
    """

    answer: Answer
    container: bytes | None = None
    stored: StoredTokens | None = None
    quality: float | None = None


def worked_on(work: PageWork, options: JobOptions, submit: Submit) -> Worked:
    """Work on a page as its job wants; with `min_quality`, in one mode after the other until one is good enough.

    When none is, the best one is kept: its quality tells.
    """
    if not isinstance(options, TokenOptions) or options.min_quality is None or ENCODE not in work.operations:
        return _tried(work, options, submit)
    best: Worked | None = None
    seen = -1  # the best mode so far
    for at, mode in enumerate(MODES):
        if at <= seen:
            continue  # the checkpoint lacks a worse one, and worked in this one instead
        tried = _tried(replace(work, options=work.options.model_copy(update={"mode": mode})), options, submit)
        result = tried.answer.outcome
        if not isinstance(result, PageResult) or tried.quality is None:
            return tried if best is None else best
        if best is None or tried.quality > (best.quality or 0):
            best = tried
        if tried.quality >= options.min_quality:
            return tried
        seen = MODES.index(result.mode or mode)
    assert best is not None
    return best


def _tried(work: PageWork, options: JobOptions, submit: Submit) -> Worked:
    verified = {READ, ENCODE, DECODE} == work.operations  # more than one pass can do
    answer = submit(replace(work, operations=frozenset({READ, ENCODE})) if verified else work)
    if answer.tokens is None:
        return Worked(answer)
    dtype = options.dtype if isinstance(options, TokenOptions) else "int8"
    container = pack(answer.tokens, dtype)
    stored = StoredTokens(
        dtype=dtype, model=answer.tokens.model, revision=answer.tokens.revision, size_bytes=len(container)
    )
    decoded = answer
    if verified:
        decoding = frozenset({DECODE})
        decoded = submit(replace(work, load=lambda: unpack(container), operations=decoding, source_text=None))
    return Worked(answer, container, stored, _quality(work, decoded))


def _quality(work: PageWork, decoded: Answer) -> float | None:
    """Of what vision tokens decode to: None where they were not decoded, or nobody knows what stands on the page."""
    if DECODE not in work.operations or work.source_text is None or not isinstance(decoded.outcome, PageResult):
        return None
    return quality(decoded.outcome.text, work.source_text)
