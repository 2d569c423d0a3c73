"""What the client sends: sources as messages carry them, looked at first; and options in every way they are given."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import Kind
from ocr_tasks.direct import (
    INLINE_BYTES,
    DirectSource,
    accepted_type,
    check_size,
    html_bytes,
    inline_source,
    look_at,
    parse_direct_source,
)
from ocr_tasks.errors import InvalidOption, TooLarge
from ocr_tasks.kinds.options import OPTIONS, JobOptions, parse_job_options
from ocr_tasks.kinds.sources import HTML, StoredSource
from ocr_tasks.media import HEAD_BYTES
from ocr_tasks.settings import Settings

Document = bytes | Path | BinaryIO | str
"""Bytes, the path of a file, a file opened for reading bytes, or the key of a blob in the shared blob store."""

Given = JobOptions | dict[str, Any] | None


@dataclass(frozen=True)
class Payload:
    """A source that a kind takes. media_type: None when its bytes lie where this process cannot look."""

    kind: Kind
    source: DirectSource
    media_type: str | None

    def wire(self) -> dict[str, Any]:
        return self.source.model_dump(by_alias=True, exclude_none=True)

    def stored(self) -> StoredSource:
        """As its row will hold it, as far as that can be known."""
        return StoredSource(url=self.source.url, media_type=self.media_type, dom_id=self.source.dom_id)


@dataclass(frozen=True)
class Loading:
    """Makes payloads of one kind; every method raises what `parse_direct_source` raises."""

    settings: Settings
    kind: Kind

    def named(self, **fields: Any) -> Payload:
        """An address, or what is stored under a dom_id."""
        return self._payload(fields, None)

    def html(self, html: str, dom_id: str | None) -> Payload:
        """A page's text; raises InvalidOption or TooLarge."""
        parse_direct_source({"html": html, "domId": dom_id}, self.kind)
        content = html_bytes(html)
        check_size(len(content), self.settings.max_upload_bytes)
        if len(content) <= INLINE_BYTES:
            return self._payload({"html": html, "domId": dom_id}, HTML)
        key, _ = self._blobs(len(content)).put_stream(io.BytesIO(content))
        return self._payload({"blob": key, "domId": dom_id}, HTML)

    def document(self, document: Document, filename: str | None, dom_id: str | None) -> Payload:
        """A file; raises UnsupportedMediaType, EmptySource, TooLarge or BlobMissing."""
        name = filename or _name_of(document)
        if isinstance(document, str):
            return self._blob(document, name, dom_id)
        if isinstance(document, Path):
            with document.open("rb") as file:
                return self._file(file, name, dom_id)
        return self._file(io.BytesIO(document) if isinstance(document, bytes) else document, name, dom_id)

    def _blob(self, key: str, filename: str | None, dom_id: str | None) -> Payload:
        fields = {"blob": key, "filename": filename, "domId": dom_id}
        parse_direct_source(fields, self.kind)
        if not self.settings.blob_url:
            return self._payload(fields, None)
        head, size_bytes = look_at(BlobStore(self.settings.blob_url), key)
        return self._payload(fields, self._checked(head, size_bytes, filename))

    def _file(self, file: BinaryIO, filename: str | None, dom_id: str | None) -> Payload:
        start = file.tell()
        size_bytes = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        head = file.read(HEAD_BYTES)
        media_type = self._checked(head, size_bytes, filename)
        if size_bytes <= INLINE_BYTES:
            return self._payload(inline_source(head + file.read(), filename) | {"domId": dom_id}, media_type)
        parse_direct_source({"bytes": "", "filename": filename, "domId": dom_id}, self.kind)
        file.seek(start)
        key, _ = self._blobs(size_bytes).put_stream(file)
        return self._payload({"blob": key, "filename": filename, "domId": dom_id}, media_type)

    def _payload(self, fields: dict[str, Any], media_type: str | None) -> Payload:
        return Payload(self.kind, parse_direct_source(fields, self.kind), media_type)

    def _checked(self, head: bytes, size_bytes: int, filename: str | None) -> str:
        media_type = accepted_type(self.kind, head, filename)
        check_size(size_bytes, self.settings.max_upload_bytes)
        return media_type

    def _blobs(self, size_bytes: int) -> BlobStore:
        """Where what is too large for a message goes; raises TooLarge."""
        if self.settings.blob_url is None:
            raise TooLarge(
                f"The document has {size_bytes} bytes; {INLINE_BYTES} fit into a message. "
                "Set OCR_BLOB_URL to the blob store that the workers use, and larger ones go through it.",
                value=size_bytes,
                limit=INLINE_BYTES,
            )
        return BlobStore(self.settings.blob_url)


def options_from(kind: Kind, given: Given, further: dict[str, Any]) -> JobOptions:
    """Options from both ways of giving them; raises UnknownField, InvalidOption or InvalidPageRange.

    given: in camelCase, or as the kind's own model. further: by their Python or their camelCase name.
    """
    model = OPTIONS[kind]
    if isinstance(given, model):
        given = given.sent()
    if not (given is None or isinstance(given, dict)):
        raise InvalidOption(f"options: {kind} takes {model.__name__}, not {type(given).__name__}.", field="options")
    aliases = {name: described.alias or name for name, described in model.model_fields.items()}
    return parse_job_options(model, {**(given or {}), **{aliases.get(name, name): v for name, v in further.items()}})


def _name_of(document: Document) -> str | None:
    name = document.name if isinstance(document, Path) else getattr(document, "name", None)
    return Path(name).name[:255] or None if isinstance(name, str) else None
