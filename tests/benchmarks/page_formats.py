"""How page images are best stored: time to write, time to read, bytes, of lossless formats on page-like images.

    python -m tests.benchmarks.page_formats [rounds]

All candidates of a page take turns in every round and the fastest round of each counts, so that what else runs on the
machine hits all alike. Times and sizes are printed as ratios to PNG level 6 with its default strategy.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy
from PIL import Image, ImageDraw

from tests.documents import encoded
from tests.make_sample import article, invoice, letter, scanned
from workers.sources.encode import as_grey_if_grey

FILTERED, HUFFMAN_ONLY, RLE, FIXED = 1, 2, 3, 4  # zlib's strategies

CANDIDATES: dict[str, tuple[str, dict[str, object]]] = {
    "png 6": ("PNG", {"compress_level": 6}),
    "png 3": ("PNG", {"compress_level": 3}),
    "png 2": ("PNG", {"compress_level": 2}),
    "png 1": ("PNG", {"compress_level": 1}),
    "png 1 rle": ("PNG", {"compress_level": 1, "compress_type": RLE}),
    "png 1 huffman": ("PNG", {"compress_level": 1, "compress_type": HUFFMAN_ONLY}),
    "png 1 filtered": ("PNG", {"compress_level": 1, "compress_type": FILTERED}),
    "webp lossless 0": ("WEBP", {"lossless": True, "quality": 0, "method": 0}),
    "tiff lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "tiff zstd": ("TIFF", {"compression": "zstd"}),
    "jpeg 95 (lossy)": ("JPEG", {"quality": 95, "subsampling": 0}),
}
REFERENCE = "png 6"


@dataclass
class Best:
    """The fastest round so far, in seconds, and the size in bytes."""

    write_s: float = float("inf")
    read_s: float = float("inf")
    size_bytes: int = 0


def born_digital() -> Image.Image:
    """A4 at 200 dpi, anti-aliased black text on white."""
    return letter().image.convert("L").point(lambda value: 255 if value > 240 else value)


def screenshot() -> Image.Image:
    """1280 x 4000: flat colours, text, a photograph-like gradient."""
    page = Image.new("RGB", (1280, 4000), "white")
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, 1280, 90), (30, 60, 120))
    for row in range(8):
        draw.rectangle((60, 150 + row * 480, 1220, 560 + row * 480), (240, 242, 246), (200, 205, 210))
        page.paste(letter().image.crop((140, 790, 840, 1150)), (80, 170 + row * 480))
    down, across = numpy.mgrid[0:380, 0:380]
    photo = numpy.stack([down * 0.6, across * 0.6, 120 + 60 * numpy.sin(down / 23) * numpy.cos(across / 17)], -1)
    photo += numpy.random.default_rng(7).normal(0, 3, photo.shape)
    for row in range(0, 8, 2):
        page.paste(Image.fromarray(photo.clip(0, 255).astype(numpy.uint8)), (820, 165 + row * 480))
    return page


def from_scanner(page: Image.Image) -> Image.Image:
    """The page as a scanner's PDF holds it: a JPEG, its grain smoothed by that."""
    return Image.open(io.BytesIO(encoded(page, "JPEG", quality=75))).copy()


def pages() -> dict[str, Image.Image]:
    raw = scanned(letter(), 0.6, 0)
    return {
        "scan, grey": from_scanner(raw.convert("L")),
        "scan, colour": from_scanner(raw),
        "table, scan, colour": from_scanner(scanned(invoice(), -0.4, 1)),
        "scan with all its grain, colour": raw,
        "born digital": born_digital(),
        "two columns, 1 bit": article().image.convert("L").point(lambda value: 255 if value > 160 else 0),
        "screenshot": screenshot(),
    }


def measured(page: Image.Image, rounds: int) -> dict[str, Best]:
    results = {name: Best() for name in CANDIDATES}
    for _ in range(rounds):
        for name, (kind, options) in CANDIDATES.items():
            best, buffer = results[name], io.BytesIO()
            best.write_s = min(best.write_s, timed(lambda: page.save(buffer, kind, **options)))  # noqa: B023
            best.size_bytes = len(buffer.getvalue())
            best.read_s = min(best.read_s, timed(lambda: Image.open(buffer).load()))  # noqa: B023
    return results


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for title, page in pages().items():
        results = measured(page, rounds)
        reference = results[REFERENCE]
        print(f"\n{title}, {page.mode} {page.width} x {page.height}")
        print(f"{'':18} {'write':>7} {'read':>7} {'bytes':>7}   (1.00 = {REFERENCE}:", end=" ")
        print(f"{reference.write_s * 1e3:.0f} ms, {reference.read_s * 1e3:.0f} ms, {reference.size_bytes} bytes)")
        for name, best in results.items():
            write, read = best.write_s / reference.write_s, best.read_s / reference.read_s
            print(f"{name:18} {write:7.2f} {read:7.2f} {best.size_bytes / reference.size_bytes:7.2f}")
        colour = page.convert("RGB")
        check_s = min(timed(lambda: as_grey_if_grey(colour)) for _ in range(rounds))  # noqa: B023
        print(f"{'is it grey?':18} {check_s / reference.write_s:7.2f}")


if __name__ == "__main__":
    main()
