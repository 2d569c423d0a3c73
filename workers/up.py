"""`lightdom-ocr up`: the whole service on this machine, with nothing installed but this package."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from pathlib import Path

import click

from ocr_tasks.contract import NOTICES
from ocr_tasks.logs import configure_logs, for_people
from ocr_tasks.settings import get_settings
from workers.embedded import EmbeddedServerError
from workers.stack import Stack, StackError
from workers.stopping import StopRequested, StopSignals


def tell(text: str) -> None:
    """Say something to the person at the terminal; stdout is for programs."""
    with suppress(OSError):  # the terminal may be gone (SIGHUP), and the stopping must go on
        click.echo(text, err=True)


@click.command("up")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one. [OCR_PORT]")
@click.option("--host", help="Address to listen on. [OCR_HOST]")
@click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Folder for everything. [OCR_DATA_DIR]"
)
def up_command(port: int | None, host: str | None, data_dir: Path | None) -> None:
    """Run the whole service on this machine: Postgres, Redis, web, workers and Flower.

    Prints `ready http://...` when it answers. Ctrl-C stops it all. Servers that DATABASE_URL or REDIS_URL name are
    used instead of embedded ones.
    """
    settings = get_settings()
    configure_logs(for_people(settings))
    stack = Stack(
        settings,
        data_dir=data_dir or settings.data_dir,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
        tell=tell,
    )
    sys.exit(run(stack))


def run(stack: Stack) -> int:
    """Start a stack, keep it running until a signal, stop it; returns the exit code."""
    with StopSignals() as signals:
        try:
            stack.start()
            _announce(stack)
            while True:
                stack.watch()
        except StopRequested:
            tell("stopping (again to hurry)")
            return 0
        except (StackError, EmbeddedServerError) as error:
            tell(str(error))
            return 1
        finally:
            signals.now_stopping()
            stack.stop(hurry=signals.hurry)
            logging.shutdown()


def _announce(stack: Stack) -> None:
    tell(f"data    {stack.data_dir}\nlogs    {stack.data_dir / 'log'}\nflower  {stack.flower_url}")
    if (engine := stack.settings.token_engine) is not None:
        tell(f"vision tokens (compress, decompress)  {NOTICES.get(engine, engine)}")
    with suppress(OSError):  # nobody reads it, which is no reason to stop
        click.echo(f"ready {stack.url}")
        sys.stdout.flush()
