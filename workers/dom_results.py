"""What jobs about pages of the web leave: their result, and rows for what was harvested, compressed and crawled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from ocr_tasks.contract import Format, Kind
from ocr_tasks.jobs.compressions import NewCompression, compressions_of_job, insert_compressions
from ocr_tasks.jobs.crawls import NewCrawl, insert_crawl
from ocr_tasks.jobs.finishing import FinishClaim, each_page
from ocr_tasks.jobs.harvests import PageSpan, TextRun, get_harvest, harvest_summary, harvest_view
from ocr_tasks.jobs.sweeping import server_time
from ocr_tasks.jobs.views import page_view
from ocr_tasks.kinds.options import CrawlOptions, DecompressOptions
from workers.compressed import Compressed, Origin, shares
from workers.crawled import crawl_of
from workers.results import Also, Ending, Files, ResultFiles, noticed
from workers.runtime import Runtime
from workers.sources.screenshots import text_on

RECONSTRUCTED = "reconstruction"
TITLE = "Reconstructed from vision tokens"


def rendered(runtime: Runtime, claim: FinishClaim, folder: Path) -> tuple[Files, Also | None]:
    """`render`: the harvest."""
    harvest = harvest_view(get_harvest(runtime.db, _harvest_id(claim)))
    return _json_file(folder, {"data": harvest.wire()}, {"processingTime": claim.took_ms}), None


def compressed(runtime: Runtime, claim: FinishClaim, folder: Path) -> tuple[Files, Also | None]:
    """`compress`: the vision tokens of each page, and what they cost."""
    found = _compressed(runtime, claim)
    data = found.data()
    metadata = {
        "compressionRatio": data["compressionRatio"],
        "byteRatio": data["byteRatio"],
        "processingTime": claim.took_ms,
        "tokensGenerated": data["visionTokens"],
        **noticed(found.notice),
    }
    return _json_file(folder, {"data": data}, metadata), _inserting(runtime, claim, found.pages)


def decompressed(runtime: Runtime, claim: FinishClaim, folder: Path) -> tuple[Files, Also | None]:
    """`decompress`: the document again, out of vision tokens alone."""
    assert isinstance(claim.options, DecompressOptions)
    files = ResultFiles(folder, title=TITLE)
    files.write((page_view(row) for row in each_page(runtime.db, claim.job_id)), took_ms=claim.took_ms)
    pages = compressions_of_job(runtime.db, UUID(claim.source.compressed_by or ""))
    qualities = [row["quality"] for row in pages if row["quality"] is not None]
    known = bool(qualities) and len(qualities) == len(pages)
    answer = {
        "domSnapshot": files.path(Format(claim.options.format)).read_text(encoding="utf-8"),
        "format": claim.options.format,
        "metadata": {
            "domId": claim.source.dom_id,
            "source": RECONSTRUCTED,
            "note": "Read back from vision tokens: a reconstruction of what was visible, not the DOM that was stored.",
            "pages": claim.succeeded,
            "failedPages": claim.failed,
            "models": sorted({f"{row['model']}@{row['revision']}" for row in pages}),
            "dtypes": sorted({row["format"] for row in pages}),
            "visionTokens": sum(row["vision_tokens"] for row in pages),
            "textTokens": files.totals.text_tokens,
            "processingTime": claim.took_ms,
            **noticed(files.totals.notice),
        },
        "quality": sum(qualities) / len(qualities) if known else None,
    }
    files.path(Format.JSON).write_text(json.dumps(answer, ensure_ascii=False), encoding="utf-8")
    return {form: files.path(form) for form in Format}, None


def crawled(runtime: Runtime, claim: FinishClaim, folder: Path) -> tuple[Files, Also | None]:
    """`crawl`: the harvest, what was read on it, its vision tokens, and what kind of page it is."""
    options = claim.options
    assert isinstance(options, CrawlOptions)
    files = ResultFiles(folder)
    files.write((page_view(row) for row in each_page(runtime.db, claim.job_id)), took_ms=claim.took_ms)
    harvest = get_harvest(runtime.db, _harvest_id(claim))
    markdown = files.path(Format.MARKDOWN).read_text(encoding="utf-8")
    dom = runtime.blobs.get(harvest["dom_blob"]).decode("utf-8", "replace")
    crawl = crawl_of(harvest, dom, markdown, session_id=options.session_id, now=server_time(runtime.db))
    tokens = _compressed(runtime, claim) if options.compress else None
    ratios = tokens.data() if tokens else None
    data = {
        "crawl": crawl.view().wire(),
        "harvest": harvest_summary(harvest).wire(),
        "pages": [page_view(row).wire() for row in each_page(runtime.db, claim.job_id)],
        "markdown": markdown,
        "compression": ratios,
    }
    metadata = {
        "processingTime": claim.took_ms,
        "compressionRatio": ratios and ratios["compressionRatio"],
        **noticed(files.totals.notice),
    }
    json_file = _json_file(folder, {"data": data}, metadata)
    insert = _inserting(runtime, claim, tokens.pages if tokens else [], crawl)
    return {**{form: files.path(form) for form in Format}, **json_file}, insert


DOM_ENDINGS: dict[Kind, Ending] = {
    Kind.RENDER: rendered,
    Kind.COMPRESS: compressed,
    Kind.DECOMPRESS: decompressed,
    Kind.CRAWL: crawled,
}


def _compressed(runtime: Runtime, claim: FinishClaim) -> Compressed:
    return Compressed.of(_origin(runtime, claim), each_page(runtime.db, claim.job_id), server_time(runtime.db))


def _origin(runtime: Runtime, claim: FinishClaim) -> Origin:
    """A harvest's bytes are its DOM's, split by the text on its pages; a file's, by the number of its pages."""
    source = claim.source
    if source.harvest_id is None:
        assert source.size_bytes is not None
        assert claim.source_pages is not None
        sizes = shares(source.size_bytes, [1] * claim.source_pages)
        return Origin(source.dom_id or str(claim.job_id), None, dict(enumerate(sizes, 1)))
    row = get_harvest(runtime.db, source.harvest_id)
    spans = [PageSpan.model_validate(span) for span in row["pages"]]
    runs = [TextRun.model_validate(run) for run in row["text_runs"]]
    sizes = shares(row["dom_bytes"], [len(text_on(span, runs)) for span in spans])
    return Origin(row["dom_id"], row["id"], dict(zip((span.page_no for span in spans), sizes, strict=True)))


def _inserting(
    runtime: Runtime, claim: FinishClaim, pages: Sequence[NewCompression], crawl: NewCrawl | None = None
) -> Also:
    def insert(connection: Any) -> None:
        insert_compressions(connection, claim.job_id, pages, runtime.blobs.get)
        if crawl is not None:
            insert_crawl(connection, claim.job_id, crawl)

    return insert


def _harvest_id(claim: FinishClaim) -> str:
    assert claim.source.harvest_id is not None
    return claim.source.harvest_id


def _json_file(folder: Path, body: dict[str, Any], metadata: dict[str, Any]) -> Files:
    path = folder / "answer.json"
    path.write_text(json.dumps({"success": True, **body, "metadata": metadata}, ensure_ascii=False), encoding="utf-8")
    return {Format.JSON: path}
