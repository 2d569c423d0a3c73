"""What a worker process holds: settings, database, blobs, dispatcher. Built once a process, anew after a fork."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

from ocr_tasks.app import app
from ocr_tasks.blobs import BlobStore
from ocr_tasks.dispatch import Dispatcher
from ocr_tasks.jobs.database import Database
from ocr_tasks.settings import Settings, get_settings
from ocr_tasks.states import States
from workers.flow import Flow
from workers.publish import Publisher


@dataclass(frozen=True)
class Runtime:
    settings: Settings
    db: Database
    blobs: BlobStore
    dispatch: Dispatcher
    flow: Flow
    publisher: Publisher


_of_process: dict[int, Runtime] = {}


def make_runtime(settings: Settings, *, pool_size: int = 5, patience_s: float = 30) -> Runtime:
    """The parts that the settings name, joined. patience_s: of the database."""
    db = Database(settings, pool_size=pool_size, patience_s=patience_s)
    blobs, dispatch = BlobStore(settings.blobs_url), Dispatcher(app)
    publisher = Publisher(States(settings.broker_url), db, blobs)
    return Runtime(settings, db, blobs, dispatch, Flow(settings, db, dispatch, publisher), publisher)


def runtime() -> Runtime:
    """This process's runtime."""
    pid = os.getpid()
    if pid not in _of_process:
        for inherited in _of_process.values():
            # Kept, not closed: closing here would say goodbye on the parent's connections.
            inherited.db.forget_connections()
        _of_process[pid] = make_runtime(get_settings())
    return _of_process[pid]


@lru_cache(maxsize=1)
def impatient_runtime() -> Runtime:
    """For a worker's parent process, whose event loop must not stand still while Postgres is away."""
    return make_runtime(get_settings(), pool_size=1, patience_s=1)
