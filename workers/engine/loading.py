"""The engine that the settings name, loaded and warmed up."""

from __future__ import annotations

from ocr_tasks.errors import OperationUnavailable
from ocr_tasks.settings import Settings
from workers.engine import Engine


def load_engine(settings: Settings) -> Engine:
    """Import and build the engine of OCR_ENGINE; raises OperationUnavailable for one that there is not."""
    if settings.engine == "rapid":
        from workers.engine.rapid import RapidEngine

        return RapidEngine(cpu_threads=settings.cpu_threads)
    if settings.engine == "deepseek":
        from workers.engine.apart import ApartEngine

        # In its own process: see there what the node's threads would cost its loop.
        return ApartEngine(settings, "workers.engine.deepseek.engine:load_deepseek")
    if settings.engine == "nano":
        from workers.engine.deepseek.engine import load_nano

        return load_nano(settings)
    if settings.engine == "endpoint":
        from workers.engine.endpoint import EndpointEngine

        return EndpointEngine(settings)
    raise OperationUnavailable(f"OCR_ENGINE={settings.engine}: there is no such engine.")
