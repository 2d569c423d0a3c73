"""A private Postgres: its own data folder, a free loopback port, a password of its own."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from pathlib import Path

import psycopg2  # type: ignore[import-untyped]

from workers.children import Account, spawn, tail, unprivileged
from workers.embedded import EmbeddedServerError, free_port, server_environment, stored_secret
from workers.embedded.binaries import Binary
from workers.embedded.cluster import USER, FolderInUse, claimed, initialise, matching_binary

log = logging.getLogger(__name__)

DATABASE = "lightdom"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a path below a deep data folder can be too long for a socket
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "wal_level": "minimal",  # no replicas here
    "max_wal_senders": "0",
    "max_parallel_workers_per_gather": "0",  # short statements only; and /dev/shm is small in containers
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
    "lc_messages": "C",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """One Postgres on `data_dir`/postgres; `durable=False` trades a crash's safety for speed (tests)."""

    stop_signal = signal.SIGINT  # "fast shutdown": ends sessions, writes a checkpoint

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.absolute()
        self.folder = self.data_dir / "postgres"
        self.log = self.data_dir / "log" / "postgres.log"
        self.durable = durable
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._binary: Binary | None = None
        self._account: Account | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def url(self) -> str:
        return self._url(DATABASE)

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password()}@127.0.0.1:{self.port}/{database}"

    def _password(self) -> str:
        return stored_secret(self.data_dir / "postgres.password")

    def start(self, timeout_s: float = 60) -> str:
        """Start it, with a new data folder if there is none, and return its URL once it answers."""
        deadline = time.monotonic() + timeout_s
        self.prepare()
        for attempts_left in (2, 1, 0):
            self._spawn_when_free(deadline)
            try:
                self.wait_until_ready(deadline)
                break
            except BaseException as error:
                self.stop(timeout_s=5)
                # Somebody took the port since it was chosen.
                if attempts_left == 0 or "could not bind" not in str(error):
                    raise
                self.port = free_port()
        return self.url

    def prepare(self) -> None:
        """Choose binaries, account and port, and make the data folder if there is none."""
        (self.data_dir / "log").mkdir(parents=True, exist_ok=True)
        self._account = unprivileged(self.folder, self.data_dir)
        self.port = self.port or free_port()
        if self.folder.exists():
            self._binary = matching_binary(self.folder, self._account)
        else:
            self._binary = initialise(self.folder, self._account, self._password(), durable=self.durable)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server without waiting for it; raises FolderInUse while another one is on the folder."""
        if self._binary is None:
            raise RuntimeError("prepare() comes first")
        settings = {**_SETTINGS, **({} if self.durable else _NOT_DURABLE), "port": str(self.port)}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with claimed(self.folder) as folder:
            self.process = spawn(
                [self._binary.path / "postgres", "-D", f"/proc/self/fd/{folder}", *words],
                log=self.log,
                env=server_environment(),
                account=self._account,
                pass_fds=(folder,),
                death_signal=self.stop_signal,
            )
        return self.process

    def _spawn_when_free(self, deadline: float) -> None:
        # One that is going down needs a moment; one that is not will not go away.
        deadline = min(deadline, time.monotonic() + 10)
        while True:
            try:
                self.spawn()
                return
            except FolderInUse:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.05)

    def wait_until_ready(self, deadline: float) -> None:
        """Wait until it answers and has our database; `deadline` is a time of `time.monotonic()`."""
        while True:
            if (code := self.process.poll() if self.process else 0) is not None:
                raise EmbeddedServerError(f"Postgres ended with {code} while starting. {self.log}:\n{tail(self.log)}")
            try:
                self._create_database()
                return
            except psycopg2.OperationalError as error:
                if time.monotonic() > deadline or "password authentication failed" in str(error):
                    raise EmbeddedServerError(
                        f"Postgres does not answer: {error}\n{self.log}:\n{tail(self.log)}"
                    ) from error
            time.sleep(0.03)

    def _create_database(self) -> None:
        connection = psycopg2.connect(self._url("postgres"), connect_timeout=3)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            connection.close()

    def stop(self, timeout_s: float = 10) -> None:
        """Stop it: politely, then at once."""
        if self.process is None:
            return
        for stop_signal in (self.stop_signal, signal.SIGQUIT, signal.SIGKILL):
            self.process.send_signal(stop_signal)
            try:
                self.process.wait(timeout_s)
                break
            except subprocess.TimeoutExpired:
                log.warning("Postgres (pid %d) ignores %s", self.process.pid, stop_signal.name)
        self.process = None
