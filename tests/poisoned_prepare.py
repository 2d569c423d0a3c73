"""A preparing worker whose parser dies, or never ends, on pages of certain heights.

Run instead of `lightdom-ocr worker prepare`:  python -m tests.poisoned_prepare
or instead of the child that `read` parses in:  python -m tests.poisoned_prepare child
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from ocr_tasks.logs import configure_logs
from ocr_tasks.settings import get_settings
from workers.sources.documents import Limits, PageFailure, PageImage, rasterise

# Heights in pixels of pages that the parser does not survive.
PARSER_DIES, PARSER_HANGS = 302, 303


def poisoned(
    path: Path, media_type: str, page_nos: Sequence[int], *, limits: Limits, password: str | None = None
) -> Iterator[PageImage | PageFailure]:
    """Rasterise for real, then do what the page's height says."""
    for page in rasterise(path, media_type, page_nos, limits=limits, password=password):
        if isinstance(page, PageImage) and page.height == PARSER_DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        if isinstance(page, PageImage) and page.height == PARSER_HANGS:
            threading.Event().wait()
        yield page


def main() -> None:
    if "child" in sys.argv:
        from workers.sources import child

        setattr(child, "rasterise", poisoned)  # noqa: B010 - mypy knows it as an import only
        child.main()
        return
    from workers import prepare
    from workers.celery_worker import run_prepare_worker

    setattr(prepare, "rasterise", poisoned)  # noqa: B010 - as above
    configure_logs(get_settings(), worker="poisoned")
    sys.exit(run_prepare_worker(get_settings(), children=2))


if __name__ == "__main__":
    main()
