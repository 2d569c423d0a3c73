"""What compressing pages gave: a row a page, and the two ratios over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, pairwise
from typing import Any
from uuid import UUID, uuid4

from ocr_tasks.contract import NOTICES, Status
from ocr_tasks.errors import Problem
from ocr_tasks.jobs.compressions import NewCompression, ratio_of_bytes, ratio_of_tokens
from ocr_tasks.jobs.database import Row
from ocr_tasks.jobs.reading import StoredTokens


@dataclass(frozen=True)
class Origin:
    """What pages were made from. sizes: each page's share of its bytes, by page number."""

    dom_id: str
    harvest_id: UUID | None
    sizes: Mapping[int, int]


def shares(total: int, weights: Sequence[int]) -> list[int]:
    """A number of bytes, split by weight: whole numbers of at least 1 that add up to it, if it is large enough."""
    whole = sum(weights) or len(weights)
    edges = accumulate((weight if sum(weights) else 1 for weight in weights), initial=0)
    parts = [total * high // whole - total * low // whole for low, high in pairwise(edges)]
    return [max(1, part) for part in parts]


@dataclass
class Compressed:
    """The pages of a job that were encoded, and those that were not."""

    origin: Origin
    pages: list[NewCompression] = field(default_factory=list)
    failed: list[tuple[int, Problem]] = field(default_factory=list)

    @classmethod
    def of(cls, origin: Origin, rows: Iterable[Row], now: datetime) -> Compressed:
        """From rows of `pages`."""
        compressed = cls(origin)
        for row in rows:
            if row["status"] == Status.SUCCEEDED:
                compressed.pages.append(_compression(origin, row, now))
            else:
                compressed.failed.append((row["page_no"], row["error"]))
        return compressed

    @property
    def notice(self) -> str | None:
        """What has to be known of the model that made them."""
        return next((NOTICES[page.model] for page in self.pages if page.model in NOTICES), None)

    def data(self) -> dict[str, Any]:
        """The totals and the pages, as a result says them."""
        vision, text, stored, source = self._totals()
        ratio, byte_ratio = ratio_of_tokens(text, vision), ratio_of_bytes(stored, source)
        qualities = [page.quality for page in self.pages]
        measured = [quality for quality in qualities if quality is not None]
        return {
            "domId": self.origin.dom_id,
            "harvestId": str(self.origin.harvest_id) if self.origin.harvest_id else None,
            "pages": [page.view().wire() for page in self.pages],
            "failedPages": [{"pageNo": page_no, "error": error} for page_no, error in self.failed],
            "visionTokens": vision,
            "textTokens": text,
            "compressionRatio": ratio,
            "originalSize": source,
            "compressedSize": stored,
            "byteRatio": byte_ratio,
            "quality": sum(measured) / len(measured) if measured and len(measured) == len(qualities) else None,
            "note": _note(stored, source),
        }

    def _totals(self) -> tuple[int, int | None, int, int]:
        """Vision tokens, text tokens (None: unknown of a page), stored bytes, source bytes; of the pages there are."""
        texts = [page.text_tokens for page in self.pages]
        known = [text for text in texts if text is not None]
        return (
            sum(page.vision_tokens for page in self.pages),
            sum(known) if len(known) == len(texts) else None,
            sum(page.compressed_size for page in self.pages),
            sum(page.original_size for page in self.pages),
        )


def _compression(origin: Origin, row: Row, now: datetime) -> NewCompression:
    tokens = StoredTokens.model_validate(row["tokens"])
    return NewCompression(
        id=uuid4(),
        dom_id=origin.dom_id,
        harvest_id=origin.harvest_id,
        page_no=row["page_no"],
        tokens_blob=row["tokens_blob"],
        compressed_size=tokens.size_bytes,
        format=tokens.dtype,
        mode=row["mode"],
        model=tokens.model,
        revision=tokens.revision,
        vision_tokens=row["vision_tokens"],
        text_tokens=row["text_tokens"],
        original_size=origin.sizes[row["page_no"]],
        quality=row["quality"],
        width=row["width"],
        height=row["height"],
        offset_y=row["offset_y"],
        metadata={"engine": row["engine"], "engineRevision": row["revision"], "flags": list(row["flags"])},
        created_at=now,
    )


def _note(stored: int, source: int) -> str | None:
    if stored <= source:
        return None
    return (
        f"The stored form is larger than its source: {stored} bytes of vision tokens for {source} bytes. "
        "The compression ratio counts tokens, not bytes."
    )
