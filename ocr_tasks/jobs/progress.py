"""How far a job is: its counters, as every statement that moves them returns them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import RowMapping

from ocr_tasks.contract import Kind, Priority, Status

PROGRESS = (
    "jobs.id, jobs.kind, jobs.status, jobs.priority, jobs.engine, "
    "jobs.pages_total, jobs.pages_released, jobs.pages_succeeded, jobs.pages_failed, jobs.direct"
)


@dataclass(frozen=True)
class Progress:
    """A job's counters in pages; `total` is None until its source was inspected."""

    job_id: UUID
    kind: Kind
    status: Status
    priority: Priority
    engine: str
    total: int | None
    released: int
    succeeded: int
    failed: int
    direct: bool

    @property
    def in_flight(self) -> int:
        """Pages released and not ended."""
        return self.released - self.succeeded - self.failed


def progress_of(row: RowMapping) -> Progress:
    """The counters in a row of `PROGRESS` columns."""
    return Progress(
        job_id=row["id"],
        kind=Kind(row["kind"]),
        status=Status(row["status"]),
        priority=Priority(row["priority"]),
        engine=row["engine"],
        total=row["pages_total"],
        released=row["pages_released"],
        succeeded=row["pages_succeeded"],
        failed=row["pages_failed"],
        direct=row["direct"],
    )
