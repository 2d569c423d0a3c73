"""A small process that kills what is left of our children should we be killed ourselves.

The kernel tells a child that its parent died (`workers.children`), but a child that is busy, or waits for a database
that is gone as well, may take its time, and its own children hear nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

GRACE_S = 4.0


class Guardian:
    """Our side: tells the process which groups are ours; the end of the pipe tells it that we are gone."""

    def __init__(self) -> None:
        # Alone (-I, -S) and by its path: it must run whatever becomes of us, and be light.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def watch(self, group: int) -> None:
        """Kill this process group should we die."""
        self._say(f"+{group}")

    def forget(self, group: int) -> None:
        """It has ended."""
        self._say(f"-{group}")

    def _say(self, text: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # somebody killed the guardian: nothing depends on it but a worse death
            self._process.stdin.write(text.encode() + b"\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """All has ended in order."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def guard(grace_s: float = GRACE_S) -> None:
    """The process's side: read until the pipe ends, then give the groups `grace_s` seconds and kill them."""
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and any(_is_there(group) for group in groups):
        time.sleep(0.05)
    for group in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


if __name__ == "__main__":
    guard()
