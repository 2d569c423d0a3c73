"""Starts children that cannot outlive their parent."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOG_LIMIT_BYTES = 10 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)  # loaded here: between fork and exec is no time for imports


@dataclass(frozen=True)
class Account:
    """The user and group that a child runs as."""

    uid: int
    gid: int


def unprivileged(*folders: Path) -> Account | None:
    """Who a server should run as: None (as we are) unless we are root.

    For root the first of `folders` that exists and belongs to somebody else decides; failing that it is `nobody`.
    """
    if os.geteuid() != 0:
        return None
    for folder in folders:
        if folder.exists() and (uid := folder.stat().st_uid) != 0:
            return Account(uid, _group_of(uid, folder.stat().st_gid))
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid)


def _group_of(uid: int, fallback: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:  # a volume may belong to a number that has no name here
        return fallback


def identity(account: Account | None) -> dict[str, Any]:
    """The arguments of `subprocess` that make a child run as `account`, in folders that all may enter."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": [], "cwd": "/"}


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path | None,
    env: Mapping[str, str] | None = None,
    account: Account | None = None,
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    death_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start `argv` with its output in `log` (None: where ours goes).

    `death_signal` is sent to it should this process die.

    The kernel ties the child to the *thread* that calls this: call it from one that lives as long as the child should.
    """
    if log is not None:
        rotate(log)
    with log.open("ab") if log is not None else nullcontext() as output:
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT if output is not None else None,
            env=dict(env) if env is not None else None,
            pass_fds=pass_fds,
            # A session of its own: a Ctrl-C reaches only us, and the order in which children stop stays ours.
            start_new_session=True,
            # Python calls this after it changed the user, as it must be: that change would clear the death signal.
            preexec_fn=tie_to(os.getpid(), death_signal),
            **identity(account),
        )


def tie_to(parent: int, death_signal: signal.Signals) -> Callable[[], None]:
    """What a child runs before its program, so that the end of `parent` sends it this signal."""

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # a blocked signal would stay blocked in the child
        if os.getppid() != parent:  # it died before the call above: nobody is left to send that signal
            os._exit(1)

    return tie


def become_subreaper() -> None:
    """From now on orphans among the processes below this one become its children, whose ends it can wait for."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def rotate(log: Path) -> None:
    """Put a log that has grown past LOG_LIMIT_BYTES aside; one old one is kept."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_name(log.name + ".1"))


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""
