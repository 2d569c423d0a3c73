"""The light commands: submit documents to a running service, follow them, fetch what they gave."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec
from uuid import UUID

import click
from pydantic import SecretStr

from ocr_tasks import outputs
from ocr_tasks.contract import Format, OcrOptions, Priority, Status, page_spans, parse_options
from ocr_tasks.errors import InvalidOption, InvalidPageRange
from ocr_tasks.exits import EXIT_CODES, Exit, exit_of, report
from ocr_tasks.outputs import emit_json, say
from ocr_tasks.rest import Job, Rest
from ocr_tasks.settings import SettingsError, environment_name, get_settings
from ocr_tasks.submission import Submission, file_name, open_source

P = ParamSpec("P")


def register(cli: click.Group) -> None:
    """Add these commands."""
    for command in (submit, status, result, cancel, jobs):
        cli.add_command(command)


def with_service(command: Callable[Concatenate[Rest, P], Exit]) -> Callable[P, None]:
    """Give a command `--server`, the client for it, and an end without tracebacks."""

    @click.option("--server", metavar="URL", help="Where the service is.  [default: OCR_SERVER_URL]")
    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        server = kwargs.pop("server")
        with make_rest(str(server) if server else None) as rest:
            code = exit_of(lambda: command(rest, *args, **kwargs))
        click.get_current_context().exit(code)

    return run


def make_rest(server: str | None) -> Rest:
    """The client for the service that was named, else for the configured one; raises click.UsageError."""
    try:
        return Rest(server or get_settings().server_url)
    except SettingsError as error:
        raise click.UsageError(f"{error} (in the environment or .env)") from None
    except ValueError as error:
        source = "--server" if server else environment_name("server_url")
        raise click.UsageError(f"{source}: {error}") from None


class SourceWord(click.Path):
    """A file that is there, `-` for stdin, or an address of the web."""

    def __init__(self) -> None:
        super().__init__(exists=True, allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and outputs.is_address(value):
            return value
        return super().convert(value, param, ctx)


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print what the service answers, as JSON.")
format_option = click.option("--format", "-f", "form", type=click.Choice([form.value for form in Format]))
job_argument = click.argument("job_id", type=click.UUID)


def _checked_files(ctx: click.Context, param: click.Parameter, files: tuple[str, ...]) -> tuple[str, ...]:
    for file in files:
        if file != outputs.STANDARD and Path(file).is_dir():
            raise click.BadParameter(f"{file!r} is a directory: name its files, like {file.rstrip('/')}/*.pdf.")
    if files.count(outputs.STANDARD) > 1:
        raise click.BadParameter("'-' (stdin) can be read once.")
    return files


def _checked_pages(ctx: click.Context, param: click.Parameter, pages: str | None) -> str | None:
    try:
        if pages is not None:
            page_spans(pages)
    except InvalidPageRange as error:
        raise click.BadParameter(error.detail) from None
    return pages


def _secret(ctx: click.Context | None, param: click.Parameter | None, password: str | None) -> SecretStr | None:
    """A password as the options take it; raises click.BadParameter."""
    try:
        return parse_options({"password": password}).password
    except InvalidOption as error:
        raise click.BadParameter(error.detail, param_hint="--password") from None


@click.command(epilog=EXIT_CODES)
@click.argument(
    "files",
    metavar="FILE|URL...",
    nargs=-1,
    required=True,
    type=SourceWord(),
    callback=_checked_files,
)
@click.option("--wait/--no-wait", default=None, help="Wait for the results and print them.  [default: no, but with -o]")
@format_option
@click.option("--pages", metavar="RANGE", callback=_checked_pages, help="Which pages, like 1-3,5 or 8-.")
@click.option("--priority", type=click.Choice([priority.value for priority in Priority]))
@click.option("--password", help="Opens an encrypted PDF. Other users of this machine may see it.", callback=_secret)
@click.option("--ask-password", is_flag=True, help="Ask for the password.")
@click.option("--output", "-o", metavar="PATH", help="Write the result to this file; several, into this folder.")
@as_json_option
@with_service
def submit(
    rest: Rest,
    files: Sequence[str],
    wait: bool | None,
    form: str | None,
    pages: str | None,
    priority: str | None,
    password: SecretStr | None,
    ask_password: bool,
    output: str | None,
    as_json: bool,
) -> Exit:
    """Submit documents; prints their jobs' ids.

    One id a line; with --json one job a line. FILE `-` is stdin; a URL is fetched by the service.

    With --wait, prints the results instead, one after the other in the order of the files, as Markdown unless --format
    says otherwise; with --json, the jobs as they ended. A file that is refused does not stop the others, and the exit
    code is the worst of all.
    """
    if output is not None and wait is False:
        raise click.UsageError("--output needs the results: leave --no-wait out.")
    waits = bool(wait) or output is not None
    chosen = Format(form) if form else Format.MARKDOWN if waits else None
    if ask_password and password is None:
        password = _secret(None, None, click.prompt("Password", hide_input=True, err=True))
    given = {"format": chosen, "pages": pages, "priority": priority and Priority(priority), "password": password}
    options = OcrOptions.model_validate({name: value for name, value in given.items() if value is not None})
    targets = outputs.plan_targets(files, output, outputs.SUFFIX_OF_FORMAT[options.format])

    def send(source: str) -> Job:
        if outputs.is_address(source):
            return rest.post("/api/ocr/process", {"url": source, **options.sent()})
        with open_source(source) as file:
            return rest.submit(file, file_name(source), options)

    def fetch(job: Job) -> bytes:
        return rest.result(job.id, options.format)

    server = click.get_current_context().params.get("server")
    return Submission(rest, send, fetch, wait=waits, as_json=as_json, server=server).run(files, targets)


@click.command(epilog=EXIT_CODES)
@job_argument
@as_json_option
@with_service
def status(rest: Rest, job_id: UUID, as_json: bool) -> Exit:
    """Show how far a job is.

    The exit code says how it ended, and is 0 while it goes on.
    """
    job = rest.job(job_id)
    if as_json:
        emit_json(job.raw)
    else:
        outputs.emit_facts(_facts(job))
    return report(job)


def _facts(job: Job) -> dict[str, str]:
    flagged = [f"{page.page_no} ({', '.join(page.flags)})" for page in job.flagged_pages if page.flags]
    return {
        "job": str(job.id),
        "kind": job.kind,
        "status": job.status,
        "priority": job.priority,
        "pages": outputs.pages_of(job),
        "failed pages": str(job.pages.failed),
        "flagged pages": ", ".join(flagged),
        "created": outputs.time_of(job.created_at),
        "started": outputs.time_of(job.started_at),
        "finished": outputs.time_of(job.finished_at),
    }


@click.command(epilog=EXIT_CODES)
@job_argument
@format_option
@click.option("--output", "-o", metavar="FILE", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@with_service
def result(rest: Rest, job_id: UUID, form: str | None, output: str | None, as_json: bool) -> Exit:
    """Print a job's result.

    In the format it was submitted with, unless --format says otherwise.
    """
    if as_json and form not in (None, Format.JSON):
        raise click.UsageError(f"--json and --format {form} exclude each other.")
    chosen = Format.JSON if as_json else Format(form) if form else None
    body = rest.result(job_id, chosen)
    outputs.deliver(body, Path(output) if output not in (None, outputs.STANDARD) else None)
    return report(rest.job(job_id))


@click.command(epilog=EXIT_CODES)
@job_argument
@as_json_option
@with_service
def cancel(rest: Rest, job_id: UUID, as_json: bool) -> Exit:
    """End a job that is not over."""
    job = rest.cancel(job_id)
    if as_json:
        emit_json(job.raw)
    say(f"Job {job.id} is {job.status}.")
    return Exit.FINE if job.status == Status.CANCELLED else Exit.FAILED


@click.command(epilog=EXIT_CODES)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="How many jobs at most.")
@click.option("--status", "wanted", type=click.Choice([status.value for status in Status]), help="Only these.")
@as_json_option
@with_service
def jobs(rest: Rest, limit: int, wanted: str | None, as_json: bool) -> Exit:
    """List jobs, the newest first.

    Not on a terminal: id, kind, status, pages ended/total, pages failed and time of creation, separated by tabs.
    """
    found, following = rest.jobs(limit, Status(wanted) if wanted else None)
    if as_json:
        raw: dict[str, Any] = {"jobs": [job.raw for job in found], "next": following}
        emit_json(raw)
    elif found:
        outputs.emit_jobs(found)
    else:
        say("No jobs.")
    return Exit.FINE
