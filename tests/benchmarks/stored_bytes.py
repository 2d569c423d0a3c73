"""What a page of the web takes as vision tokens, against its DOM compressed and its screenshot as WebP.

The vision tokens are drawn in the published size (hidden 1280): their bytes hardly depend on the numbers.
"""

from __future__ import annotations

import gzip
import io
import random

import zstandard
from PIL import Image

from ocr_tasks.contract import Mode
from ocr_tasks.rendering import parse_render_options
from ocr_tasks.settings import Settings
from tests.benchmarks.report import Finding
from tests.benchmarks.vision_tokens import DTYPES, KIB, page_in
from workers.engine.deepseek.families import Family
from workers.sources.browser import Browser, Harvest, Html, browser_limits
from workers.sources.cuts import blank_rows, cut_pages, open_screenshot
from workers.visual import pack

VOCABULARY = (
    "archive register volume deed clerk parish council minutes of the and a in on with for paper ink seal lane river "
    "bridge market harbour open closed monday letter from to by catalogue shelf box folder index page"
)
WORDS = VOCABULARY.split()


def findings() -> list[Finding]:
    limits = browser_limits(Settings(_env_file=None))
    with Browser(limits) as browser:
        found = []
        for name, html in PAGES.items():
            harvest = browser.render(Html(html), parse_render_options({}))
            found += of_harvest(name, harvest, limits.max_pixels)
    return found


def of_harvest(name: str, harvest: Harvest, max_pixels: int) -> list[Finding]:
    """KiB of one page of the web in each form that it can be kept in."""
    image = open_screenshot(harvest.image, max_pixels)
    cuts = cut_pages(image.width, image.height, [run.box for run in harvest.runs], blank=blank_rows(image))
    dom = harvest.dom.encode()
    sizes = {
        "text": len(harvest.text.encode()),
        "DOM": len(dom),
        "DOM, gzip -9": len(gzip.compress(dom, 9)),
        "DOM, zstd -19": len(zstandard.ZstdCompressor(level=19).compress(dom)),
        "screenshot, WebP lossless": webp(harvest.image, lossless=True),
        "screenshot, WebP quality 80": webp(harvest.image, quality=80),
    }
    modes: tuple[Mode, ...] = ("tiny", "base")
    for mode in modes:
        page = page_in(mode, Family.DEEPSEEK_OCR)  # in these modes, all pages have as many
        for dtype in DTYPES:
            sizes[f"vision tokens of {len(cuts)} page(s) in {mode}, {dtype}"] = len(cuts) * len(pack(page, dtype))
    return [Finding(f"{name}: {form}", size / KIB, "KiB") for form, size in sizes.items()]


def webp(png: bytes, **how: int) -> int:
    """Bytes of a screenshot as WebP; one taller than a WebP may be is halved, and the halves are added up."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    total = 0
    for top in range(0, image.height, 16_000):
        file = io.BytesIO()
        image.crop((0, top, image.width, min(image.height, top + 16_000))).save(file, "WEBP", **how)
        total += file.tell()
    return total


def article() -> str:
    chance = random.Random(1)
    prose = "".join(f"<p>{sentence(chance, 90)}</p>" for _ in range(14))
    return document(f"<h1>The register</h1>{prose}")


def shop() -> str:
    """Cards in a grid, with the markup that frameworks put around a little text."""
    chance = random.Random(2)
    cards = "".join(
        f'<div class="card card--product js-card" data-id="{n}" data-price="{n * 7}"><div class="card__media">'
        f'<div style="height:120px;background:hsl({n * 37 % 360},60%,70%)"></div></div><div class="card__body">'
        f'<h3 class="card__title">{sentence(chance, 4)}</h3><p class="card__price">{n * 7},99 €</p>'
        f'<button class="btn btn--primary" type="button" aria-label="add">Add</button></div></div>'
        for n in range(60)
    )
    return document(
        f'<div style="display:grid;grid-template-columns:repeat(5,1fr);gap:24px">{cards}</div>',
    )


def long_table() -> str:
    chance = random.Random(3)
    rows = "".join(f"<tr><td>{n}</td><td>{sentence(chance, 6)}</td><td>{n * 17}</td></tr>" for n in range(200))
    return document(f"<h1>Catalogue</h1><table>{rows}</table>")


def sentence(chance: random.Random, count: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(count)).capitalize() + "."


def document(body: str) -> str:
    return f"<!doctype html><html><head><title>Page</title></head><body style='margin:40px'>{body}</body></html>"


PAGES = {"article": article(), "shop": shop(), "long table": long_table()}
