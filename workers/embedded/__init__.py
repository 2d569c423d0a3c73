"""Real Postgres and Redis servers with private data folders, for one machine (`lightdom-ocr up`) and for tests."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path

__all__ = ["EmbeddedServerError", "free_port", "server_environment", "stored_secret"]


class EmbeddedServerError(Exception):
    """A server could not be started; the text says why and what to do."""


def free_port() -> int:
    """A loopback port that nobody listens on; somebody may take it before it is used, so be ready to ask again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stored_secret(file: Path) -> str:
    """The password in `file`, made up and written (mode 0600) the first time."""
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        secret = secrets.token_urlsafe(24)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(secret + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    return secret


def server_environment() -> dict[str, str]:
    """What a server needs of our environment: nothing secret, as other processes of its user can read it."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}
