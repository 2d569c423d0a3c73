"""Where the light commands write: results on stdout or into files, everything else on stderr."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocr_tasks.contract import Format
from ocr_tasks.rest import Job

SUFFIX_OF_FORMAT = {Format.JSON: ".json", Format.MARKDOWN: ".md", Format.HTML: ".html", Format.TEXT: ".txt"}
STANDARD = "-"


def say(text: str) -> None:
    """One line for the person, on stderr."""
    with suppress(OSError):  # nobody reads it
        click.echo(text, err=True)


def emit(result: str | bytes) -> None:
    """Write to stdout, in UTF-8 whatever the locale is, with a line break at the end."""
    written = result.encode(errors="replace") if isinstance(result, str) else result
    try:
        click.echo(written, nl=not written.endswith(b"\n"))
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. The work goes on; the rest of its output goes nowhere.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def emit_json(raw: dict[str, Any]) -> None:
    """An answer of the service as it came, on one line."""
    emit(json.dumps(raw, ensure_ascii=False))


def on_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def name_of(file: str) -> str:
    """What messages call a file of the command line."""
    return "stdin" if file == STANDARD else click.format_filename(file)


def is_address(source: str) -> bool:
    """Whether a word of the command line is an address of the web, and no file."""
    return source.lower().startswith(("http://", "https://"))


# -- files ---------------------------------------------


def plan_targets(files: Sequence[str], output: str | None, suffix: str) -> list[Path | None]:
    """Where each result goes (None: stdout), known before anything is sent; makes the folder.

    files: or addresses. suffix: of the results' names, with its dot.

    Raises click.UsageError for an output that cannot be one, or that is one of the files.
    """
    if output is None or output == STANDARD:
        return [None] * len(files)
    into_folder = len(files) > 1 or output.endswith("/") or Path(output).is_dir()
    targets = _targets_in(_made_folder(output), files, suffix) if into_folder else [Path(output)]
    if not into_folder and not targets[0].parent.is_dir():
        raise click.UsageError(f"--output: there is no folder {str(targets[0].parent)!r}.")
    sources = [Path(file) for file in files if file != STANDARD and not is_address(file) and Path(file).exists()]
    for target in targets:
        if target.exists() and any(target.samefile(source) for source in sources):
            raise click.UsageError(f"--output: {str(target)!r} is one of the files to be read.")
    return list(targets)


def _made_folder(output: str) -> Path:
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"--output: {output!r} cannot be a folder for the results: {error.strerror}.") from None
    return Path(output)


def _targets_in(folder: Path, files: Sequence[str], suffix: str) -> list[Path]:
    names: list[str] = []
    for file in files:
        stem = _stem(file)
        name, count = stem + suffix, 1
        while name in names:  # a/page.pdf and b/page.pdf
            count += 1
            name = f"{stem}-{count}{suffix}"
        names.append(name)
    return [folder / name for name in names]


def _stem(file: str) -> str:
    """What a result's name begins with; of an address, its host and path in plain letters, at most 100."""
    if file == STANDARD:
        return "stdin"
    if not is_address(file):
        return Path(file).stem
    said = urlsplit(file)
    return re.sub(r"[^A-Za-z0-9.-]+", "-", f"{said.hostname or ''}{said.path}").strip("-.")[:100] or "page"


def deliver(result: str | bytes, target: Path | None) -> None:
    """A result into its file, or to stdout."""
    if target is None:
        emit(result)
    else:
        target.write_bytes(result.encode(errors="replace") if isinstance(result, str) else result)


# -- tables ---------------------------------------------


def emit_facts(facts: dict[str, str]) -> None:
    """Names and values: aligned on a terminal, else separated by a tab."""
    emit(written_facts(facts))


def written_facts(facts: dict[str, str]) -> str:
    """As `emit_facts` writes them; what is empty is left out."""
    return _written_rows([[name, value] for name, value in facts.items() if value], None)


def emit_jobs(jobs: Sequence[Job]) -> None:
    """A line a job: a table on a terminal, else separated by tabs and without a head."""
    head = ("job", "kind", "status", "pages", "failed", "created")
    rows = [
        [str(job.id), job.kind, job.status, pages_of(job), str(job.pages.failed), time_of(job.created_at)]
        for job in jobs
    ]
    emit(_written_rows(rows, head))


def pages_of(job: Job) -> str:
    """How many pages ended, of how many: `3/12`; `?` while nobody knows."""
    return f"{job.pages.ended}/{'?' if job.pages.total is None else job.pages.total}"


def time_of(moment: datetime | None) -> str:
    """Local time to the second on a terminal, else ISO 8601 in UTC."""
    if moment is None:
        return ""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}" if on_terminal() else moment.astimezone(UTC).isoformat()


def _written_rows(rows: Sequence[Sequence[str]], head: Sequence[str] | None) -> str:
    if not on_terminal():
        return "\n".join("\t".join(row) for row in rows)
    table = Table(*(head or ()), box=None, show_header=head is not None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    drawn = io.StringIO()
    # A narrow terminal wraps the line: cutting an id short would make it useless.
    Console(file=drawn, force_terminal=True, width=200).print(table)
    return drawn.getvalue()
