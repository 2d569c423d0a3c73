"""Pages put together again: a job's result as JSON, markdown, HTML and text, written page by page to files."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ocr_tasks.contract import Format, notice_of
from ocr_tasks.errors import NoPageRead, Problem
from ocr_tasks.jobs.finishing import FinishClaim, each_page
from ocr_tasks.jobs.views import PageView, page_view
from workers.safehtml import safe_html

if TYPE_CHECKING:
    from workers.runtime import Runtime

HTML_HEAD = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<title>%s</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
section + section { border-top: 1px solid #ccc; margin-top: 2rem; padding-top: 1rem; }
table { border-collapse: collapse; }
td, th { border: 1px solid #999; padding: .2rem .6rem; text-align: left; }
img { max-width: 100%; }
.failed { color: #a00; }
</style>
</head>
<body>
"""


Files = dict[Format, Path]
"""A job's result: for each format that it has, the file."""

Also = Callable[[Any], None]
"""Writes further rows with a connection, in the transaction that ends the job."""

Ending = Callable[["Runtime", FinishClaim, Path], tuple[Files, Also | None]]
"""How a kind's pages become its result, in a folder."""


def read_document(runtime: Runtime, claim: FinishClaim, folder: Path) -> tuple[Files, Also | None]:
    """`ocr`: what was read, in every format."""
    files = ResultFiles(folder)
    keys: list[str | None] = []

    def pages() -> Iterator[PageView]:
        for row in each_page(runtime.db, claim.job_id):
            keys.append(row["tokens_blob"])
            yield page_view(row)

    files.write(pages(), took_ms=claim.took_ms, visual_tokens=lambda: _only_tokens(runtime, keys))
    return {form: files.path(form) for form in Format}, None


def _only_tokens(runtime: Runtime, keys: Sequence[str | None]) -> str | None:
    """The vision tokens of a document of one page, in base64; those of several are fetched page by page."""
    key = keys[0] if len(keys) == 1 else None
    return base64.b64encode(runtime.blobs.get(key)).decode() if key else None


@dataclass
class Totals:
    """Sums over a job's pages, None where no page has the number, and what is to be said of all."""

    vision_tokens: int | None = None
    text_tokens: int | None = None
    notice: str | None = None  # what has to be known of the model that read them

    def add(self, page: PageView) -> None:
        self.notice = self.notice or notice_of(page.revision)
        if page.vision_tokens is not None:
            self.vision_tokens = (self.vision_tokens or 0) + page.vision_tokens
        if page.text_tokens is not None:
            self.text_tokens = (self.text_tokens or 0) + page.text_tokens

    @property
    def compression_ratio(self) -> float | None:
        """Text tokens per vision token."""
        if not self.vision_tokens or self.text_tokens is None:
            return None
        return round(self.text_tokens / self.vision_tokens, 2)


@dataclass
class ResultFiles:
    """A job's result in every format, in a folder; memory does not grow with the number of pages."""

    folder: Path
    title: str = "Recognised document"
    totals: Totals = field(default_factory=Totals)

    def path(self, form: Format) -> Path:
        return self.folder / str(form)

    def write(
        self, pages: Iterable[PageView], *, took_ms: int, visual_tokens: Callable[[], str | None] = lambda: None
    ) -> None:
        """Write all formats. Only succeeded pages have text; a failed one keeps its place.

        visual_tokens: asked once all pages are written.
        """
        with (
            self._open(Format.JSON) as as_json,
            self._open(Format.MARKDOWN) as markdown,
            self._open(Format.HTML) as html,
            self._open(Format.TEXT) as text,
        ):
            as_json.write('{"success":true,"data":{"pages":[')
            html.write(HTML_HEAD.replace("%s", self.title, 1))
            for n, page in enumerate(pages):
                self.totals.add(page)
                as_json.write(("," if n else "") + _json(page.wire()))
                markdown.write(("\n\n" if n else "") + _markdown(page))
                html.write(_html(page))
                text.write(("\f" if n else "") + (page.text or ""))
            markdown.write("\n")
            html.write("</body>\n</html>\n")
        with self.path(Format.JSON).open("a", encoding="utf-8") as as_json:
            self._end_json(as_json, took_ms, visual_tokens())

    def _end_json(self, file: IO[str], took_ms: int, visual_tokens: str | None) -> None:
        ratio = self.totals.compression_ratio
        markdown = self.path(Format.MARKDOWN).read_text(encoding="utf-8")
        data = {
            "markdown": markdown,
            "compressionRatio": ratio,
            "processingTime": took_ms,
            "visualTokens": visual_tokens,
        }
        metadata = {
            "compressionRatio": ratio,
            "processingTime": took_ms,
            "tokensGenerated": self.totals.vision_tokens,
            **noticed(self.totals.notice),
        }
        file.write(f"],{_json(data)[1:-1]}}},")
        file.write(f'"metadata":{_json(metadata)}}}')

    def _open(self, form: Format) -> IO[str]:
        return self.path(form).open("w", encoding="utf-8", newline="")


def noticed(notice: str | None) -> dict[str, str]:
    """The entry of a result's metadata that says so, where there is something to be said."""
    return {"notice": notice} if notice else {}


def why_none(first: PageView, failed: int) -> Problem:
    """Why a document without a single page failed: its only page's own reason, or the first one's and the count."""
    assert first.error is not None
    if failed == 1:
        return first.error
    return NoPageRead(
        f"None of {failed} pages could be read; page {first.page_no}: {first.error['detail']}",
        value=failed,
        firstError=first.error,
    ).problem()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _failure(page: PageView) -> str:
    code = page.error["code"] if page.error else "unknown"
    return f"Page {page.page_no} could not be read ({code})"


def _markdown(page: PageView) -> str:
    return page.markdown.strip("\n") if page.markdown is not None else f"<!-- {_failure(page)} -->"


def _html(page: PageView) -> str:
    failed = f'<p class="failed">{_failure(page)}.</p>\n'
    body = failed if page.markdown is None else safe_html(page.markdown)
    return f'<section id="page-{page.page_no}">\n{body}</section>\n'
