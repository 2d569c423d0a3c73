"""What the pixels tell beside the letters: gaps in a line, ruled lines and edges, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from workers.engine.rapid_models import Pixels
from workers.layout.lines import Box
from workers.layout.rules import Rule, Rules

LEAST_GAP = 0.12  # of a line's height: narrower stretches without ink stand between letters
LEAST_CONTRAST = 24.0  # of 255
LEAST_STEP = 7  # a panel of light grey on white differs by 10 of 255


@dataclass(frozen=True)
class Ink:
    """A line's ink: `gaps` without any, in shares 0..1 of its width; letters' height and stroke, in pixels."""

    gaps: list[tuple[float, float]]
    height: float
    stroke: float = 0.0


def ink(line: Pixels) -> Ink:
    """Look for the ink in a line (height, width, 3), dark on light or light on dark."""
    grey = cv2.cvtColor(line, cv2.COLOR_BGR2GRAY).astype(np.float32)
    height, width = grey.shape
    away = np.abs(grey - np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])))
    most = float(np.percentile(away, 97))
    if most < LEAST_CONTRAST or width < 4 or height < 4:
        return Ink([], height)
    inked = away > 0.4 * most
    # A page without noise shows its thinnest descenders in pale pixels.
    clean = float(np.median(away)) < 0.04 * most
    top, bottom = _letters((away > 0.3 * most).sum(axis=1) >= 1 if clean else inked.sum(axis=1) >= 3)
    columns = inked[height // 10 : height - height // 10].sum(axis=0) >= max(1, round(0.05 * height))
    edges = np.flatnonzero(np.diff(np.concatenate(([True], columns, [True])).astype(np.int8)))
    free = zip(edges[::2], edges[1::2], strict=True)
    gaps = [(float(low / width), float(high / width)) for low, high in free if high - low > LEAST_GAP * height]
    return Ink(gaps, bottom - top, _stroke(away[top:bottom] / most))


def _stroke(shade: npt.NDArray[np.float32]) -> float:
    """The mean width of a stroke in letters (height, width), 0 for paper and 1 for ink, in pixels."""
    edges = np.abs(np.diff(np.clip(shade, 0, 1), axis=1)).sum()
    return float(2 * np.clip(shade, 0, 1).sum() / edges) if edges else 0.0


def _letters(rows: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """From where to where letters reach, given the rows with ink: those around the middle, without the next lines'."""
    full = np.flatnonzero(rows)
    if not len(full):
        return 0, len(rows)
    apart = np.flatnonzero(np.diff(full) > max(2, 0.12 * len(rows)))
    parts = np.split(full, apart + 1)
    middle = max(parts, key=len)
    return int(middle[0]), int(middle[-1]) + 1


def find_rules(page: Pixels, em: float, texts: Sequence[Box]) -> Rules:
    """Straight lines and edges of panels on an upright page (height, width, 3) whose type is `em` pixels high."""
    grey = cv2.cvtColor(page, cv2.COLOR_BGR2GRAY).astype(np.int16)
    least = max(30, round(2.5 * em))
    across = [Rule(y, x1, x2) for x1, y, x2 in _runs(_steps(grey), least)]
    down = [Rule(x, y1, y2) for y1, x, y2 in _runs(_steps(grey.T), max(24, round(1.5 * em)))]
    across = [rule for rule in across if not any(_in_letters(rule, text) for text in texts)]
    sideways = [Box(text.y1, text.x1, text.y2, text.x2) for text in texts]
    return Rules(across, [rule for rule in down if not any(_in_letters(rule, text) for text in sideways)])


def find_pictures(page: Pixels, em: float, texts: Sequence[Box]) -> list[Box]:
    """Areas of a page (height, width, 3) full of shades that are neither paper, nor a plain panel, nor text."""
    grain = max(2, round(em / 2))
    size = (max(1, page.shape[1] // grain), max(1, page.shape[0] // grain))
    small = np.asarray(cv2.resize(page, size, interpolation=cv2.INTER_AREA), np.int16)
    away = np.abs(small - np.median(small, axis=(0, 1))).max(axis=2)
    noise = float(np.median(np.abs(np.diff(small, axis=1)))) if small.shape[1] > 1 else 0.0
    covered = ((away > max(32, 6 * noise)) & ~_plain(small, 2 + 2 * noise)).astype(np.uint8)
    for text in texts:
        x1, y1, x2, y2 = (round(at / grain) for at in (text.x1, text.y1, text.x2, text.y2))
        covered[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1] = 0
    opened = cv2.morphologyEx(covered, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    joined = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    found = []
    for left, top, wide, tall, _ in stats[1:].tolist():
        for x, y, width, height in _apart(opened[top : top + tall, left : left + wide], left, top):
            part = np.s_[y : y + height, x : x + width]
            large = min(width, height) >= 8 and width * height < 0.6 * covered.size
            low, high = np.percentile(small[part][covered[part] > 0], (20, 80), axis=0)
            if large and joined[part].mean() > 0.5 and (high - low).max() > LEAST_CONTRAST:
                half = 0.5  # of a pixel here: those at the edges are only partly covered
                edges = (x + half, y + half, x + width - half, y + height - half)
                found.append(Box(*(edge * grain for edge in edges)))
    return found


def _plain(shades: npt.NDArray[np.int16], most: float) -> npt.NDArray[np.bool_]:
    """Which pixels (height, width, 3) lie in squares of five whose shades differ by `most` and less."""
    square = np.ones((5, 5), np.uint8)
    flat = (cv2.dilate(shades, square) - cv2.erode(shades, square)).max(axis=2) <= most
    return cv2.dilate(flat.astype(np.uint8), square) > 0


def _apart(covered: npt.NDArray[Any], left: int, top: int) -> list[tuple[int, int, int, int]]:
    """The (x, y, width, height) of pictures with paper between them from side to side, or from top to bottom."""
    columns, rows = _runs_of(covered.any(axis=0)), _runs_of(covered.any(axis=1))
    if len(columns) == len(rows) == 1:
        (x1, x2), (y1, y2) = columns[0], rows[0]
        return [(left + x1, top + y1, x2 - x1, y2 - y1)]
    return [
        found for x1, x2 in columns for y1, y2 in rows for found in _apart(covered[y1:y2, x1:x2], left + x1, top + y1)
    ]


def _runs_of(filled: Any) -> list[tuple[int, int]]:
    """Where runs of what is filled start and end."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], np.asarray(filled, np.int8), [0]))))
    return [(int(low), int(high)) for low, high in zip(edges[::2], edges[1::2], strict=True)]


def _steps(grey: npt.NDArray[np.int16]) -> Pixels:
    """Where brightness changes from one row to the one two below: 1, else 0."""
    step = np.zeros(grey.shape, np.int16)
    step[1:-1] = np.abs(grey[2:] - grey[:-2])
    noise = float(np.median(step[::4, ::4]))
    return (step > max(LEAST_STEP, 6 * noise)).astype(np.uint8)


def _runs(steps: Pixels, least: int) -> list[tuple[float, float, float]]:
    """Runs along the rows that are at least `least` long, as (start, row, end)."""
    closed = cv2.morphologyEx(steps, cv2.MORPH_CLOSE, np.ones((1, 9), np.uint8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((1, least), np.uint8))
    # The two edges of one thin line become one run. A letter near a rule may join them, or a rule the letters to the
    # next one: then each edge is a run of its own.
    joined = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((9, 1), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    found: list[tuple[float, float, float]] = []
    for label, (x, y, width, height, _) in enumerate(stats[1:].tolist(), 1):
        if _thin(width, height):
            found.append((float(x), y + height / 2, float(x + width)))
            continue
        own = np.where(labels[y : y + height, x : x + width] == label, opened[y : y + height, x : x + width], 0)
        edges = cv2.connectedComponentsWithStats(own.astype(np.uint8), connectivity=8)[2][1:].tolist()
        found += [
            (x + left, y + top + tall / 2, float(x + left + wide))
            for left, top, wide, tall, _ in edges
            if _thin(wide, tall)
        ]
    return found


def _thin(width: int, height: int) -> bool:
    return height <= max(14, 0.02 * width)


def _in_letters(rule: Rule, text: Box) -> bool:
    """Whether a rule is but a stroke of the letters in a box."""
    more = 0.3 * min(text.width, text.height)
    return text.y1 < rule.at < text.y2 and text.x1 - more <= rule.start and rule.end <= text.x2 + more
