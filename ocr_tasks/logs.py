"""Structured logs: one JSON object a line, or text for people; job and page ids are bound where they are known."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from ocr_tasks.settings import Settings

NOISY = ("urllib3", "httpx", "httpcore", "PIL", "kombu", "amqp", "celery.worker.strategy", "celery.app.trace",
         "celery.utils.functional", "markdown_it", "redis", "fsspec", "asyncio")  # fmt: skip


def configure_logs(settings: Settings, **context: Any) -> None:
    """Send this process's logs, the libraries' included, to stderr; `context` goes into every line."""

    def add_context(_logger: Any, _method: str, event: Any) -> Any:
        # Not bound to a context variable: threads that libraries start would not have it.
        return {**context, **event}

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        add_context,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def for_people(settings: Settings) -> Settings:
    """Settings with logs as text where a terminal shows them."""
    return settings.model_copy(update={"log_format": "console"}) if sys.stderr.isatty() else settings
