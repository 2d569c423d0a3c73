"""A private Redis: a free loopback port, a password, nothing on disk (Postgres is the truth)."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import redis

from workers.children import Account, spawn, tail, unprivileged
from workers.embedded import EmbeddedServerError, free_port, server_environment, stored_secret
from workers.embedded.binaries import Binary, working_redis

log = logging.getLogger(__name__)


class EmbeddedRedis:
    """One Redis for the broker and the caches; what it forgets, the reconciler sends again."""

    stop_signal = signal.SIGTERM

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.absolute()
        self.log = self.data_dir / "log" / "redis.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._binary: Binary | None = None
        self._account: Account | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def url(self) -> str:
        return f"redis://:{self._password()}@127.0.0.1:{self.port}/0"

    def _password(self) -> str:
        return stored_secret(self.data_dir / "redis.password")

    def start(self, timeout_s: float = 20) -> str:
        """Start it and return its URL once it answers."""
        deadline = time.monotonic() + timeout_s
        self.prepare()
        for attempts_left in (2, 1, 0):
            self.spawn()
            try:
                self.wait_until_ready(deadline)
                break
            except BaseException as error:
                self.stop(timeout_s=5)
                # Somebody took the port since it was chosen.
                if attempts_left == 0 or "already in use" not in str(error):
                    raise
                self.port = free_port()
        return self.url

    def prepare(self) -> None:
        """Choose binary, account and port."""
        (self.data_dir / "log").mkdir(parents=True, exist_ok=True)
        self._account = unprivileged(self.data_dir)
        self._binary = working_redis(self._account)
        self.port = self.port or free_port()

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server without waiting for it."""
        if self._binary is None:
            raise RuntimeError("prepare() comes first")
        # `-`: the settings come through a pipe, as a command line is for everybody to read.
        self.process = spawn(
            [self._binary.path, "-"],
            log=self.log,
            env=server_environment(),
            account=self._account,
            stdin=subprocess.PIPE,
            death_signal=self.stop_signal,
        )
        # One that dies at once is for whoever waits for it to report.
        if self.process.stdin is not None:
            with suppress(BrokenPipeError), self.process.stdin as settings:
                settings.write(self._settings().encode())
        return self.process

    def _settings(self) -> str:
        return "\n".join(
            (
                "bind 127.0.0.1",
                f"port {self.port}",
                f"requirepass {self._password()}",
                'save ""',
                "appendonly no",
                "maxmemory-policy noeviction",  # a message that is evicted is a page that waits for the reconciler
                "daemonize no",
                "dir /",
                "",
            )
        )

    def wait_until_ready(self, deadline: float) -> None:
        """Wait until it answers; `deadline` is a time of `time.monotonic()`."""
        client = redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)
        with client:
            while True:
                if (code := self.process.poll() if self.process else 0) is not None:
                    raise EmbeddedServerError(f"Redis ended with {code} while starting. {self.log}:\n{tail(self.log)}")
                try:
                    client.ping()
                    return
                except redis.RedisError as error:
                    if time.monotonic() > deadline:
                        raise EmbeddedServerError(
                            f"Redis does not answer: {error}\n{self.log}:\n{tail(self.log)}"
                        ) from error
                time.sleep(0.02)

    def stop(self, timeout_s: float = 5) -> None:
        """Stop it: politely, then at once."""
        if self.process is None:
            return
        for stop_signal in (self.stop_signal, signal.SIGKILL):
            self.process.send_signal(stop_signal)
            try:
                self.process.wait(timeout_s)
                break
            except subprocess.TimeoutExpired:
                log.warning("Redis (pid %d) ignores %s", self.process.pid, stop_signal.name)
        self.process = None
