"""The whole service on one machine: servers, web, workers and Flower, on one data folder."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import httpx
import redis

from ocr_tasks.jobs import schema
from ocr_tasks.jobs.database import Database
from ocr_tasks.settings import Settings, environment_name
from workers.children import tail
from workers.embedded import free_port
from workers.embedded.postgres import EmbeddedPostgres
from workers.embedded.redis import EmbeddedRedis
from workers.engine.deepseek.nano import NANO
from workers.guardian import Guardian
from workers.offered import offers_nano
from workers.programs import Layout, Programs, service_programs
from workers.readiness import readiness_of
from workers.stopping import EXIT_UNLOADABLE
from workers.supervisor import BROKER, DATABASE, Program, Supervisor

log = logging.getLogger(__name__)

READY_TIMEOUT_S = 90
TELL_AGAIN_S = 10
TOO_MANY_DEATHS = 4  # in a row, before the stack was ready: waiting longer would not help


class StackError(Exception):
    """The stack cannot run; the text says why and what to do."""


class AlreadyRunning(StackError):
    """Another stack owns the data folder."""


def prepare_servers(settings: Settings) -> None:
    """See that Redis answers, and create the service's tables where they are missing."""
    check_broker(settings)
    database = Database(settings)
    try:
        schema.apply_schema(database)
    finally:
        database.engine.dispose()


def check_broker(settings: Settings) -> None:
    """Raise StackError when Redis does not answer: the workers would only wait for it."""
    try:
        with redis.Redis.from_url(settings.broker_url, socket_connect_timeout=5, socket_timeout=5) as client:
            client.ping()
    except redis.RedisError as error:
        raise StackError(f"Redis is not reachable: {error}") from None  # names host and port, not the password


class Stack:
    """Starts, watches and stops it all; used from one thread.

    `private` ignores servers and stores that the environment names: everything is this stack's own.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        data_dir: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        private: bool = False,
        programs: Programs = service_programs,
        prepare_database: Callable[[Settings], None] = prepare_servers,
        tell: Callable[[str], None] = log.info,
    ) -> None:
        self.settings = settings
        self.data_dir = data_dir.absolute()
        self.host = host
        self.port = port
        self.private = private
        self.supervisor = Supervisor()
        self._programs = programs
        self._prepare_database = prepare_database
        self._tell = tell
        self._lock: int | None = None
        self._listener: socket.socket | None = None
        self._flower_port = free_port()
        self._brings_nano = offers_nano(settings)

    @property
    def url(self) -> str:
        shown = "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host  # what everybody can open
        shown = "[::1]" if shown == "::" else f"[{shown}]" if ":" in shown else shown
        return f"http://{shown}:{self.port}"

    @property
    def flower_url(self) -> str:
        return f"http://127.0.0.1:{self._flower_port}"

    @property
    def state_file(self) -> Path:
        return self.data_dir / "run" / "up.json"

    # -- starting ---------------------------------------------

    def start(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Start everything and return once /readyz answers 200; raises StackError or EmbeddedServerError.

        timeout_s: until the engine's node is there; loading its model may then take longer.
        """
        self._claim_folder()
        crashed = self.state_file.exists()
        self._listener = self._listen(patience_s=5 if crashed else 0)
        self.port = int(self._listener.getsockname()[1])
        for name in ("blobs", "log", "run"):
            (self.data_dir / name).mkdir(exist_ok=True)
        self.settings = self._own_settings()
        if self._brings_nano:
            self.settings = self.settings.model_copy(update={"token_engine": NANO})
        self._apply_schema()
        self.supervisor.guardian = Guardian()
        layout = Layout(
            log_dir=self.data_dir / "log",
            env=self._environment(),
            listener=self._listener.fileno(),
            flower_port=self._flower_port,
            engine=self.settings.engine,
            token_engine=self.settings.token_engine,
        )
        for program in self._programs(layout):
            self.supervisor.start(program)
        self._write_state()
        self._wait_until_ready(time.monotonic() + timeout_s)

    def _claim_folder(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, mode=0o700, exist_ok=True)
            lock = os.open(self.data_dir / "up.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StackError(f"The data folder {self.data_dir} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(lock, 20, 0).decode() or "unknown"
            os.close(lock)
            raise AlreadyRunning(f"already running (pid {pid}, {self._others_url()})") from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def _others_url(self) -> str:
        with suppress(OSError, ValueError, KeyError):
            return str(json.loads(self.state_file.read_text())["url"])
        return "still starting"

    def _listen(self, patience_s: float) -> socket.socket:
        """The socket that web serves, ours from now on: no port is lost between a check and its use."""
        deadline = time.monotonic() + patience_s  # the web of a killed stack may take a moment to end
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        while True:
            try:
                return socket.create_server((self.host, self.port), family=family, backlog=512)
            except OSError as error:
                if time.monotonic() > deadline:
                    reason = os.strerror(error.errno) if error.errno else str(error)
                    raise StackError(
                        f"Cannot listen on {self.host} port {self.port}: {reason}. "
                        "Choose another with --port (0 takes a free one)."
                    ) from error
            time.sleep(0.1)

    def _own_settings(self) -> Settings:
        """The settings with what is embedded put in; servers that the environment or .env names are left alone."""
        given: AbstractSet[str] = frozenset() if self.private else self.settings.model_fields_set
        own: dict[str, object] = {"data_dir": self.data_dir, "host": self.host, "port": self.port}
        own["server_url"] = self.url
        if "database_url" not in given:
            self._tell("starting Postgres")
            postgres = EmbeddedPostgres(self.data_dir)
            own["database_url"] = postgres.start()
            program = Program("postgres", postgres.spawn, postgres.stop_signal, DATABASE, grace_s=3)
            self.supervisor.adopt(program, postgres.process)
        if not given & {"redis_url", "redis_host", "redis_port"}:
            self._tell("starting Redis")
            redis = EmbeddedRedis(self.data_dir)
            own["redis_url"] = redis.start()
            self.supervisor.adopt(Program("redis", redis.spawn, redis.stop_signal, BROKER, grace_s=2), redis.process)
        if self.private:
            own["blob_url"] = None
        return self.settings.model_copy(update=own)

    def _apply_schema(self) -> None:
        self._tell("preparing the database")
        try:
            self._prepare_database(self.settings)
        except StackError:
            raise
        except Exception as error:
            # Its text may hold the URL, and with it the password.
            log.debug("schema", exc_info=True)
            where = "DATABASE_URL" if "postgres" not in self.supervisor.running else "the embedded Postgres"
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise StackError(f"The tables cannot be made in {where}: {reason}") from error

    def _environment(self) -> dict[str, str]:
        settings = self.settings
        ours = {
            "database_url": settings.database_url,
            "redis_url": settings.broker_url,
            "data_dir": str(settings.data_dir),
            "blob_url": settings.blobs_url,
            "host": settings.host,
            "port": str(settings.port),
            "server_url": settings.server_url,
            "token_engine": settings.token_engine or "",
        }
        named = {environment_name(name): value for name, value in ours.items()}
        # onnxruntime (since 1.29) reports on its use to its maker unless told not to: not from a self-hosted service.
        # torch makes a folder for compiled code, used or not, beside everybody's temporary files.
        quiet = {"ORT_DISABLE_TELEMETRY": "1", "TORCHINDUCTOR_CACHE_DIR": str(self.data_dir / "run" / "torch")}
        return {**os.environ, **named, **quiet, "PYTHONUNBUFFERED": "1"}

    def _write_state(self) -> None:
        state = {
            "pid": os.getpid(),
            "url": self.url,
            "flower_url": self.flower_url,
            "database_url": self.settings.database_url,
            "redis_url": self.settings.broker_url,
        }
        draft = self.state_file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(state, file, indent=2)
        draft.replace(self.state_file)

    def _wait_until_ready(self, deadline: float) -> None:
        """Raise StackError when that takes too long; an engine that is loading may take as long as it needs."""
        self._tell("starting web and the workers")
        told_at = time.monotonic()
        # No proxy of the environment between us and our own machine.
        with httpx.Client(trust_env=False, timeout=2) as client:
            while not (readiness := readiness_of(client, self.url)).ready:
                now = time.monotonic()
                if readiness.loading and now > told_at + TELL_AGAIN_S:
                    told_at = now
                    self._tell("the engine is loading its model")
                if now > deadline and not readiness.loading:
                    reason = f"{self.url}/readyz did not answer 200 in time. Last answer: {readiness.answer}"
                    self._give_up(readiness.culprit, reason)
                self._check_programs()
                self.supervisor.watch(0.1)

    def _check_programs(self) -> None:
        """Raise StackError for a program that will not run. Nano, which nobody asked for, is no reason to."""
        for name in self.supervisor.refusing(EXIT_UNLOADABLE):
            if name != NANO or not self._brings_nano:
                self._give_up(name, "The engine cannot be loaded.")
        for name in self.supervisor.dying(TOO_MANY_DEATHS):
            if name != NANO or not self._brings_nano:
                self._give_up(name, f"{name} dies as soon as it is started.")

    def _give_up(self, name: str, reason: str) -> NoReturn:
        file = self.data_dir / "log" / f"{name}.log"
        raise StackError(f"{reason}\n{file}:\n{tail(file)}")

    # -- running and stopping ---------------------------------------------

    def watch(self, timeout_s: float = 3600) -> None:
        """Keep everything running for up to `timeout_s` seconds, or until something happened."""
        self.supervisor.watch(timeout_s)

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop everything that was started: web and workers, then Redis, then Postgres; at most 17 s."""
        if self._listener is not None:
            self._listener.close()
        self.supervisor.stop(hurry=hurry)
        if self.supervisor.guardian is not None:
            self.supervisor.guardian.close()
            self.supervisor.guardian = None
        if self._lock is not None:
            with suppress(OSError):
                os.ftruncate(self._lock, 0)
                self.state_file.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None
