"""What a benchmark found: lines of a plain table, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Finding:
    """One number. `goal`: the least it should be, or with `at_most` the most."""

    what: str
    value: float
    unit: str
    goal: float | None = None
    at_most: bool = False

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        reached = self.value <= self.goal if self.at_most else self.value >= self.goal
        return "reached" if reached else "MISSED"


def interleaved(rounds: int, **runs: Callable[[], float]) -> dict[str, float]:
    """The median of each run's numbers; they take turns, so that a busy minute hits all of them alike."""
    numbers: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            numbers[name].append(run())
    return {name: median(found) for name, found in numbers.items()}


def table(findings: Sequence[Finding]) -> str:
    """The findings for people."""
    rows = [("what", "value", "unit", "goal", "")]
    for found in findings:
        sign = "<=" if found.at_most else ">="
        goal = "" if found.goal is None else f"{sign} {found.goal:g}"
        value = f"{found.value:.3g}" if abs(found.value) < 1000 else f"{found.value:.0f}"
        rows.append((found.what, value, found.unit, goal, found.verdict))
    widths = [max(len(row[n]) for row in rows) for n in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def write_json(findings: Sequence[Finding], path: Path) -> None:
    """The findings for programs, with the machine they were made on."""
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    path.write_text(json.dumps({"machine": machine, "findings": [asdict(found) for found in findings]}, indent=1))
