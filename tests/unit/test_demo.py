"""What `demo` shows of a page that became vision tokens; the whole of it runs in tests/integration/test_up."""

from __future__ import annotations

from typing import Any

from PIL import Image

from ocr_tasks.contract import NOTICES
from workers.demo_tokens import PICTURE, SIDE, Shown, written
from workers.demo_tokens import TEXT as TEXT_FILE

TEXT = TEXT_FILE.read_text(encoding="utf-8")


def test_the_small_page_is_a_few_short_lines() -> None:
    assert TEXT.splitlines()[0] == "Harbour office"
    assert 100 <= len(TEXT) <= 150
    assert max(map(len, TEXT.splitlines())) < 28
    assert Image.open(PICTURE).size == (SIDE, SIDE)


def shown(back: str, **metadata: Any) -> str:
    data = {"visionTokens": 21, "compressionRatio": 5.6, "compressedSize": 1447, "originalSize": 435, "byteRatio": 3.3}
    return written(Shown("drawn", TEXT, {"data": data}, {"domSnapshot": back, "metadata": metadata}))


def test_the_page_stands_beside_what_was_read_back_with_its_numbers() -> None:
    lines = shown(TEXT, notice=NOTICES["nano"]).splitlines()
    assert [line.split() for line in lines if line.startswith("    ")][1:] == [
        [*line.split(), *line.split()] for line in TEXT.splitlines()
    ]
    assert "- quality 1.00 (1: read back without an error)" in lines
    assert "- 1447 bytes stored of 435, byte ratio 3.3" in lines
    assert lines[-1] == f"By {NOTICES['nano']}."


def test_what_was_read_wrong_costs_quality_and_real_weights_are_no_demonstration() -> None:
    told = shown(TEXT.replace("Harbour", "Harbaur"))
    assert "quality 0.99" in told
    assert "Harbaur office" in told
    assert "By nano" not in told
