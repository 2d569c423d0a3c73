"""The command line. The light commands talk to a running service; packages that do the work add their own."""

from __future__ import annotations

from importlib.metadata import entry_points

import click

from ocr_tasks import __version__, commands


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lightdom-ocr")
def cli() -> None:
    """Read documents with LightDom OCR."""


commands.register(cli)


def main() -> None:
    """Entry point of `lightdom-ocr`."""
    for plugin in entry_points(group="lightdom_ocr.commands"):
        try:
            plugin.load()(cli)
        except ModuleNotFoundError as error:
            # The light install: these commands need an extra that is not there.
            if (error.name or "").split(".")[0] in ("ocr_tasks", "workers"):
                raise
    cli()


if __name__ == "__main__":
    main()
