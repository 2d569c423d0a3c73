"""`lightdom-ocr read`: one document in, one result on stdout, no service needed."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, get_args

import click
import structlog
from pydantic import SecretStr

from ocr_tasks.contract import ENGINE_OPERATIONS, Format, OcrOptions, parse_options
from ocr_tasks.errors import EngineCrashed, InvalidOption, InvalidRequest, OcrError, Problem
from ocr_tasks.exits import Exit, reason_of
from ocr_tasks.kinds.engines import check_operations
from ocr_tasks.logs import configure_logs, for_people
from ocr_tasks.media import HEAD_BYTES, require_accepted
from ocr_tasks.outputs import STANDARD, say
from ocr_tasks.settings import Settings, get_settings
from workers.devices import visible_devices
from workers.one_shot import Reading, read_document
from workers.sources.isolated import Costs, IsolatedSource
from workers.sources.limits import limits_of

log = structlog.get_logger(__name__)

EPILOG = """\b
Exit codes:
  0    fine
  1    the document, or all of its pages, could not be read;
       with --format json, stdout then holds {"success": false, "error": ...}
  2    the command line is wrong; stdout is empty
  3    read, but some pages failed; they are named on stderr
  130  interrupted
"""

FILE = click.Path(exists=True, dir_okay=False, allow_dash=True)


def _choices(option: str) -> click.Choice[str]:
    return click.Choice(get_args(OcrOptions.model_fields[option].annotation))


@click.command("read", epilog=EPILOG)
@click.argument("file", required=False, type=FILE)
@click.option("--input", "input_file", type=FILE, help="The same as FILE.")
@click.option(
    "--format", "-f", "form", type=click.Choice([form.value for form in Format]), default="json", show_default=True
)
@click.option("--pages", metavar="RANGE", help="Which pages, like 1-3,5 or 8-.")
@click.option("--mode", type=_choices("mode"), help="Resolution mode, of engines that have such.")
@click.option("--prompt", type=_choices("prompt"), help="What a model is asked for.")
@click.option("--locate", metavar="TEXT", help="What to look for, with --prompt locate.")
@click.option("--include-layout/--no-include-layout", default=None, help="Whether pages carry blocks.  [default: yes]")
@click.option(
    "--extract-tables/--no-extract-tables", default=None, help="Whether tables are looked for. [default: yes]"
)
@click.option("--compression-ratio", type=float, help="Accepted; without effect in this version.")
@click.option("--engine", type=click.Choice(list(ENGINE_OPERATIONS)), help="Who reads.  [default: OCR_ENGINE]")
@click.option("--gpu/--no-gpu", default=None, help="Whether CUDA is used where there is any.  [default: as configured]")
@click.option("--password", help="Opens an encrypted PDF. Other users of this machine may see it.")
@click.option("--ask-password", is_flag=True, help="Ask for the password.")
def read_command(
    file: str | None,
    input_file: str | None,
    form: str,
    engine: str | None,
    gpu: bool | None,
    password: str | None,
    ask_password: bool,
    **given: Any,
) -> None:
    """Read FILE with an engine of its own and print the result.

    Needs no service: no Postgres, no Redis. FILE `-` is stdin. Nothing but the result goes to stdout.
    """
    if (file is None) == (input_file is None):
        raise click.UsageError("Name one document: FILE, or --input FILE.")
    if ask_password and password is None:
        password = click.prompt("Password", hide_input=True, err=True)
    options = _options(given | {"format": form, "password": password})
    settings = _settings(engine, gpu)
    with own_stdout() as stdout:
        code = _ending(file or input_file or "", options, settings, stdout)
    click.get_current_context().exit(code)


def _options(given: dict[str, Any]) -> OcrOptions:
    camel = {
        "include_layout": "includeLayout",
        "extract_tables": "extractTables",
        "compression_ratio": "compressionRatio",
    }
    try:
        return parse_options({camel.get(name, name): value for name, value in given.items() if value is not None})
    except (InvalidOption, InvalidRequest) as error:
        raise click.UsageError(error.detail) from None


def _settings(engine: str | None, gpu: bool | None) -> Settings:
    """The environment's, with what the command line says put in; quiet unless the environment wants otherwise."""
    settings = get_settings()
    changes: dict[str, Any] = {"engine": engine or settings.engine}
    if gpu is not None:
        changes["gpu_enabled"] = gpu
    if "log_level" not in settings.model_fields_set:
        changes["log_level"] = "warning"
    settings = settings.model_copy(update=changes)
    configure_logs(for_people(settings))
    if gpu and settings.engine != "deepseek":
        say(f"{settings.engine} uses no GPU here: --gpu changes nothing.")
    elif gpu and not visible_devices():
        say("There is no CUDA device here: deepseek reads on the CPU.")
    return settings


@contextmanager
def own_stdout() -> Iterator[int]:
    """A descriptor of stdout for the result alone: what libraries print goes to stderr until the block ends."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield ours
    finally:
        os.dup2(ours, 1)
        os.close(ours)


def _ending(name: str, options: OcrOptions, settings: Settings, stdout: int) -> Exit:
    """Print the result, or what went wrong instead of it; the exit code that says so."""
    form = options.format

    def leave(reason: str) -> None:
        # The device hangs or is lost: nothing in this process can be helped any more.
        os._exit(_failed(EngineCrashed(f"The engine gave up: {reason}.").problem(), form, stdout))

    try:
        reading = _run(name, options, settings, leave)
    except KeyboardInterrupt:
        say("Interrupted.")
        return Exit.INTERRUPTED
    except OcrError as error:
        return _failed(error.problem(), form, stdout)
    except OSError as error:
        return _failed(OcrError(reason_of(error)).problem(), form, stdout)
    except Exception:
        log.exception("read_crashed")
        return _failed(OcrError().problem(), form, stdout)
    if reading.error:
        return _failed(reading.error, form, stdout)
    _print(reading.result(form), stdout)
    for page in reading.failed:
        reason = page.error or {}
        say(f"page {page.page_no}: {reason['code']}: {reason['detail']}")
    return Exit.PAGES_FAILED if reading.failed else Exit.FINE


def _failed(problem: Problem, form: Format, stdout: int) -> Exit:
    say(f"Error: {problem['code']}: {problem['detail']}")
    if form == Format.JSON:
        _print(json.dumps({"success": False, "error": problem}, ensure_ascii=False).encode(), stdout)
    return Exit.FAILED


def _print(result: bytes, stdout: int) -> None:
    with os.fdopen(os.dup(stdout), "wb") as file:
        try:
            file.write(result if result.endswith(b"\n") else result + b"\n")
            file.flush()
        except BrokenPipeError:  # the reader (`| head`) has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def _run(name: str, options: OcrOptions, settings: Settings, leave: Callable[[str], None]) -> Reading:
    from workers.engine.loading import load_engine

    check_operations(settings.engine, options)
    with _on_disk(name) as path:
        with path.open("rb") as file:
            media_type = require_accepted(file.read(HEAD_BYTES), None if name == STANDARD else path.name)
        source = IsolatedSource(
            path,
            media_type,
            limits=limits_of(settings),
            costs=Costs(settings.prepare_timeout_s, settings.prepare_memory_mb * 1024 * 1024),
            password=_secret(options.password),
        )
        return read_document(source, options, settings, lambda: load_engine(settings), on_hang=leave, tell=say)


def _secret(password: SecretStr | None) -> str | None:
    return password.get_secret_value() if password else None


@contextmanager
def _on_disk(name: str) -> Iterator[Path]:
    """The document as a file; what comes on stdin is copied into one."""
    if name != STANDARD:
        yield Path(name)
        return
    with tempfile.NamedTemporaryFile(prefix="lightdom-ocr-") as copy:
        while chunk := sys.stdin.buffer.read(1024 * 1024):
            copy.write(chunk)
        copy.flush()
        yield Path(copy.name)
