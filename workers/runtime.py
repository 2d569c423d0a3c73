"""What a worker process holds: settings, database, blobs, dispatcher. Built once a process, anew after a fork."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ocr_tasks.app import app
from ocr_tasks.blobs import BlobStore
from ocr_tasks.dispatch import Dispatcher
from ocr_tasks.jobs.database import Database
from ocr_tasks.settings import Settings, get_settings
from workers.flow import Flow


@dataclass(frozen=True)
class Runtime:
    settings: Settings
    db: Database
    blobs: BlobStore
    dispatch: Dispatcher
    flow: Flow


_of_process: dict[int, Runtime] = {}


def make_runtime(settings: Settings, *, pool_size: int = 5) -> Runtime:
    """The parts that the settings name, joined."""
    db = Database(settings, pool_size=pool_size)
    dispatch = Dispatcher(app)
    return Runtime(settings, db, BlobStore(settings.blobs_url), dispatch, Flow(settings, db, dispatch))


def runtime() -> Runtime:
    """This process's runtime."""
    pid = os.getpid()
    if pid not in _of_process:
        for inherited in _of_process.values():
            # Kept, not closed: closing here would say goodbye on the parent's connections.
            inherited.db.forget_connections()
        _of_process[pid] = make_runtime(get_settings())
    return _of_process[pid]
