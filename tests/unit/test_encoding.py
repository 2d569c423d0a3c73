"""What an engine is asked for about a page whose vision tokens are wanted."""

from __future__ import annotations

from uuid import UUID

import numpy
import pytest
from PIL import Image

from ocr_tasks.contract import Mode, OcrOptions, PageResult
from ocr_tasks.kinds.options import CompressOptions
from workers.encoding import worked_on
from workers.engine import PageWork, WorkId
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.resolutions import RESOLUTIONS, Resolution, Resolutions
from workers.visual import VisionTokens
from workers.waiting import Answer

NANO = Resolutions(Family.DEEPSEEK_OCR, {"tiny": Resolution(256), "gundam": Resolution(256, 256, 6)})


@pytest.mark.parametrize(
    ("resolutions", "expected"),
    [
        (RESOLUTIONS[Family.DEEPSEEK_OCR], ["tiny", "small", "base", "large", "gundam"]),
        (RESOLUTIONS[Family.DEEPSEEK_OCR2], ["small", "base", "gundam"]),
        (NANO, ["tiny", "gundam"]),
    ],
)
def test_a_quality_is_looked_for_once_in_every_mode_there_is(resolutions: Resolutions, expected: list[Mode]) -> None:
    seen: list[Mode] = []

    def submit(work: PageWork) -> Answer:
        assert work.options.mode != "auto"
        mode = resolutions.mode_of(work.options.mode)
        seen.append(mode)
        tokens = VisionTokens("m", "r", mode, 256, 0, (0, 0), (9, 9), 2, numpy.ones((1, 8), numpy.float32))
        return Answer(PageResult(text="wrong", markdown="", mode=mode, vision_tokens=2), 0, tokens)

    options = CompressOptions(min_quality=1)
    image = Image.new("L", (9, 9))
    work = PageWork(
        WorkId(UUID(int=0), 1, 1), lambda: image, OcrOptions(), options.operations(), source_text="what stands there"
    )
    worked = worked_on(work, options, submit)
    assert seen == expected
    assert worked.quality is not None
    assert worked.quality < 1
