"""Pages drawn by Chromium, many on a sheet: its way of shaping, spacing and smoothing letters is not Pillow's."""

from __future__ import annotations

import html
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy
import structlog
from PIL import Image, ImageFont
from selenium import webdriver

from workers.nano.alphabet import CHARACTERS
from workers.nano.architecture import SIDE
from workers.nano.fonts import font_files
from workers.nano.pages import Density, Page, colours, size_for
from workers.nano.texts import Writer

log = structlog.get_logger(__name__)

ACROSS = 8
"""Pages of a sheet along each side."""
DENSITIES = ((3, Density(4, 50)), (3, Density(30, 110)), (5, Density(70, 170)), (3, Density(130, 260)))

STYLE = f"""
body {{ margin: 0; }}
div {{ position: absolute; width: {SIDE}px; height: {SIDE}px; overflow: hidden; box-sizing: border-box; }}
p, h2 {{ margin: 0; }}
"""
# For each page its characters with left, right, top and bottom, in the order of the text; nothing for those that are
# not to be seen. A page that does not fit gives null.
MEASURE = """
return [...document.querySelectorAll('div')].map(div => {
  const own = div.getBoundingClientRect();
  if (div.scrollHeight > div.clientHeight || div.scrollWidth > div.clientWidth) return null;
  const found = [];
  const texts = document.createTreeWalker(div, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode;
    for (let at = 0; at < node.length; at++) {
      const range = document.createRange();
      range.setStart(node, at); range.setEnd(node, at + 1);
      const box = range.getClientRects()[0];
      if (box && box.width > 0)
        found.push([node.data[at], box.left - own.left, box.right - own.left, box.top - own.top, box.bottom - own.top]);
    }
  }
  return found;
});
"""


def draw_sheets(folder: Path, count: int, seed: int) -> None:
    """Draw what is missing of so many sheets; without Chromium only say so, as Pillow's pages do for training."""
    if not (shutil.which("chromium") or shutil.which("chromium-headless-shell") or shutil.which("google-chrome")):
        log.warning("no_chromium", text="all pages are drawn by Pillow")
        return
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(count) if not (folder / f"{number:04}.npz").exists()]
    if not missing:
        return
    driver = _driver()
    try:
        for number in missing:
            pages = list(_sheet(driver, Random(seed * 10_000 + number), folder / "sheet.html"))
            _write(folder / f"{number:04}.npz", pages)
    finally:
        driver.quit()
        (folder / "sheet.html").unlink(missing_ok=True)


def read_sheets(folder: Path) -> list[Page]:
    """All pages of all sheets."""
    pages: list[Page] = []
    for path in sorted(folder.glob("*.npz")):
        with numpy.load(path) as stored:
            texts, ends = json.loads(str(stored["texts"])), stored["ends"]
            parts = numpy.split(stored["centres"], ends[:-1])
            images = stored["images"]
            pages += [Page(*page) for page in zip(images, texts, parts, strict=True)]
    return pages


def _write(path: Path, pages: list[Page]) -> None:
    numpy.savez_compressed(
        path,
        images=numpy.stack([page.image for page in pages]),
        texts=json.dumps([page.text for page in pages]),
        centres=numpy.concatenate([page.centres for page in pages]),
        ends=numpy.cumsum([len(page.text) for page in pages]),
    )


def _driver() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--hide-scrollbars", "--force-device-scale-factor=1", "--disable-gpu"):
        options.add_argument(argument)
    options.add_argument(f"--window-size={ACROSS * SIDE},{ACROSS * SIDE}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # only ever shown pages of its own making
    options.binary_location = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), "")
    return webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))


def _sheet(driver: webdriver.Chrome, random: Random, path: Path) -> Iterator[Page]:
    writer = Writer(random)
    families = _families()
    cells = [(column * SIDE, row * SIDE) for row in range(ACROSS) for column in range(ACROSS)]
    body = "".join(_cell(random, writer, families, x, y) for x, y in cells)
    path.write_text(f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{body}", encoding="utf-8")
    driver.get(path.resolve().as_uri())
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": ACROSS * SIDE, "height": ACROSS * SIDE, "deviceScaleFactor": 1, "mobile": False},
    )
    measured: list[Any] = driver.execute_script(MEASURE)
    image = numpy.asarray(Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB"))
    for (x, y), found in zip(cells, measured, strict=True):
        page = _page(image[y : y + SIDE, x : x + SIDE].copy(), found) if found else None
        if page is not None:
            yield page


def _page(image: Any, found: list[Any]) -> Page | None:
    """A page of the characters found: a new line begins where one stands left of the one before and below it."""
    text = ""
    centres: list[tuple[float, float]] = []
    before: Any = None
    for character, left, right, top, bottom in found:
        if character not in CHARACTERS:
            return None
        if before is not None and left < before[0] and top > before[1]:
            text = text.rstrip(" ")
            centres = centres[: len(text)]
            text += "\n"
            centres.append((before[2], (before[1] + before[3]) / 2))
        if character == " " and (not text or text[-1] in " \n"):
            continue
        text += character
        centres.append(((left + right) / 2, (top + bottom) / 2))
        before = left, top, right, bottom
    text = text.rstrip()
    return Page(image, text, numpy.array(centres[: len(text)], numpy.float32)) if text else None


def _families() -> list[str]:
    return sorted({str(ImageFont.truetype(str(path), 10).getname()[0]) for path in font_files(kept_out=False)})


def _cell(random: Random, writer: Writer, families: list[str], x: int, y: int) -> str:
    """A page as HTML: paragraphs, at times with a heading or as a list."""
    density = random.choices([d for _, d in DENSITIES], [w for w, _ in DENSITIES])[0]
    characters = random.randint(density.least, density.most)
    paper, ink = colours(random) if random.random() < 0.6 else ((255,) * 3, (0,) * 3)
    style = {
        "left": f"{x}px",
        "top": f"{y}px",
        "background": "rgb({},{},{})".format(*paper),
        "color": "rgb({},{},{})".format(*ink),
        "font-family": f"'{random.choice(families)}'",
        "font-size": f"{0.95 * size_for(random, characters, density):.1f}px",
        "font-weight": random.choice(["400", "400", "700"]),
        "font-style": random.choice(["normal", "normal", "normal", "italic"]),
        "line-height": f"{random.uniform(1.1, 1.6):.2f}",
        "padding": f"{random.randint(2, 24)}px {random.randint(2, 24)}px",
        "text-align": random.choice(["left", "left", "left", "center", "right"]),
    }
    words = writer.words(characters)
    parts = _cut(random, words)
    gap = f"margin-bottom:{random.uniform(0, 0.8):.1f}em"
    heading = len(parts) > 1 and random.random() < 0.5
    tags = ["h2" if heading and number == 0 else "p" for number in range(len(parts))]
    blocks = [
        f'<{tag} style="{gap}{";font-size:1.2em" if tag == "h2" else ""}">{html.escape(" ".join(part))}</{tag}>'
        for tag, part in zip(tags, parts, strict=True)
    ]
    return f'<div style="{";".join(f"{name}:{value}" for name, value in style.items())}">{"".join(blocks)}</div>'


def _cut(random: Random, words: list[str]) -> list[list[str]]:
    """Words in one to four parts."""
    places = sorted(random.sample(range(1, len(words)), min(len(words) - 1, random.choice([0, 0, 1, 2, 3]))))
    return [words[start:end] for start, end in zip([0, *places], [*places, len(words)], strict=True)]
