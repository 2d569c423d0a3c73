"""Which engine a job goes to."""

from __future__ import annotations

from ocr_tasks.contract import ENGINE_OPERATIONS, NOTICES, OcrOptions, Operation
from ocr_tasks.errors import OperationUnavailable
from ocr_tasks.kinds.options import CrawlOptions, DecompressOptions, JobOptions, TokenOptions
from ocr_tasks.settings import Settings


def check_operations(engine: str, options: JobOptions) -> None:
    """Refuse what an engine cannot do; raises OperationUnavailable, which says what to configure."""
    wanted = options.operations()
    missing = wanted - ENGINE_OPERATIONS[engine]
    if not missing:
        return
    what, field = _needing(options)
    raise OperationUnavailable(
        f"{what} needs an engine that can {min(missing)}; OCR_ENGINE is {engine!r}, which cannot. {_advice(wanted)}",
        **({"field": field, "value": True} if field else {"value": str(min(missing))}),
    )


def _advice(wanted: frozenset[Operation]) -> str:
    able = [name for name, operations in ENGINE_OPERATIONS.items() if wanted <= operations]
    real = [name for name in able if name not in NOTICES]
    return (
        f"Set OCR_ENGINE={' or '.join(real)}, or OCR_TOKEN_ENGINE={' or '.join(able)} to have another engine do it "
        f"({'; '.join(NOTICES[name] for name in able if name in NOTICES)})."
    )


def _needing(options: JobOptions) -> tuple[str, str | None]:
    """What asks for the operations of a job, for people, and the option that does if it is one."""
    if isinstance(options, OcrOptions):
        return "`compression`", "compression"
    if isinstance(options, CrawlOptions):
        return "`compress`", "compress"
    return ("Decompressing" if isinstance(options, DecompressOptions) else "Compressing"), None


def settled(settings: Settings, options: JobOptions) -> tuple[str, JobOptions]:
    """A job's engine, and its options with what was left open decided; raises OperationUnavailable.

    OCR_TOKEN_ENGINE gets only what asks for vision tokens: it would read the page as well, so a crawl that leaves them
    open has none of it.
    """
    if isinstance(options, CrawlOptions) and options.compress is None:
        able = ENGINE_OPERATIONS[settings.engine]
        chosen = options.model_copy(update={"compress": True})
        options = chosen if chosen.operations() <= able else options.model_copy(update={"compress": False})
    if isinstance(options, TokenOptions) and options.mode == "auto" and options.min_quality is None:
        ratio = options.compression_ratio or settings.compression_ratio
        options = options.model_copy(update={"compression_ratio": ratio})
    engine = engine_for(settings, options)
    check_operations(engine, options)
    return engine, options


def engine_for(settings: Settings, options: JobOptions) -> str:
    """OCR_ENGINE, or OCR_TOKEN_ENGINE for what only that one can do."""
    wanted, other = options.operations(), settings.token_engine
    if other is not None and wanted <= ENGINE_OPERATIONS[other] and not wanted <= ENGINE_OPERATIONS[settings.engine]:
        return other
    return settings.engine
