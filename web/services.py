"""What the routes use: settings, database, blobs, dispatcher and the places for callers that wait."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from ocr_tasks.app import make_app
from ocr_tasks.blobs import BlobStore
from ocr_tasks.dispatch import Dispatcher
from ocr_tasks.jobs.database import Database
from ocr_tasks.settings import Settings
from web.waiting import Waiters


@dataclass(frozen=True)
class Services:
    settings: Settings
    db: Database
    blobs: BlobStore
    dispatch: Dispatcher
    waiters: Waiters

    @classmethod
    def of(cls, settings: Settings) -> Services:
        """Services on the servers that the settings name, impatient: a caller waits at the other end."""
        db = Database(settings, patience_s=2, pool_size=8)
        # Its jobs are listed here, waiting ones too: an event more would cost a submit a tenth of its time.
        dispatch = Dispatcher(make_app(settings, socket_timeout_s=1, sent_events=False))
        return cls(settings, db, BlobStore(settings.blobs_url), dispatch, Waiters(settings.max_waiters))


def services() -> Services:
    """The services of the application that handles this request."""
    found: Services = current_app.extensions["services"]
    return found
