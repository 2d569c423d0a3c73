"""All benchmarks of the spine:  python -m tests.benchmarks [batcher pipeline reading] [--pages N] [--json FILE]"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from tests.benchmarks import batcher, pipeline, reading
from tests.benchmarks.report import Finding, table, write_json

PARTS = ("batcher", "pipeline", "reading")


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--pages", default=100, show_default=True, help="Pages that `reading` reads, twice.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the findings here too.")
def main(parts: tuple[str, ...], pages: int, path: Path | None) -> None:
    """Measure the spine and print a table. Close what else runs on the machine first."""
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="lightdom-ocr-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        for part in parts or PARTS:
            click.echo(f"measuring: {part}", err=True)
            if part == "batcher":
                findings += batcher.findings()
            elif part == "pipeline":
                findings += pipeline.findings(folder)
            else:
                findings += reading.findings(folder / "reading", pages)
    click.echo(table(findings))
    if path:
        write_json(findings, path)


if __name__ == "__main__":
    main()
