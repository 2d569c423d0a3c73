"""The engine `rapid`: PP-OCR on the CPU with a layout analysis. Reads; neither encodes nor decodes."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from importlib.metadata import version

from PIL import Image, ImageDraw

from ocr_tasks.contract import Operation, PageResult
from workers.engine import PageDone, PageWork, WorkId

LAYOUT_VERSION = 10  # raise it with every change that makes pages come out differently


class RapidEngine:
    """Reads one page a step, on all its threads.

    The detector runs on all threads; then the page's lines are spread over them, a line each. So several pages at once
    would not be faster; one at a time an evicted page costs nothing, and an error is told from its page by whoever runs
    it again alone. On two cores and the same pages, interleaved, a page takes 0.66 of the time that RapidOCR in a bare
    loop takes: the detector looks at a page only as closely as its type needs, and no line is padded to the width of
    others (batches of six lines took 1.0 to 1.6 of the time of single lines, one session on two threads 1.1).
    """

    name = "rapid"
    operations = frozenset({Operation.READ})
    capacity = 1  # what waits does so in the batcher, in its order

    def __init__(self, cpu_threads: int | None = None) -> None:
        # Before the import: onnxruntime 1.29 and later reports to its makers unless told not to.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        # Late: onnxruntime and OpenCV take a second to import, and only a node of this engine needs them.
        from workers.engine.rapid_models import Detector, Recogniser, model_files
        from workers.engine.rapid_reading import Reader

        threads = cpu_threads or os.cpu_count() or 1
        detector, recogniser = model_files()
        self.revision = f"rapidocr-{version('rapidocr')}+{detector.stem}+{recogniser.stem}+layout-{LAYOUT_VERSION}"
        self._recogniser = Recogniser(recogniser, threads)
        self._reader = Reader(Detector(detector, threads), self._recogniser)
        self._held: dict[WorkId, PageWork] = {}
        self._warm_up()

    def admit(self, works: Sequence[PageWork]) -> None:
        self._held.update((work.id, work) for work in works)

    def step(self) -> Sequence[PageDone]:
        if not self._held:
            return []
        work = self._held.pop(next(iter(self._held)))
        try:
            return [PageDone(work.id, self._read(work))]
        except BaseException:
            self._held.clear()
            raise

    def evict(self, ids: Collection[WorkId]) -> None:
        for work_id in ids:
            self._held.pop(work_id, None)

    def close(self) -> None:
        self._held.clear()
        self._recogniser.close()

    def _read(self, work: PageWork) -> PageResult:
        from workers.layout.page import arrange

        started = time.monotonic()
        reading = self._reader.read(work.image)
        result = arrange(reading.lines, reading.rules, reading.figures, reading.page.original, work.options)
        elapsed_ms = round((time.monotonic() - started) * 1000)
        return result.model_copy(update={"inference_ms": elapsed_ms})

    def _warm_up(self) -> None:
        """Read a small page, so that the first real one does not wait for memory and kernels."""
        image = Image.new("RGB", (640, 200), "white")
        ImageDraw.Draw(image).text((40, 60), "warm up", fill="black", font_size=48)
        self._reader.read(image)
