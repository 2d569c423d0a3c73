"""The commands that need the workers' packages: `worker`, `model`, `up`, `read`, `demo`."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from ocr_tasks.logs import configure_logs
from ocr_tasks.settings import get_settings


def register(cli: click.Group) -> None:
    """Add these commands; called through the entry-point group `lightdom_ocr.commands`."""
    cli.add_command(worker)
    cli.add_command(model)
    cli.add_command(Deferred("up", "workers.up:up_command", "Run the whole service on this machine until Ctrl-C."))
    cli.add_command(Deferred("read", "workers.read_command:read_command", "Read FILE here and now, with no service."))
    cli.add_command(Deferred("demo", "workers.demo:demo_command", "Read FILE, or a sample, with a stack of its own."))


class Deferred(click.Command):
    """A command whose module is imported when it is called: the light ones need not wait for that."""

    def __init__(self, name: str, target: str, short_help: str) -> None:
        super().__init__(name, short_help=short_help)
        self.module, _, self.attribute = target.partition(":")

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        command: click.Command = getattr(importlib.import_module(self.module), self.attribute)
        return command.make_context(info_name, args, parent, **extra)


@click.group()
def model() -> None:
    """The checkpoints that the engine `deepseek` serves."""


_MODEL = "workers.engine.deepseek.commands"
model.add_command(Deferred("fetch", f"{_MODEL}:fetch", "Bring a model from the hub to this machine."))
model.add_command(Deferred("check", f"{_MODEL}:check", "Check that a model is whole and fits; --smoke reads a page."))
model.add_command(Deferred("info", f"{_MODEL}:info", "Show what a model is."))


@click.group()
def worker() -> None:
    """Run one worker in the foreground."""


@worker.command()
@click.option("--index", default=0, show_default=True, help="Number of this node on this host; part of its name.")
@click.option("--name", help="Name of this node on this host.  [default: OCR_ENGINE and the index]")
def engine(index: int, name: str | None) -> None:
    """An engine node: reads pages with OCR_ENGINE, on one device."""
    settings = get_settings()
    name = name or f"{settings.engine}{index}"
    configure_logs(settings, worker=name)
    from workers.celery_worker import run_engine_worker
    from workers.devices import reader_of_engine
    from workers.engine.loading import load_engine

    device = reader_of_engine(settings)
    sys.exit(run_engine_worker(settings, lambda: load_engine(settings), name=name, device=device))


@worker.command()
def gpu() -> None:
    """A pool: an engine node on each CUDA device, else one on the CPU.

    The devices are those that CUDA_VISIBLE_DEVICES names, or all. A node that dies is started again.
    """
    settings = get_settings()
    if settings.engine != "deepseek":
        raise click.UsageError(f"OCR_ENGINE is {settings.engine}, which uses no GPU here: run `worker engine`.")
    configure_logs(settings, worker="gpu")
    from workers.launch import run_pool

    sys.exit(run_pool(settings))


@worker.command()
@click.option("--children", type=click.IntRange(min=1), help="Parsing processes.  [default: one a core]")
def prepare(children: int | None) -> None:
    """Parses sources into pages, and assembles results."""
    settings = get_settings()
    configure_logs(settings, worker="prepare")
    from workers.celery_worker import run_prepare_worker

    sys.exit(run_prepare_worker(settings, children=children))


@worker.command()
@click.option("--children", type=click.IntRange(min=1), default=1, show_default=True, help="Browsers.")
def browser(children: int) -> None:
    """Renders pages of the web in Chromium."""
    settings = get_settings()
    configure_logs(settings, worker="browser")
    from workers.celery_worker import run_browser_worker

    sys.exit(run_browser_worker(settings, children=children))


@worker.command()
def reconcile() -> None:
    """Sends again what a crash left behind; several may run."""
    settings = get_settings()
    configure_logs(settings, worker="reconcile")
    from workers.reconcile import Reconciler
    from workers.runtime import make_runtime

    Reconciler(make_runtime(settings, pool_size=1)).run()
