"""Any program of the stack, with every message it sends delivered twice.

Run instead of the program:  python -m tests.doubled worker prepare;  python -m tests.doubled simulated 0
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ocr_tasks.contract import TaskName
from ocr_tasks.dispatch import Dispatcher

if TYPE_CHECKING:
    from flask import Flask

_once = Dispatcher._send


def _twice(self: Dispatcher, name: TaskName, task_id: str, queue: str, kwargs: dict[str, object]) -> bool:
    sent = [_once(self, name, task_id, queue, kwargs) for _ in range(2)]
    return all(sent)


setattr(Dispatcher, "_send", _twice)  # noqa: B010 - mypy wants methods left alone


def create_app() -> Flask:
    """For gunicorn: `tests.doubled:create_app()`."""
    import web

    return web.create_app()


def main() -> None:
    if sys.argv[1] == "simulated":
        from tests import simulated

        sys.argv = sys.argv[1:]
        simulated.main()
    else:
        from ocr_tasks.cli import main as command_line

        command_line()


if __name__ == "__main__":
    main()
