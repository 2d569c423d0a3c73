"""The reconciler: a process of its own that sends again what a crash left behind, and clears what is over."""

from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime

import redis
import structlog

from ocr_tasks.contract import queues
from ocr_tasks.dispatch import message_key
from ocr_tasks.errors import OcrError, ParserDied
from ocr_tasks.jobs.inspecting import inspect_died
from ocr_tasks.jobs.nodes import forget_stale_nodes
from ocr_tasks.jobs.ranges import range_died
from ocr_tasks.jobs.retention import expire_jobs, unreferenced
from ocr_tasks.jobs.statistics import Rounds
from ocr_tasks.jobs.sweeping import (
    Pauses,
    Unsent,
    anything_due,
    drop_orphaned_ranges,
    jobs_with_room,
    lost_inspections,
    lost_ranges,
    recover_pages,
    server_time,
    take_unsent,
)
from ocr_tasks.jobs.views import get_job_row, route_of
from workers.runtime import Runtime

log = structlog.get_logger(__name__)

HOUSEKEEPING_S = 3600
BLOBS_AT_ONCE = 500
STATISTICS_S = 10


@dataclass
class Reconciler:
    """Passes over the rows again and again; several may run at once."""

    runtime: Runtime
    over: threading.Event = field(default_factory=threading.Event)
    looked_at: float = field(default_factory=time.monotonic)
    steady_since: float = field(default_factory=time.monotonic)
    kept_house_at: float = float("-inf")
    statistics: Rounds = field(default_factory=lambda: Rounds(STATISTICS_S))

    def run(self) -> None:
        """Pass after pass until SIGTERM or SIGINT. A pass that fails is logged, and the next one tries again."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.over.set())
        log.info("reconciler_ready")
        while not self.over.wait(self.runtime.settings.reconcile_s):
            try:
                self.pass_once()
            except (OcrError, redis.RedisError) as error:
                log.warning("pass_failed", error=str(error)[:200])
            except Exception:
                log.exception("pass_crashed")

    def pass_once(self) -> None:
        now = self.look_at_clock()
        if self.may_judge_leases():
            self.recover(now)
        self.release()
        self.resend()
        self.publish()
        self.statistics.roll_up_if_due(self.runtime.db)
        if time.monotonic() - self.kept_house_at > HOUSEKEEPING_S:
            self.keep_house()
            self.kept_house_at = time.monotonic()

    def look_at_clock(self) -> datetime:
        """The database's time; notes when we could not ask for it for a while."""
        now = server_time(self.runtime.db)
        if time.monotonic() - self.looked_at > self.runtime.settings.lease_s / 3:
            self.steady_since = time.monotonic()
        self.looked_at = time.monotonic()
        return now

    def may_judge_leases(self) -> bool:
        """Whether holders have been able to renew their leases lately.

        When the database was away, all have run out at once: who lives gets the time to say so.
        """
        return time.monotonic() - self.steady_since > self.runtime.settings.lease_s / 2

    def recover(self, before: datetime) -> None:
        """Rows whose holder stopped renewing its lease, which ran out before this time.

        The time was asked for earlier: a statement that a frozen database answers late must not see more run out.
        """
        settings, db, dispatch = self.runtime.settings, self.runtime.db, self.runtime.dispatch
        limits = {"failures": settings.page_failures, "losses": settings.max_losses}
        drop_orphaned_ranges(db)
        for job_id in lost_inspections(db, before):
            if inspect_died(db, job_id, charge=False, before=before, **limits):
                log.info("inspection_recovered", job_id=str(job_id))
                dispatch.entry(job_id, route_of(get_job_row(db, job_id)))
        for range_id in lost_ranges(db, before):
            error = ParserDied("The processes that rasterised this page died, again and again.")
            died = range_died(db, range_id, charge=False, error=error, before=before, **limits)
            if died is not None:
                log.info("range_recovered", job_id=str(died.job_id), range_id=range_id)
                dispatch.ranges(died.job_id, died.range_ids, get_job_row(db, died.job_id)["priority"])
                self.runtime.flow.after(died.progress)
        for page in recover_pages(db, before, lease_s=settings.lease_s, **limits):
            log.info("page_recovered", job_id=str(page.job_id), page_no=page.page_no, node=page.node)
            if page.queued:
                dispatch.pages(page.job_id, [page.page_no], page.engine, page.priority)
            self.runtime.flow.after(page.progress)

    def release(self) -> None:
        """Jobs whose window has room: capacity has grown, or whoever should have gone on died before it could."""
        for job_id, engine, priority in jobs_with_room(self.runtime.db):
            self.runtime.flow.release(job_id, engine, priority)

    def resend(self) -> None:
        """Rows that wait for a message which no queue holds any more."""
        settings = self.runtime.settings
        pauses = Pauses(resend_s=settings.resend_s, lease_s=settings.lease_s)
        if not anything_due(self.runtime.db, pauses):
            return
        unsent = take_unsent(self.runtime.db, pauses, self.held_keys())
        for row in unsent:
            self._send(row)
        if unsent:
            log.info("sent_again", messages=len(unsent))

    def _send(self, row: Unsent) -> None:
        dispatch = self.runtime.dispatch
        if row.page_no is not None:
            dispatch.pages(row.job_id, [row.page_no], row.engine, row.priority)
        elif row.range_id is not None:
            dispatch.ranges(row.job_id, [row.range_id], row.priority)
        elif row.finishing:
            dispatch.finish(row.job_id, row.priority)
        elif row.route is not None:
            dispatch.entry(row.job_id, row.route)

    def publish(self) -> None:
        """What direct callers were not told, or what Redis has forgotten since."""
        published = self.runtime.publisher.forgotten()
        if published:
            log.info("ends_published", jobs=published)

    def held_keys(self) -> set[str]:
        """What the messages are about that wait in the queues.

        Fetched messages do not count: a live worker claims their rows within moments, a dead one never will.
        """
        url = self.runtime.settings.broker_url
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2) as client:
            return {key for queue in queues() for raw in client.lrange(queue, 0, -1) if (key := _key(raw))}

    def keep_house(self) -> None:
        """Let go of what is past its retention time, and of bytes that nobody refers to."""
        settings, db, blobs = self.runtime.settings, self.runtime.db, self.runtime.blobs
        grace_s, expired, deleted = settings.blob_grace_h * 3600, 0, 0
        forget_stale_nodes(db)
        blobs.clear_spool(grace_s)
        while taken := expire_jobs(db, settings.retention_days):
            expired += taken
        old = list(blobs.older_than(grace_s))
        for start in range(0, len(old), BLOBS_AT_ONCE):
            for key in unreferenced(db, old[start : start + BLOBS_AT_ONCE]):
                deleted += blobs.delete_older(key, grace_s)
        if expired or deleted:
            log.info("house_kept", jobs_expired=expired, blobs_deleted=deleted)


def _key(raw: bytes) -> str | None:
    task_id = json.loads(raw).get("headers", {}).get("id")
    return message_key(task_id) if task_id else None
