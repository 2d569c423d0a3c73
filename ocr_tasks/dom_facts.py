"""What the light commands tell of a page of the web, out of the result of its job."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ocr_tasks.rest import ServiceProblem

Data = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """A job's result: as it came, and what it says."""

    written: bytes
    data: Data


def parse_answer(written: bytes, server: str) -> Answer:
    """A result in JSON; raises ServiceProblem for one that this service would not give."""
    try:
        return Answer(written, dict(json.loads(written)["data"]))
    except (ValueError, KeyError, TypeError):
        title = "This is not how LightDom OCR answers"
        raise ServiceProblem(200, "unexpected_answer", title, f"{server} gave a result without data.") from None


def render_facts(data: Data) -> dict[str, str]:
    """Of a harvest."""
    clip = data.get("clip")
    return {
        "dom id": data["domId"],
        "harvest": data["id"],
        "url": data["url"] or "",
        "final url": data["finalUrl"] if data["finalUrl"] not in (None, data["url"]) else "",
        "status": _shown(data["httpStatus"]),
        "title": _line(data["title"]),
        "screenshot": f"{data['width']} x {data['height']} px, {data['imageBytes']} bytes, {data['mediaType']}",
        "cut off": _line(json.dumps(clip)) if clip else "",
        "DOM": f"{data['domBytes']} bytes",
        "pages": _shown(len(data["pages"])),
        "settled": "" if data["settled"] else "no: taken as it stood when the time was up",
        "blocked": _shown(len(data["blocked"]) or None),
    }


def compress_facts(data: Data) -> dict[str, str]:
    """Of vision tokens: what they cost in tokens and in bytes, two things, and what they are worth."""
    quality, ratio = data["quality"], data["compressionRatio"]
    return {
        "dom id": data["domId"],
        "pages": _shown(len(data["pages"])),
        "failed pages": _shown(len(data["failedPages"]) or None),
        "modes": ", ".join(sorted({page["mode"] for page in data["pages"]})),
        "vision tokens": _shown(data["visionTokens"]),
        "text tokens": _shown(data["textTokens"]) or "unknown",
        "compression ratio": "unknown" if ratio is None else f"{ratio:.2f} text tokens per vision token",
        "original size": f"{data['originalSize']} bytes",
        "compressed size": f"{data['compressedSize']} bytes",
        "byte ratio": f"{data['byteRatio']:.2f} stored bytes per byte of the source",
        "quality": "not measured" if quality is None else f"{quality:.3f}",
        "note": _line(data["note"]),
    }


def crawl_facts(data: Data) -> dict[str, str]:
    """Of a crawled page; its vision tokens, where there are any, in the same words as everywhere."""
    crawl, harvest, tokens = data["crawl"], data["harvest"], data["compression"]
    facts = {
        "url": crawl["url"],
        "dom id": harvest["domId"],
        "status": _shown(harvest["httpStatus"]),
        "title": _line(harvest["title"]),
        "language": crawl["language"] or "unknown",
        "layout": crawl["layoutType"],
        "session": crawl["crawlSessionId"] or "",
        "pages": _shown(len(data["pages"])),
    }
    return facts | ({name: fact for name, fact in compress_facts(tokens).items() if name != "pages"} if tokens else {})


def _shown(value: object) -> str:
    return "" if value is None else str(value)


def _line(text: str | None) -> str:
    """A stranger's text on one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text or "")
