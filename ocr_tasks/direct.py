"""What a direct caller sends: a source, in the message itself or by its key in the shared blob store."""

from __future__ import annotations

import base64
import binascii
import codecs
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import FileName, Kind, Wire, validated
from ocr_tasks.errors import BlobMissing, InvalidId, InvalidOption, TooLarge, UnsupportedMediaType
from ocr_tasks.kinds.sources import HTML, AnySource, DomId, DomSource, NamedSource, Url, UrlSource
from ocr_tasks.media import ACCEPTED, HEAD_BYTES, require_accepted, sniff

UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
INLINE_BYTES = 256 * 1024
"""How large a document in a message, or a text in a result, may be, in bytes. What is larger goes by its key."""


class DirectSource(Wire):
    """Where a direct caller's pages come from: see WAYS for which fields each kind takes.

    blob: a key of the shared blob store; bytes: base64, at most `INLINE_BYTES` when decoded; html: the text of a page,
    as long.
    """

    blob: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    inline: Annotated[str | None, Field(alias="bytes", repr=False)] = None
    html: Annotated[str | None, Field(repr=False)] = None
    url: Url | None = None
    dom_id: DomId | None = None
    filename: FileName | None = None

    def content(self) -> bytes:
        """The document in the message; raises InvalidOption or TooLarge."""
        try:
            content = html_bytes(self.html or "") or base64.b64decode(self.inline or "", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidOption("bytes: this is not base64.", field="bytes") from None
        if len(content) > INLINE_BYTES:
            raise TooLarge(
                f"The document has {len(content)} bytes; {INLINE_BYTES} fit into a message. "
                "Put it into the shared blob store and send its key.",
                value=len(content),
                limit=INLINE_BYTES,
            )
        return content


WAYS: dict[Kind, tuple[str, ...]] = {
    Kind.OCR: ("blob", "bytes", "url"),
    Kind.RENDER: ("blob", "bytes", "html", "url"),
    Kind.COMPRESS: ("blob", "bytes", "html", "url"),
    Kind.DECOMPRESS: (),
    Kind.CRAWL: ("url",),
}
"""Of these, a source of a kind has one. Compress and decompress take a `domId` alone; the others, none or beside it."""


def parse_direct_source(given: dict[str, Any], kind: Kind = Kind.OCR) -> DirectSource:
    """A source as a direct caller gave it; raises UnknownField or InvalidOption."""
    source = validated(DirectSource, given)
    values = {"blob": source.blob, "bytes": source.inline, "html": source.html, "url": source.url}
    ways = WAYS[kind]
    named = [name for name, value in values.items() if value is not None]
    stranger = next((name for name in named if name not in ways), None)
    if stranger is None and kind == Kind.OCR and source.dom_id is not None:
        stranger = "domId"
    if stranger is not None:
        raise InvalidOption(f"source: {kind} takes no `{stranger}`.", field="source")
    if source.html is not None and not source.html.strip():
        raise InvalidOption("html: it is empty.", field="html")
    alone = source.dom_id is not None and kind in (Kind.COMPRESS, Kind.DECOMPRESS)
    if len(named) != 1 and not (alone and not named):
        listed = [*ways, *(["domId"] if kind in (Kind.COMPRESS, Kind.DECOMPRESS) else [])]
        either = "give " + ("either " if len(listed) > 1 else "") + " or ".join(f"`{name}`" for name in listed)
        raise InvalidOption(f"source: {either}.", field="source")
    return source


def inline_source(content: bytes, filename: str | None) -> dict[str, Any]:
    """The wire form of a document that travels in its message."""
    source = DirectSource(inline=base64.b64encode(content).decode(), filename=filename)
    return source.model_dump(by_alias=True, exclude_none=True)


def store_source(blobs: BlobStore, given: DirectSource, *, kind: Kind = Kind.OCR, limit_bytes: int) -> AnySource:
    """What a job's row says of its source: bytes from the message are stored, a blob is looked at.

    Raises EmptySource, UnsupportedMediaType, InvalidOption, BlobMissing, StorageFull, TooLarge above `limit_bytes`.
    """
    if given.url is not None:
        return UrlSource(url=given.url, dom_id=given.dom_id)
    if given.blob is None and given.inline is None and given.html is None:
        assert given.dom_id is not None
        return DomSource(dom_id=given.dom_id)
    if given.blob is None:
        content = given.content()
        head, size_bytes = content[:HEAD_BYTES], len(content)
    else:
        content = None
        head, size_bytes = look_at(blobs, given.blob)
    media_type = HTML if given.html is not None else accepted_type(kind, head, given.filename)
    check_size(size_bytes, limit_bytes)
    return NamedSource(
        blob=given.blob or blobs.put(content or b""),
        media_type=media_type,
        size_bytes=size_bytes,
        filename=given.filename,
        dom_id=given.dom_id,
    )


MARKUP = (HTML, "text/xml", "image/svg+xml")
"""What a browser is given as HTML: XHTML begins like XML, and a drawing may stand in a page."""


def accepted_type(kind: Kind, head: bytes, filename: str | None) -> str:
    """The media type of a file that a kind takes; raises EmptySource or UnsupportedMediaType."""
    found = sniff(head)
    if kind == Kind.OCR or not head or (kind == Kind.COMPRESS and found in ACCEPTED):
        return require_accepted(head, filename)
    # HTML need not begin with anything in particular, but it is text.
    if found in MARKUP or (found is None and (b"\0" not in head or head.startswith(UTF16))):
        return HTML
    looks = f"looks like {found}" if found else "is of no kind that is known here"
    others = ", and what can be read" if kind == Kind.COMPRESS else ""
    raise UnsupportedMediaType(f"The file {looks}; {kind} takes HTML{others}.", value=found)


def look_at(blobs: BlobStore, key: str) -> tuple[bytes, int]:
    """The head and the size in bytes of a blob that a caller names; raises BlobMissing, which names the key."""
    try:
        return blobs.describe(key, HEAD_BYTES)
    except BlobMissing:
        raise BlobMissing(f"The shared blob store (OCR_BLOB_URL) has nothing under {key}.", value=key) from None


def html_source(blobs: BlobStore, html: str, *, dom_id: str | None, limit_bytes: int) -> NamedSource:
    """A page's text in the blob store, as UTF-8; raises InvalidOption, StorageFull, or TooLarge above `limit_bytes`."""
    content = html_bytes(html)
    check_size(len(content), limit_bytes)
    return NamedSource(blob=blobs.put(content), media_type=HTML, size_bytes=len(content), dom_id=dom_id)


def html_bytes(html: str) -> bytes:
    """A page's text as UTF-8; raises InvalidOption."""
    try:
        return html.encode()
    except UnicodeEncodeError:
        raise InvalidOption("html: it holds halves of characters.", field="html") from None


def check_size(size_bytes: int, limit_bytes: int) -> None:
    """Raise TooLarge for a document of more bytes than the service takes."""
    if size_bytes > limit_bytes:
        raise TooLarge(
            f"The document has {size_bytes} bytes; the limit is {limit_bytes} (OCR_MAX_UPLOAD_MB).",
            value=size_bytes,
            limit=limit_bytes,
        )


def parse_task_id(given: str) -> UUID:
    """A task id that can be a job's; raises InvalidId.

    It must be written as Python writes it: under another spelling of the same UUID nobody would find the result.
    """
    if not is_job_id(given):
        shown = str(given)[:80]
        raise InvalidId(
            f"The task id {shown!r} is not a UUID in lower case with hyphens, as uuid4() gives.", value=shown
        )
    return UUID(given)


def is_job_id(given: str) -> bool:
    """Whether a task id can be a job's."""
    try:
        return str(UUID(given)) == given
    except (ValueError, AttributeError, TypeError):
        return False
