"""`rapid` through the whole stack against RapidOCR in a bare loop, on the same pages."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy
from PIL import Image

from tests.benchmarks.pipeline import benchmark_environment, ended, seconds_between
from tests.benchmarks.report import Finding
from tests.documents import multi_page
from tests.stack import running_stack
from workers.demo import SAMPLE
from workers.sources.documents import Limits, PageImage, rasterise

# The platform's promise for a GPU, in pages a second: 100 pages in 5 minutes.
PROMISED = 100 / 300


def findings(folder: Path, pages: int) -> list[Finding]:
    """Both read the same pages; the bare loop half of its share before the stack and half after."""
    images = scans(pages)
    half = pages // 2
    first = bare_loop(images[:half])
    staged = through_the_stack(folder, images)
    bare = pages / (first + bare_loop(images[half:]))
    return [
        Finding("rapid: pages/s through the stack", staged, "pages/s", PROMISED),
        Finding("rapid: the stack against RapidOCR in a bare loop", staged / bare, "ratio", 0.9),
    ]


def scans(count: int) -> list[Image.Image]:
    """The sample's letter, invoice and article again and again, A4 at 200 dpi."""
    limits = Limits(max_pages=10, max_page_pixels=10**8, pdf_dpi=200)
    pages = rasterise(SAMPLE, "application/pdf", [1, 2, 3], limits=limits)
    images = [Image.open(io.BytesIO(page.content)) for page in pages if isinstance(page, PageImage)]
    return [images[n % len(images)] for n in range(count)]


def bare_loop(images: list[Image.Image]) -> float:
    """Seconds that RapidOCR takes by itself, without its angle classifier, on all cores."""
    from rapidocr import RapidOCR

    threads = os.cpu_count() or 1
    reader = RapidOCR(
        params={
            "Global.use_cls": False,
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        }
    )
    arrays = [numpy.asarray(image.convert("RGB")) for image in images]
    reader(arrays[0])
    started = time.monotonic()
    for array in arrays:
        reader(array)
    return time.monotonic() - started


def through_the_stack(folder: Path, images: list[Image.Image]) -> float:
    """Pages a second of one job with all images, from its first claim to its end."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    with (
        benchmark_environment(folder) as environment,
        running_stack(folder, environment, "web", "prepare", "reconcile", "engine") as stack,
    ):
        document = multi_page(images, "TIFF", compression="tiff_adobe_deflate")
        job = ended(stack, stack.submit(document)["id"])
        assert job["pages"]["succeeded"] == len(images)
        return len(images) / seconds_between(job["startedAt"], job["finishedAt"])
