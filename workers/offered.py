"""Which engine of vision tokens a stack on one machine brings along when nobody has chosen one."""

from __future__ import annotations

from ocr_tasks.contract import ENGINE_OPERATIONS, Operation
from ocr_tasks.settings import Settings
from workers.engine.deepseek import nano

TOKENS = frozenset({Operation.ENCODE, Operation.DECODE})


def offers_nano(settings: Settings) -> bool:
    """Whether nano is to serve vision tokens: OCR_TOKEN_ENGINE is not set, OCR_ENGINE has none, and nano can be shown.

    Set to nothing, OCR_TOKEN_ENGINE keeps it away.
    """
    chosen = "token_engine" in settings.model_fields_set or ENGINE_OPERATIONS[settings.engine] >= TOKENS
    return not chosen and nano.can_run()
