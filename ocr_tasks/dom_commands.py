"""The light commands about pages of the web: render, compress, decompress, crawl."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ocr_tasks import outputs
from ocr_tasks.commands import SourceWord, format_option, with_service
from ocr_tasks.contract import Format, Kind
from ocr_tasks.direct import accepted_type
from ocr_tasks.dom_facts import Answer, compress_facts, crawl_facts, parse_answer, render_facts
from ocr_tasks.dom_options import said_options, with_options
from ocr_tasks.errors import OcrError
from ocr_tasks.exits import EXIT_CODES, Exit
from ocr_tasks.kinds.markup import html_text
from ocr_tasks.media import HEAD_BYTES
from ocr_tasks.rest import Job, Rest
from ocr_tasks.submission import Submission, file_name, open_source

IMAGE_OF_SUFFIX = {".png": "png", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}
IMAGES = ["png", "webp", "jpeg"]
TEXTS = [form.value for form in Format if form != Format.JSON]


def register(cli: click.Group) -> None:
    """Add these commands."""
    for command in (render, compress, decompress, crawl):
        cli.add_command(command)


# -- the commands ---------------------------------------------


@click.command(epilog=EXIT_CODES)
@click.argument("page", metavar="URL|FILE.html", type=SourceWord())
@click.option("--dom-id", metavar="ID", help="Your own name for the page.")
@click.option(
    "--format", "-f", "form", type=click.Choice(["png", "webp", "jpeg"]), help="[default: as --output ends, or png]"
)
@click.option("--output", "-o", metavar="FILE", help="Write the screenshot to this file.")
@with_options("rendering", "waiting")
@with_service
def render(
    rest: Rest, /, page: str, output: str | None, wait: bool | None, as_json: bool, form: str | None, **given: Any
) -> Exit:
    """Render a page in a browser, and keep its DOM, text and screenshot.

    Prints the job's id; with --wait, what was harvested, or the whole result with --json; with -o, writes the
    screenshot. FILE `-` is stdin.
    """
    waits = _waits(wait, output)
    given["format"] = form or (IMAGE_OF_SUFFIX.get(Path(output).suffix.lower()) if output else None)
    body, own = said_options(Kind.RENDER, given)

    def send(source: str) -> Job:
        where = {"url": source} if outputs.is_address(source) else {"html": _html_in(source)}
        return rest.post("/api/dom/render", {**where, **own, **body})

    def fetch(job: Job) -> str | bytes:
        answer = _answer(rest, job)
        if output:
            return rest.bytes_at(answer.data["links"]["image"])
        return answer.written if as_json else outputs.written_facts(render_facts(answer.data))

    return _run(rest, send, fetch, [page], output, ".png", waits=waits, as_json=as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("source", metavar="[URL|FILE]", type=SourceWord(), required=False)
@click.option("--dom-id", metavar="ID", help="Your own name for it; alone, what was rendered under this name.")
@click.option("--pages", metavar="RANGE", help="Which pages of a file, like 1-3,5 or 8-.")
@click.option("--output", "-o", metavar="FILE", help="Write the result to this file, as JSON.")
@with_options("encoding", "rendering", "waiting")
@with_service
def compress(
    rest: Rest, /, source: str | None, output: str | None, wait: bool | None, as_json: bool, **given: Any
) -> Exit:
    """Turn a page of the web, or a file, into vision tokens.

    Prints the job's id; with --wait, what the tokens cost and are worth, or the whole result with --json or -o. FILE
    `-` is stdin.
    """
    if source is None and not given["dom_id"]:
        raise click.UsageError("Name a URL, a FILE, or the --dom-id of what was rendered.")
    waits = _waits(wait, output)
    options, own = said_options(Kind.COMPRESS, given)

    def send(name: str) -> Job:
        if source is None or outputs.is_address(source):
            where = {"url": source} if source else {}
            return rest.post("/api/dom/compress", {**where, **own, **options})
        with open_source(source) as file:
            return rest.post_file("/api/dom/compress", file, file_name(source), {**own, **options})

    def fetch(job: Job) -> str | bytes:
        answer = _answer(rest, job)
        return answer.written if as_json or output else outputs.written_facts(compress_facts(answer.data))

    sources = [source if source is not None else str(given["dom_id"])]
    return _run(rest, send, fetch, sources, output, ".json", waits=waits, as_json=as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("dom_id")
@click.option("--format", "-f", "form", type=click.Choice(TEXTS), help="[default: markdown]")
@click.option("--output", "-o", metavar="FILE", help="Write the text to this file.")
@with_options("waiting")
@with_service
def decompress(
    rest: Rest, /, dom_id: str, form: str | None, output: str | None, wait: bool | None, as_json: bool, **given: Any
) -> Exit:
    """Read a page back from its vision tokens alone.

    Prints the job's id; with --wait or -o, the text, which is a reconstruction; with --json, what is known of it as
    well.
    """
    waits = _waits(wait, output)
    chosen = Format(form or Format.MARKDOWN)
    options, _ = said_options(Kind.DECOMPRESS, {**given, "format": chosen.value})

    def send(name: str) -> Job:
        return rest.post(f"/api/dom/{rest.quoted(name)}/decompress", options)

    def fetch(job: Job) -> bytes:
        return rest.result(job.id, Format.JSON if as_json else chosen)

    suffix = outputs.SUFFIX_OF_FORMAT[chosen]
    return _run(rest, send, fetch, [dom_id], output, suffix, waits=waits, as_json=as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("--session-id", metavar="ID", help="The crawler's own.")
@click.option("--compress/--no-compress", default=None, help="[default: where an engine can]")
@format_option
@click.option("--output", "-o", metavar="PATH", help="Write the text to this file; several, into this folder.")
@with_options("encoding", "rendering", "waiting")
@with_service
def crawl(
    rest: Rest,
    /,
    urls: Sequence[str],
    form: str | None,
    output: str | None,
    wait: bool | None,
    as_json: bool,
    **given: Any,
) -> Exit:
    """Render, read and compress pages of the web, in one job each.

    Prints the jobs' ids; with --wait, what was found, or the page's text with --format, or the whole result with
    --json; with -o, writes the text, as Markdown unless --format says otherwise.
    """
    for url in urls:
        if not outputs.is_address(url):
            raise click.UsageError(f"{url[:200]!r} is not an address like https://example.com/.")
    waits = _waits(wait, output)
    options, _ = said_options(Kind.CRAWL, given)
    text = Format.JSON if as_json else Format(form) if form else Format.MARKDOWN if output else None

    def send(url: str) -> Job:
        return rest.post("/api/crawl", {"url": url, **options})

    def fetch(job: Job) -> str | bytes:
        if text is not None:
            return rest.result(job.id, text)
        return outputs.written_facts(crawl_facts(_answer(rest, job).data))

    suffix = outputs.SUFFIX_OF_FORMAT[text or Format.MARKDOWN]
    return _run(rest, send, fetch, urls, output, suffix, waits=waits, as_json=as_json)


# -- what they have in common ---------------------------------------------


def _waits(wait: bool | None, output: str | None) -> bool:
    if output is not None and wait is False:
        raise click.UsageError("--output needs the result: leave --no-wait out.")
    return bool(wait) or output is not None


def _html_in(source: str) -> str:
    """A file's text; raises OSError."""
    with open_source(source) as file:
        content = file.read()
    try:
        accepted_type(Kind.RENDER, content[:HEAD_BYTES], file_name(source))
    except OcrError as error:
        raise OSError(error.detail) from None
    return html_text(content)


def _answer(rest: Rest, job: Job) -> Answer:
    return parse_answer(rest.result(job.id, Format.JSON), rest.server_url)


def _run(
    rest: Rest,
    send: Callable[[str], Job],
    fetch: Callable[[Job], str | bytes],
    sources: Sequence[str],
    output: str | None,
    suffix: str,
    *,
    waits: bool,
    as_json: bool,
) -> Exit:
    """Send, wait and hand over; without waiting, --json shows the jobs."""
    targets = outputs.plan_targets(sources, output, suffix)
    server = click.get_current_context().params.get("server")
    return Submission(rest, send, fetch, wait=waits, as_json=as_json and not waits, server=server).run(sources, targets)
