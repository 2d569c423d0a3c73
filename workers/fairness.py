"""Turns: which job's page goes next, when several jobs wait in one lane."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID


class FairTags:
    """Start-time fair queueing: each job's pages get rising tags; a job that arrives starts at the present."""

    def __init__(self) -> None:
        self.now = 0
        self.last: dict[UUID, int] = {}

    def tag(self, job_id: UUID) -> int:
        """The tag of a job's next page; lower goes first."""
        self.last[job_id] = max(self.now, self.last.get(job_id, 0)) + 1
        return self.last[job_id]

    def served(self, tags: Iterable[int]) -> None:
        """Time moves on to the tags that were served; jobs that lie behind it are forgotten."""
        self.now = max([self.now, *tags])
        self.last = {job_id: tag for job_id, tag in self.last.items() if tag > self.now}
