"""From the image of a page to its lines of text, and the way back to the image's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from workers.engine.rapid_ink import Ink, find_pictures, find_rules, ink
from workers.engine.rapid_models import Detector, FoundLine, Pixels, ReadLine, Recogniser
from workers.layout.lines import Box, Line, usual_em
from workers.layout.rules import Rules
from workers.layout.words import letters_height

USUAL_SIDE = 1200  # pixels of a page's shorter side in the detector's first look
LEAST_SCALE, MOST_SCALE = 0.3, 1.5
SMALL_LINE = 15.0  # lines lower than this in the first look, in its pixels, make for a second, closer one
CLOSE_LINE = 22.0  # how high the second look shows them
STRAIGHT = 0.15  # degrees of skew that are left alone
LEAST_SCORE = 0.5
LEAST_ROOM = 1.05  # ems that the detector's boxes are high, or more
SAMPLE = 5  # lines read to find out which way is up
SURE = 0.85  # their mean score from which nobody asks further

Matrix = npt.NDArray[np.float64]
Readings = dict[FoundLine, ReadLine]


@dataclass(frozen=True)
class Upright:
    """A page turned upright. `back` (2, 3) leads from its pixels to those of the page's image."""

    pixels: Pixels
    back: Matrix
    size: tuple[int, int]  # of the page's image: width, height

    def original(self, box: Box) -> tuple[int, int, int, int]:
        """A box of the upright page, in pixels of the page's image."""
        corners = np.array([[x, y, 1.0] for x in (box.x1, box.x2) for y in (box.y1, box.y2)]) @ self.back.T
        (x1, y1), (x2, y2) = corners.min(axis=0), corners.max(axis=0)
        width, height = self.size
        left, top = (int(np.clip(round(at), 0, side - 1)) for at, side in ((x1, width), (y1, height)))
        right, bottom = (
            int(np.clip(round(at), low + 1, side)) for at, low, side in ((x2, left, width), (y2, top, height))
        )
        return left, top, right, bottom


@dataclass(frozen=True)
class Reading:
    """An upright page, the lines read on it, in no order, and what else is drawn there."""

    page: Upright
    lines: list[Line]
    rules: Rules = field(default_factory=Rules)
    figures: list[Box] = field(default_factory=list)


class Reader:
    """Reads pages with one detector and one recogniser."""

    def __init__(self, detector: Detector, recogniser: Recogniser) -> None:
        self._detector = detector
        self._recogniser = recogniser

    def read(self, image: Image.Image) -> Reading:
        """The lines of a page image (RGB or L)."""
        pixels: Pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
        page = Upright(pixels, np.eye(3)[:2], image.size)
        scale = float(np.clip(USUAL_SIDE / min(image.size), LEAST_SCALE, MOST_SCALE))
        found = self._detector.find(pixels, scale)
        if not found:
            return Reading(page, [])
        page, found, known = self._straighten(page, found)
        closer = _closer(found, scale)
        if known is None or closer > scale:
            found = self._detector.find(page.pixels, closer) or found
        found = _laid(found)
        lines = self._lines(page.pixels, found, known or {})
        if not lines:
            return Reading(page, [])
        em, boxes = usual_em(lines), [line.box for line in lines]
        rules = find_rules(page.pixels, em, boxes)
        return Reading(page, lines, rules, find_pictures(page.pixels, em, boxes))

    def _lines(self, pixels: Pixels, found: Sequence[FoundLine], known: Readings) -> list[Line]:
        crops = {line: crop(pixels, line) for line in found}
        unread = [line for line in crops if line not in known]
        read = known | dict(zip(unread, self._recogniser.read([crops[line] for line in unread]), strict=True))
        return [
            _line(line, read[line], ink(crops[line]))
            for line in found
            if read[line].text.strip() and read[line].score >= LEAST_SCORE
        ]

    def _straighten(self, page: Upright, found: list[FoundLine]) -> tuple[Upright, list[FoundLine], Readings | None]:
        """Turn a page upright, by quarters and then by its skew.

        Returns what was read on the way, or None when the page was turned and must be looked at again.
        """
        before = page
        if _standing(found):
            found = [_quarter(line, page.pixels.shape[0]) for line in found]
            page = _turned(page)
        known = self._upright(page.pixels, found)
        if known is None:
            found = [_half(line, page.pixels.shape) for line in found]
            page = _turned(_turned(page))
        angle = _skew(found)
        if abs(angle) >= STRAIGHT:
            page = _rotated(page, angle)
        return page, found, known if page is before else None

    def _upright(self, pixels: Pixels, found: Sequence[FoundLine]) -> Readings | None:
        """What some lines say, or None when they read better the other way up."""
        middling = sorted(found, key=lambda line: abs(line.width / line.height - 8))[:SAMPLE]
        crops = [crop(pixels, line) for line in middling]
        read = self._recogniser.read(crops)
        upright = _mean_score(read)
        if upright < SURE:
            turned = self._recogniser.read([np.ascontiguousarray(line[::-1, ::-1]) for line in crops])
            if _mean_score(turned) > upright + 0.05:
                return None
        return dict(zip(middling, read, strict=True))


def _mean_score(read: Sequence[ReadLine]) -> float:
    return float(np.mean([line.score for line in read]))


def crop(pixels: Pixels, line: FoundLine) -> Pixels:
    """Cut a line out of its page, lying: (height, width, 3)."""
    angle, (x, y) = line.angle, line.center
    if abs(angle) > 45:  # it stands, and reads from the bottom up as the spines of most charts do
        lying = crop(np.ascontiguousarray(np.rot90(pixels, -1)), _quarter(line, pixels.shape[0]))
        return np.ascontiguousarray(lying[::-1, ::-1]) if angle < 0 else lying
    if line.width * abs(np.radians(angle)) < 0.2 * line.height:
        height, width = pixels.shape[:2]
        x1, x2 = max(0, int(x - line.width / 2)), min(width, int(x + line.width / 2) + 1)
        y1, y2 = max(0, int(y - line.height / 2)), min(height, int(y + line.height / 2) + 1)
        return np.ascontiguousarray(pixels[y1:y2, x1:x2])
    matrix = cv2.getRotationMatrix2D((x, y), angle, 1.0)
    matrix[:, 2] += np.array([line.width / 2 - x, line.height / 2 - y])
    size = (max(1, round(line.width)), max(1, round(line.height)))
    turned = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.uint8)


def _line(where: FoundLine, what: ReadLine, seen: Ink) -> Line:
    (x, y), width, height = where.center, where.width, where.height
    if abs(where.angle) > 45:
        return Line(Box(x - height / 2, y - width / 2, x + height / 2, y + width / 2), what.text, what.score)
    x1, x2 = x - width / 2, x + width / 2
    places = tuple(x1 + place * width for place in what.places)
    empty = [(x1 + low * width, x1 + high * width) for low, high in seen.gaps]
    # The detector leaves a margin; columns are told by where the ink ends.
    left = empty.pop(0)[1] if empty and empty[0][0] <= x1 else x1
    right = empty.pop()[0] if empty and empty[-1][1] >= x2 - 1 else x2
    box = Box(left, y - height / 2, max(right, left + 1), y + height / 2)
    size = min(seen.height / letters_height(what.text), height / LEAST_ROOM)  # specks look like ink, too
    return Line(box, what.text, what.score, places, tuple(empty), size, seen.stroke / size)


def _closer(found: Sequence[FoundLine], scale: float) -> float:
    """The scale at which the smallest lines are seen well: the given one unless they are very small."""
    lowest = float(np.percentile([line.height for line in found], 10))
    if lowest * scale >= SMALL_LINE:
        return scale
    return min(MOST_SCALE, CLOSE_LINE / lowest)


def _standing(found: Sequence[FoundLine]) -> bool:
    """Whether most of the text stands; a letter or two alone tell nothing."""
    long = [line for line in found if line.width > 2.5 * line.height]
    return sum(line.width for line in long if abs(line.angle) > 45) > 0.6 * sum(line.width for line in long) > 0


def _laid(found: Sequence[FoundLine]) -> list[FoundLine]:
    """Lines, those laid down that only stand because they are a letter or two."""
    long = [line.height for line in found if line.width > 2 * line.height] or [line.height for line in found]
    most = 2.2 * float(np.median(long))
    return [
        replace(line, width=line.height, height=line.width, angle=0.0)
        if abs(line.angle) > 45 and line.width < most
        else line
        for line in found
    ]


def _skew(found: Sequence[FoundLine]) -> float:
    """The angle that the middle of the text, by length, is written at; degrees clockwise."""
    long = sorted((line.angle, line.width) for line in found if line.width > 4 * line.height and abs(line.angle) <= 45)
    half, passed = sum(width for _, width in long) / 2, 0.0
    for angle, width in long:
        passed += width
        if passed >= half:
            return angle
    return 0.0


def _quarter(line: FoundLine, height: int) -> FoundLine:
    """A line after its page, `height` pixels high, was turned a quarter clockwise."""
    x, y = line.center
    angle = line.angle + 90
    return FoundLine((height - y, x), line.width, line.height, angle - 180 if angle > 45 else angle, line.score)


def _half(line: FoundLine, shape: tuple[int, ...]) -> FoundLine:
    x, y = line.center
    return FoundLine((shape[1] - x, shape[0] - y), line.width, line.height, line.angle, line.score)


def _turned(page: Upright) -> Upright:
    """A page turned a quarter clockwise."""
    height = page.pixels.shape[0]
    before = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, height], [0.0, 0.0, 1.0]])
    return Upright(np.ascontiguousarray(np.rot90(page.pixels, -1)), page.back @ before, page.size)


def _rotated(page: Upright, angle: float) -> Upright:
    """A page turned by `angle` degrees counter-clockwise, on a sheet large enough, filled with its border's colour."""
    height, width = page.pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = (int(width * cosine + height * sine), int(height * cosine + width * sine))
    matrix[:, 2] += np.array([size[0] / 2 - width / 2, size[1] / 2 - height / 2])
    edge = np.concatenate([page.pixels[0], page.pixels[-1], page.pixels[:, 0], page.pixels[:, -1]])
    fill = tuple(float(value) for value in np.median(edge, axis=0))
    turned = cv2.warpAffine(page.pixels, matrix, size, flags=cv2.INTER_CUBIC, borderValue=fill)
    back = np.linalg.inv(np.vstack([matrix, [0.0, 0.0, 1.0]]))
    return Upright(np.asarray(turned, np.uint8), page.back @ back, page.size)
