"""What a direct caller sends: a source, in the message itself or by its key in the shared blob store."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import FileName, Source, Wire, validated
from ocr_tasks.errors import BlobMissing, InvalidId, InvalidOption, TooLarge
from ocr_tasks.media import HEAD_BYTES, require_accepted

INLINE_BYTES = 256 * 1024
"""How large a document in a message, or a text in a result, may be, in bytes. What is larger goes by its key."""


class DirectSource(Wire):
    """One of `blob` (a key of the shared blob store) and `bytes` (base64, at most `INLINE_BYTES` when decoded)."""

    blob: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    inline: Annotated[str | None, Field(alias="bytes", repr=False)] = None
    filename: FileName | None = None

    def content(self) -> bytes:
        """The document in the message; raises InvalidOption or TooLarge."""
        try:
            content = base64.b64decode(self.inline or "", validate=True)
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


def parse_direct_source(given: dict[str, Any]) -> DirectSource:
    """A source as a direct caller gave it; raises UnknownField or InvalidOption."""
    source = validated(DirectSource, given)
    if (source.blob is None) == (source.inline is None):
        raise InvalidOption("source: give either `blob` or `bytes`.", field="source")
    return source


def inline_source(content: bytes, filename: str | None) -> dict[str, Any]:
    """The wire form of a document that travels in its message."""
    source = DirectSource(inline=base64.b64encode(content).decode(), filename=filename)
    return source.model_dump(by_alias=True, exclude_none=True)


def store_source(blobs: BlobStore, given: DirectSource, *, limit_bytes: int) -> Source:
    """What a job's row says of its source: bytes from the message are stored, a blob is looked at.

    Raises EmptySource, UnsupportedMediaType, InvalidOption, BlobMissing, StorageFull, TooLarge above `limit_bytes`.
    """
    if given.blob is None:
        content = given.content()
        media_type = require_accepted(content[:HEAD_BYTES], given.filename)
        return Source(blob=blobs.put(content), media_type=media_type, size_bytes=len(content), filename=given.filename)
    head, size_bytes = look_at(blobs, given.blob)
    media_type = require_accepted(head, given.filename)
    check_size(size_bytes, limit_bytes)
    return Source(blob=given.blob, media_type=media_type, size_bytes=size_bytes, filename=given.filename)


def look_at(blobs: BlobStore, key: str) -> tuple[bytes, int]:
    """The head and the size in bytes of a blob that a caller names; raises BlobMissing, which names the key."""
    try:
        return blobs.describe(key, HEAD_BYTES)
    except BlobMissing:
        raise BlobMissing(f"The shared blob store (OCR_BLOB_URL) has nothing under {key}.", value=key) from None


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
