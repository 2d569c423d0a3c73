"""The programs that make up the service on one machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocr_tasks.settings import environment_name
from workers.supervisor import Program


@dataclass(frozen=True)
class Layout:
    """What the programs of a stack need to know of it."""

    log_dir: Path
    env: Mapping[str, str]
    listener: int  # descriptor of the socket that web serves
    flower_port: int
    engine: str  # which OCR_ENGINE names
    token_engine: str | None = None  # which OCR_TOKEN_ENGINE names


Programs = Callable[[Layout], Sequence[Program]]


def service_programs(layout: Layout) -> list[Program]:
    """Web, the workers and Flower."""
    # -P: a file in the current folder must not stand in for a module of ours.
    python = [sys.executable, "-P", "-m"]
    engines = engines_of(layout)
    workers = {name: _worker_of(engine) for name, engine in engines.items()}
    workers |= {name: name for name in ("prepare", "browser", "reconcile")}
    commands = {
        "web": [*python, "gunicorn", *_gunicorn_words(layout), "web:create_app()"],
        **{name: [*python, "ocr_tasks.cli", "worker", worker] for name, worker in workers.items()},
        "flower": [*python, "celery", "-A", "ocr_tasks.app", "flower", *_flower_words(layout)],
    }
    return [
        Program.command(
            name,
            argv,
            log=layout.log_dir / f"{name}.log",
            env=layout.env if name not in engines else {**layout.env, environment_name("engine"): engines[name]},
            pass_fds=(layout.listener,) if name == "web" else (),
            grace_s=12 if workers.get(name) == "gpu" else 10,  # a pool passes on that it is to stop, and waits
        )
        for name, argv in commands.items()
    ]


def engines_of(layout: Layout) -> dict[str, str]:
    """The programs that serve an engine, and which."""
    tokens = layout.token_engine
    return {"engine": layout.engine} | ({tokens: tokens} if tokens not in (None, layout.engine) else {})


def _worker_of(engine: str) -> str:
    return "gpu" if engine == "deepseek" else "engine"


def _gunicorn_words(layout: Layout) -> list[str]:
    words = [f"--bind=fd://{layout.listener}", "--worker-class=gthread", "--workers=2", "--threads=16"]
    words += ["--graceful-timeout=8", "--no-control-socket"]
    # Its heartbeat is a file: on a slow disk it would take workers for dead.
    return [*words, "--worker-tmp-dir=/dev/shm"] if os.access("/dev/shm", os.W_OK) else words


def _flower_words(layout: Layout) -> list[str]:
    # Its /metrics and /healthcheck answer to everybody, whatever --basic_auth says: loopback only.
    return ["--address=127.0.0.1", f"--port={layout.flower_port}", "--persistent=False"]
