"""Renders by the hundred through one warm browser, and nothing may grow: memory, processes, files, folders.

python -m tests.soak.renders --renders 300
"""

from __future__ import annotations

import statistics
import sys
import time
from dataclasses import astuple, fields, replace

import click

from ocr_tasks.errors import OcrError
from ocr_tasks.rendering import RenderOptions, parse_render_options
from ocr_tasks.settings import Settings
from tests.browser.watching import Held, held_by
from workers.sources.browser import Browser, Html, browser_limits

WARM_UP = 20
# What may come on top of the level after the warm-up: a share of it, and some for noise.
ALLOWED = {
    "browser_mb": (0.15, 30.0),
    "own_mb": (0.10, 16.0),
    "processes": (0.0, 2.0),
    "files": (0.0, 3.0),
    "folders": (0.0, 0.0),
    "written_mb": (0.25, 8.0),
}

TEXT = " ".join(f"word{n}" for n in range(300))
PAGES = (
    f"<h1>Article</h1><p>{TEXT}</p>",
    "<table>" + "".join(f"<tr><td>{n}</td><td>row</td></tr>" for n in range(400)) + "</table>",
    f"<p>{TEXT}</p><iframe srcdoc='<p>{TEXT}</p>'></iframe><script>open('about:blank'); alert(1)</script>",
    """<canvas id=c width=2000 height=2000></canvas><script>c.getContext('2d').fillRect(0, 0, 999, 999);
    window.kept = new Array(3e6).fill(1); new Worker(URL.createObjectURL(new Blob(['for(;;);'])))</script>""",
    "<p>中文 العربية</p><script>setInterval(() => document.body.append('x'), 1)</script>",
)
HOSTILE = "<p>x</p><script>for (;;);</script>"


def options(number: int) -> RenderOptions:
    return parse_render_options(
        {"javascript": number % 2 == 0, "format": ("png", "webp", "jpeg")[number % 3], "timeoutMs": 2000}
    )


@click.command()
@click.option("--renders", default=300, show_default=True)
def main(renders: int) -> None:
    """Fail when anything has grown between the first and the last renders after the warm-up."""
    # It must not be renewed: what is looked for is what piles up in one browser.
    limits = replace(browser_limits(Settings(_env_file=None)), renders=renders * 2)
    levels, took, failed = list[Held](), list[float](), 0
    with Browser(limits) as browser:
        for number in range(renders):
            started = time.monotonic()
            page = HOSTILE if number % 25 == 24 else PAGES[number % len(PAGES)]
            try:
                browser.render(Html(page), options(number))
            except OcrError as error:
                failed += 1
                click.echo(f"render {number}: {error.detail}", err=True)
            took.append(time.monotonic() - started)
            levels.append(held_by(browser))
    settled = levels[WARM_UP:]
    third = max(1, len(settled) // 3)
    grown = []
    for column, name in enumerate(field.name for field in fields(Held)):
        before, after = (
            statistics.median(astuple(level)[column] for level in part) for part in (settled[:third], settled[-third:])
        )
        share, some = ALLOWED[name]
        has_grown = after > before * (1 + share) + some
        grown += [name] if has_grown else []
        click.echo(f"{name:12} {before:10.1f} {after:10.1f} {'has grown' if has_grown else ''}")
    click.echo(f"{renders} renders, {failed} failed, median {statistics.median(took):.2f} s, longest {max(took):.2f} s")
    sys.exit(1 if grown else 0)


if __name__ == "__main__":
    main()
