"""The two networks of PP-OCR on onnxruntime: where text lines are, and what a line says.

The model files come with the wheel of `rapidocr`; its own pipeline is not used, because this one needs what that hides:
the detector's scale per page, lines spread over cores one by one, and where in its line each character stands.
Import this module late: it pulls in onnxruntime and OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

Pixels = npt.NDArray[np.uint8]

MASK_THRESHOLD = 0.3  # of the detector's probability map
BOX_THRESHOLD = 0.5
UNCLIP_RATIO = 1.6  # the map shows text shrunk; grown back by area * ratio / perimeter
STRIP_PIXELS = 4_000_000  # the detector sees at most this many pixels at once: about 1 GB of memory
LINE_HEIGHT = 48  # what the recogniser was trained on, in pixels
LEAST_WIDTH = 320


@dataclass(frozen=True)
class FoundLine:
    """A line of text as the detector sees it: a rectangle that may be turned. Pixels, degrees."""

    center: tuple[float, float]
    width: float  # along the text
    height: float
    angle: float  # clockwise, in -45..45 for a line that lies, around 90 for one that stands
    score: float


@dataclass(frozen=True)
class ReadLine:
    """What a line says. `places` are the characters' middles as shares 0..1 of the line's width."""

    text: str
    score: float
    places: tuple[float, ...]


def model_files() -> tuple[Path, Path]:
    """The newest detector and recogniser in the wheel of rapidocr; raises FileNotFoundError."""
    package = find_spec("rapidocr")
    if package is None or package.origin is None:
        raise FileNotFoundError("rapidocr is not installed; install lightdom-ocr[workers]")
    folder = Path(package.origin).parent / "models"
    found = [sorted(folder.glob(f"*_{part}_*.onnx")) for part in ("det", "rec")]
    if not all(found):
        raise FileNotFoundError(f"No PP-OCR models in {folder}; rapidocr {version('rapidocr')} does not ship them")
    return found[0][-1], found[1][-1]


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # Without the arena every run maps and unmaps its memory: a third slower.
    options.enable_cpu_mem_arena = True
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Detector:
    """Finds lines of text. One page at a time on all its threads."""

    def __init__(self, path: Path, threads: int) -> None:
        self._session = _session(path, threads)
        self._input = self._session.get_inputs()[0].name

    def find(self, page: Pixels, scale: float) -> list[FoundLine]:
        """Lines of a page (height, width, 3) in BGR, seen at `scale`, in pixels of the page."""
        height, width = (max(32, round(side * scale / 32) * 32) for side in page.shape[:2])
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = np.asarray(cv2.resize(page, (width, height), interpolation=way), np.uint8)
        lines: list[FoundLine] = []
        for top, bottom in strips(small, max(256, STRIP_PIXELS // width)):
            lines += [
                FoundLine((line.center[0], line.center[1] + top), line.width, line.height, line.angle, line.score)
                for line in self._find_in(np.ascontiguousarray(small[top:bottom]))
            ]
        across, down = page.shape[1] / width, page.shape[0] / height
        return [
            FoundLine(
                (line.center[0] * across, line.center[1] * down),
                line.width * across,
                line.height * down,
                line.angle,
                line.score,
            )
            for line in lines
        ]

    def _find_in(self, strip: Pixels) -> list[FoundLine]:
        height, width = strip.shape[:2]
        padded = cv2.copyMakeBorder(strip, 0, -height % 32, 0, -width % 32, cv2.BORDER_REPLICATE)
        pixels = (padded.astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)[None]
        chances = self._session.run(None, {self._input: pixels})[0][0, 0]
        mask = cv2.dilate((chances > MASK_THRESHOLD).astype(np.uint8), np.ones((2, 2), np.uint8))
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        found = (_line_of(np.asarray(contour, np.int32), chances) for contour in contours)
        return [line for line in found if line]


def strips(page: Pixels, most: int) -> list[tuple[int, int]]:
    """Cut a page into strips of at most `most` rows, each cut where the rows are most even."""
    height = page.shape[0]
    cuts = [0]
    while height - cuts[-1] > most:
        low, high = cuts[-1] + most * 3 // 4, cuts[-1] + most
        unrest = page[low:high].std(axis=(1, 2))
        # The middle of the widest quiet stretch would be better still; the quietest row is enough to miss the letters.
        cuts.append(low + int(unrest.argmin()))
    return list(zip(cuts, [*cuts[1:], height], strict=True))


def _line_of(contour: npt.NDArray[np.int32], chances: npt.NDArray[np.float32]) -> FoundLine | None:
    (x, y), (width, height), angle = cv2.minAreaRect(contour)
    if min(width, height) < 3 or _mean_inside(contour, chances) < BOX_THRESHOLD:
        return None
    if width < height:
        width, height, angle = height, width, angle - 90
    if angle < -90:
        angle += 180
    grow = width * height * UNCLIP_RATIO / (width + height)
    # Sideways a short line would grow too little to keep its first thin letter.
    return FoundLine((x, y), width + height * UNCLIP_RATIO, height + grow, angle, _mean_inside(contour, chances))


def _mean_inside(contour: npt.NDArray[np.int32], chances: npt.NDArray[np.float32]) -> float:
    x, y, width, height = cv2.boundingRect(contour)
    mask = np.zeros((height, width), np.uint8)
    cv2.drawContours(mask, [contour], -1, 1, cv2.FILLED, offset=(-x, -y))
    return float(cv2.mean(chances[y : y + height, x : x + width], mask)[0])


class Recogniser:
    """Reads lines: each alone, on one of the threads.

    A line is never padded to the width of another, so what it says does not depend on what else is read with it.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._session = _session(path, 1)
        self._input = self._session.get_inputs()[0].name
        characters = self._session.get_modelmeta().custom_metadata_map["character"].splitlines()
        self._characters = ["", *characters, " "]  # 0 is the blank of CTC
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="recogniser")

    def read(self, lines: Sequence[Pixels]) -> list[ReadLine]:
        """Read lines (height, width, 3) in BGR, in their order."""
        longest_first = sorted(range(len(lines)), key=lambda at: -lines[at].shape[1] / lines[at].shape[0])
        read = dict(zip(longest_first, self._pool.map(self._read, [lines[at] for at in longest_first]), strict=True))
        return [read[at] for at in range(len(lines))]

    def _read(self, line: Pixels) -> ReadLine:
        height, width = line.shape[:2]
        wide = max(8, round(width * LINE_HEIGHT / height))
        resized = cv2.resize(line, (wide, LINE_HEIGHT), interpolation=cv2.INTER_LINEAR)
        padded = np.zeros((1, 3, LINE_HEIGHT, max(LEAST_WIDTH, wide)), np.float32)
        padded[0, :, :, :wide] = resized.transpose(2, 0, 1) / 127.5 - 1.0
        chances = self._session.run(None, {self._input: padded})[0][0]
        return self._decode(chances, wide / padded.shape[3])

    def _decode(self, chances: npt.NDArray[np.float32], filled: float) -> ReadLine:
        """The best CTC path through (steps, characters); `filled` is the share of the steps that is not padding."""
        best = chances.argmax(axis=1)
        starts = np.flatnonzero((best != 0) & np.concatenate(([True], best[1:] != best[:-1])))
        if not len(starts):
            return ReadLine("", 0.0, ())
        text = "".join(self._characters[best[at]] for at in starts)
        score = float(chances[starts, best[starts]].mean())
        places = tuple(float(min(1.0, (at + 0.5) / len(best) / filled)) for at in starts)
        return ReadLine(text, score, places)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
