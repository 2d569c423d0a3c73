"""Several processes that train one model together, each on its share of every batch.

On a CPU, two processes of one thread each do half as much again as one of two: its threads wait for each other in every
small operation, theirs once a step.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torch.nn import Parameter


@dataclass(frozen=True)
class Team:
    """The place of this process in its team, which may be alone."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and talks."""
        return self.rank == 0

    def average(self, parameters: Sequence[Parameter], numbers: Sequence[float]) -> list[float]:
        """Average gradients, in place, and numbers over the team.

        Parameters without a gradient must be the same in all processes.
        """
        if self.size == 1:
            return list(numbers)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), torch.tensor(numbers)])
        distributed.all_reduce(flat)
        flat /= self.size
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()
        return flat[start:].tolist()

    def gather(self) -> None:
        """Wait until all are here."""
        if self.size > 1:
            distributed.barrier()


def run_team(size: int, folder: Path, work: Callable[[Team], None]) -> None:
    """Do work in so many processes at once, this one if it is one; raises when any of them fails.

    folder: where they find each other. SIGINT and SIGTERM are handed on to all of them.
    """
    if size == 1:
        work(Team())
        return
    folder.mkdir(parents=True, exist_ok=True)
    meeting = folder / "meeting"
    meeting.unlink(missing_ok=True)  # of a team that was killed
    try:
        members: Any = spawn(_member, (size, meeting, work), nprocs=size, join=False)
        for number in (signal.SIGINT, signal.SIGTERM):  # whoever ends the team asks this process
            signal.signal(number, lambda _number, _frame: [member.terminate() for member in members.processes])
        while not members.join():
            pass
    finally:
        meeting.unlink(missing_ok=True)


def _member(rank: int, size: int, meeting: Path, work: Callable[[Team], None]) -> None:
    torch.set_num_threads(max(1, torch.get_num_threads() // size))
    distributed.init_process_group("gloo", f"file://{meeting.resolve()}", rank=rank, world_size=size)
    try:
        work(Team(rank, size))
    finally:
        distributed.destroy_process_group()
