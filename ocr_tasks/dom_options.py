"""Options that the commands about pages of the web share, and what requests carry of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ocr_tasks.commands import as_json_option
from ocr_tasks.contract import Kind, Priority
from ocr_tasks.errors import OcrError
from ocr_tasks.kinds.options import OPTIONS, parse_job_options

T = TypeVar("T")


def _viewport(ctx: click.Context, param: click.Parameter, given: str | None) -> dict[str, int] | None:
    width, times, height = (given or "").partition("x")
    if given is None:
        return None
    if not (times and width.isdecimal() and height.isdecimal() and len(given) < 20):
        raise click.BadParameter(f"{given[:40]!r} is not a size like 1280x720.")
    return {"width": int(width), "height": int(height)}


def _headers(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> dict[str, str] | None:
    parted = [header.partition(":") for header in given]
    for name, colon, _ in parted:
        if not colon:
            raise click.BadParameter(f"{name[:40]!r} is not a header like 'Accept-Language: de'.")
    return {name.strip(): value.strip() for name, _, value in parted} or None


_SHARED = {
    "waiting": (
        click.option("--wait/--no-wait", default=None, help="Wait for the result.  [default: no, but with -o]"),
        click.option("--priority", type=click.Choice([priority.value for priority in Priority])),
        as_json_option,
    ),
    "rendering": (
        click.option("--viewport", metavar="WxH", callback=_viewport, help="Size of the window.  [default: 1920x1080]"),
        click.option("--full-page/--window-only", default=None, help="Show the page down to its end.  [default: yes]"),
        click.option("--javascript/--no-javascript", default=None, help="[default: for addresses, not for files]"),
        click.option("--wait-for", metavar="WHAT", help="load, domcontentloaded, networkidle, css=SELECTOR or ms."),
        click.option("--timeout-ms", type=int, help="How long that may take."),
        click.option("--header", "headers", metavar="NAME:VALUE", multiple=True, callback=_headers),
        click.option("--user-agent", metavar="TEXT"),
        click.option("--device-scale-factor", type=float, metavar="N"),
        click.option("--color-scheme", type=click.Choice(["light", "dark"])),
    ),
    "encoding": (
        click.option("--mode", type=click.Choice(["tiny", "small", "base", "large", "gundam", "auto"])),
        click.option("--compression-ratio", type=float, metavar="N", help="Text tokens per vision token to aim at."),
        click.option("--min-quality", type=float, metavar="Q", help="The smallest mode that is read back so well."),
        click.option("--dtype", type=click.Choice(["bf16", "int8", "int4"]), help="[default: int8]"),
        click.option("--verify/--no-verify", default=None, help="Read it back at once, and say how well."),
    ),
}  # fmt: skip


def with_options(*names: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command the options of these groups."""

    def add(command: Callable[..., T]) -> Callable[..., T]:
        options = [option for name in names for option in _SHARED[name]]
        return functools.reduce(lambda made, option: option(made), reversed(options), command)

    return add


def said_options(kind: Kind, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was said on the command line: options as requests carry them, and the page's own name beside them.

    Raises click.UsageError for what the service would refuse.
    """
    model = OPTIONS[kind]
    said = {name: value for name, value in given.items() if value is not None}
    own = {"domId": said.pop("dom_id")} if "dom_id" in said else {}
    body = {model.model_fields[name].alias or name: value for name, value in said.items()}
    try:
        return parse_job_options(model, body).sent(), own
    except OcrError as error:
        raise click.UsageError(error.detail) from None
