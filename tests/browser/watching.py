"""What a browser holds: memory, processes, files."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from workers.sources.browser import Browser
from workers.sources.browser.folder import PREFIX
from workers.sources.browser.process import members, own_bytes


@dataclass(frozen=True)
class Held:
    """Memory in MiB: of the browser, and of this process; `processes` and zombies of its group; open files; folders."""

    browser_mb: float
    own_mb: float
    processes: int
    files: int
    folders: int
    written_mb: float


def held_by(browser: Browser) -> Held:
    group = browser.group
    pids = members(group) if group is not None else []
    folders = list(Path(tempfile.gettempdir()).glob(f"{PREFIX}{os.getpid()}-*"))
    own = psutil.Process()
    return Held(
        browser_mb=sum(map(own_bytes, pids)) / 2**20,
        own_mb=own.memory_full_info().uss / 2**20,
        processes=len(pids) + len(own.children()),
        files=own.num_fds(),
        folders=len(folders),
        written_mb=sum(_size(path) for folder in folders for path in folder.rglob("*")) / 2**20,
    )


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size if path.is_file() else 0
    except OSError:  # gone meanwhile
        return 0
