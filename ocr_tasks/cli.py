"""The command line. The light commands talk to a running service; packages that do the work add their own."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

import click

from ocr_tasks import __version__, commands, dom_commands
from ocr_tasks.errors import ServiceUnavailable
from ocr_tasks.settings import SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lightdom-ocr")
def cli() -> None:
    """Read documents with LightDom OCR."""


commands.register(cli)
dom_commands.register(cli)


@cli.group()
def schema() -> None:
    """The tables in Postgres."""


@schema.command()
def apply() -> None:
    """Create the tables that are missing, in DATABASE_URL; safe to run at every start."""
    from ocr_tasks.jobs.database import Database
    from ocr_tasks.jobs.schema import apply_schema
    from ocr_tasks.settings import get_settings

    database = Database(get_settings())
    try:
        apply_schema(database)
    except ServiceUnavailable as error:
        raise click.ClickException(error.detail) from None
    click.echo(f"the tables are in schema {database.schema}")


@schema.command()
def show() -> None:
    """Print schema.sql."""
    from ocr_tasks.jobs.schema import schema_sql

    click.echo(schema_sql(), nl=False)


def main() -> None:
    """Entry point of `lightdom-ocr`."""
    for plugin in entry_points(group="lightdom_ocr.commands"):
        try:
            plugin.load()(cli)
        except ModuleNotFoundError as error:
            # The light install: these commands need an extra that is not there.
            if (error.name or "").split(".")[0] in ("ocr_tasks", "workers"):
                raise
    try:
        cli()
    except SettingsError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except ServiceUnavailable as error:
        click.echo(f"Error: {error.detail}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
