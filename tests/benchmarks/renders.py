"""A warm browser against a plain Selenium script that opens and quits one for each page.

python -m tests.benchmarks.renders
"""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from ocr_tasks.rendering import parse_render_options
from ocr_tasks.settings import Settings
from tests.benchmarks.report import Finding, interleaved, table, write_json
from workers.sources.browser import Browser, Html, browser_limits
from workers.sources.browser.programs import browser_program, driver_program

ROWS = "".join(f"<tr><td>{n}</td><td>Item number {n} of a list</td><td>{n * 17} €</td></tr>" for n in range(60))
PROSE = "".join(f"<p>{' '.join(f'word{n}' for n in range(k, k + 120))}</p>" for k in range(0, 1200, 120))
PAGE = f"<!doctype html><html><head><title>Page</title></head><body><h1>A page</h1>{PROSE}<table>{ROWS}</table>"
OPTIONS = parse_render_options({})
LIMITS = browser_limits(Settings(_env_file=None))


def findings(pages: int, rounds: int) -> list[Finding]:
    with Browser(LIMITS) as browser:
        warm(browser)
        rates = interleaved(
            rounds, warm=lambda: per_second(lambda: warm(browser), pages), plain=lambda: per_second(plain, pages)
        )
    return [
        Finding("renders: warm", rates["warm"], "pages/s"),
        Finding("renders: a plain script, a browser for each page", rates["plain"], "pages/s"),
        Finding("renders: warm against plain", rates["warm"] / rates["plain"], "ratio", 2),
    ]


def per_second(render: Callable[[], None], pages: int) -> float:
    started = time.monotonic()
    for _ in range(pages):
        render()
    return pages / (time.monotonic() - started)


def warm(browser: Browser) -> None:
    """Picture, DOM, and text with boxes."""
    assert browser.render(Html(PAGE), OPTIONS).text


def plain() -> None:
    """Picture, DOM, and text."""
    options = Options()
    options.binary_location = str(browser_program(LIMITS))
    for switch in ("--headless=new", "--no-sandbox", "--window-size=1920,1080"):
        options.add_argument(switch)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Path(folder) / "page.html"
        page.write_text(PAGE, encoding="utf-8")
        driver = webdriver.Chrome(options=options, service=Service(str(driver_program(LIMITS))))
        with suppress(OSError):
            driver.get(page.as_uri())
            picture = {"captureBeyondViewport": True, "format": "png"}
            assert base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", picture)["data"])
            assert driver.page_source
            assert driver.execute_script("return document.body.innerText")
        driver.quit()


@click.command()
@click.option("--pages", default=5, show_default=True, help="Pages of a round.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the findings here too.")
def main(pages: int, rounds: int, path: Path | None) -> None:
    """Measure renders and print a table. Close what else runs on the machine first."""
    found = findings(pages, rounds)
    click.echo(table(found))
    if path:
        write_json(found, path)


if __name__ == "__main__":
    main()
