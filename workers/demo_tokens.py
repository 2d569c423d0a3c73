"""What `demo` goes on with: a small page of the web becomes vision tokens, and text again."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from ocr_tasks.contract import Format
from workers.demo_jobs import DemoJobs, Json, answered
from workers.quality import quality

PAGE = Path(__file__).parent / "samples" / "small.html"
PICTURE, TEXT = PAGE.with_suffix(".png"), PAGE.with_suffix(".txt")
DOM_ID = "demo"
SIDE = 256  # pixels: what nano sees at once
VIEW = {"viewport": {"width": SIDE, "height": SIDE}, "fullPage": False}
COLUMN = 28


class Shown(NamedTuple):
    """A page that was compressed and read back. made: how its picture came about."""

    made: str
    text: str
    compressed: Json
    back: Json


def compress_a_page(jobs: DemoJobs) -> str:
    """Have the page rendered, compressed and read back; says what came of it, as Markdown.

    Without a browser, its picture in the package is taken. Raises DemoFailed.
    """
    asked = {"domId": DOM_ID, "mode": "tiny", "verify": True}
    page = {"html": PAGE.read_text(encoding="utf-8"), **VIEW}
    accepted = jobs.client.post("/api/dom/compress", json=asked | page)
    job = jobs.ended(accepted, PAGE.name, allowed=["browser_unavailable"])
    if job["status"] == "succeeded":
        made, text = "rendered by Chromium", str(answered(jobs.client.get(f"/api/dom/{DOM_ID}"))["text"])
    else:
        made, text = "an earlier picture, because there is no Chromium here", TEXT.read_text(encoding="utf-8")
        with PICTURE.open("rb") as picture:
            accepted = jobs.client.post("/api/dom/compress", data=asked, files={"file": (PICTURE.name, picture)})
        job = jobs.ended(accepted, PICTURE.name)
    compressed = jobs.result(job, Format.JSON).json()
    accepted = jobs.client.post(f"/api/dom/{DOM_ID}/decompress", json={"format": "text"})
    back = jobs.result(jobs.ended(accepted, "its vision tokens"), Format.JSON).json()
    return written(Shown(made, text, compressed, back))


def written(shown: Shown) -> str:
    """The page's own text beside what was read back, and the numbers."""
    data, back = shown.compressed["data"], str(shown.back["domSnapshot"])
    notice = shown.back["metadata"].get("notice")
    columns = [("on the page", "read back"), *zip_longest(_lines(shown.text), _lines(back), fillvalue="")]
    numbers = [
        f"{data['visionTokens']} vision tokens, compression ratio {data['compressionRatio']:.1f}",
        f"{data['compressedSize']} bytes stored of {data['originalSize']}, byte ratio {data['byteRatio']:.1f}",
        f"quality {quality(back, shown.text):.2f} (1: read back without an error)",
    ]
    parts = [
        "---",
        "# A page as vision tokens",
        f"{SIDE} x {SIDE} pixels, {shown.made}; compressed, stored, and read back from what was stored.",
        "\n".join(f"    {left:<{COLUMN}}  {right}".rstrip() for left, right in columns),
        "\n".join(f"- {number}" for number in numbers),
        *([f"By {notice}."] if notice else []),
    ]
    return "\n\n".join(parts) + "\n"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
