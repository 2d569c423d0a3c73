"""Which engine a job goes to."""

from __future__ import annotations

from ocr_tasks.contract import ENGINE_OPERATIONS, OcrOptions
from ocr_tasks.errors import OperationUnavailable
from ocr_tasks.kinds.options import CrawlOptions, DecompressOptions, JobOptions, TokenOptions
from ocr_tasks.settings import Settings


def check_operations(engine: str, options: JobOptions) -> None:
    """Refuse what an engine cannot do; raises OperationUnavailable, which says what to configure."""
    wanted = options.operations()
    missing = wanted - ENGINE_OPERATIONS[engine]
    if not missing:
        return
    able = [name for name, operations in ENGINE_OPERATIONS.items() if wanted <= operations]
    advice = f"Set OCR_ENGINE={' or '.join(able)}." if able else "No engine of this version can."
    what, field = _needing(options)
    raise OperationUnavailable(
        f"{what} needs an engine that can {min(missing)}; OCR_ENGINE is {engine!r}, which cannot. {advice}",
        **({"field": field, "value": True} if field else {"value": str(min(missing))}),
    )


def _needing(options: JobOptions) -> tuple[str, str | None]:
    """What asks for the operations of a job, for people, and the option that does if it is one."""
    if isinstance(options, OcrOptions):
        return "`compression`", "compression"
    if isinstance(options, CrawlOptions):
        return "`compress`", "compress"
    return ("Decompressing" if isinstance(options, DecompressOptions) else "Compressing"), None


def settled(settings: Settings, options: JobOptions) -> tuple[str, JobOptions]:
    """A job's engine, and its options with what was left open decided; raises OperationUnavailable."""
    if isinstance(options, CrawlOptions) and options.compress is None:
        able = ENGINE_OPERATIONS[settings.engine]
        chosen = options.model_copy(update={"compress": True})
        options = chosen if chosen.operations() <= able else options.model_copy(update={"compress": False})
    if isinstance(options, TokenOptions) and options.mode == "auto" and options.min_quality is None:
        ratio = options.compression_ratio or settings.compression_ratio
        options = options.model_copy(update={"compression_ratio": ratio})
    check_operations(settings.engine, options)
    return settings.engine, options
