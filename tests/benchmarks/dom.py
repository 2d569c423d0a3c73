"""Pages of the web, rendered and stored:  python -m tests.benchmarks.dom [renders bytes operations] [--json FILE]"""

from __future__ import annotations

from pathlib import Path

import click

from tests.benchmarks import operations, renders, stored_bytes
from tests.benchmarks.report import Finding, table, write_json

PARTS = {"renders": renders.findings, "bytes": stored_bytes.findings, "operations": operations.findings}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the findings here too.")
def main(parts: tuple[str, ...], path: Path | None) -> None:
    """Measure renders and stored pages, and print a table. Close what else runs on the machine first."""
    found: list[Finding] = []
    for part in parts or PARTS:
        click.echo(f"measuring: {part}", err=True)
        found += PARTS[part]()
    click.echo(table(found))
    if path:
        write_json(found, path)


if __name__ == "__main__":
    main()
