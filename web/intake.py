"""A submitted form taken apart: one file, and options by name."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

from flask import request
from werkzeug.datastructures import FileStorage

from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import OcrOptions, Source, parse_options
from ocr_tasks.errors import InvalidRequest, UnknownField, UnsupportedMediaType
from ocr_tasks.media import HEAD_BYTES, require_accepted

# A caller that sends nothing for so long holds a thread for nothing, in seconds.
STALL_S = 30


def lose_patience() -> None:
    """Let reading the body fail once the caller stalls; gunicorn itself would wait for ever."""
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        connection.settimeout(STALL_S)


def refuse_unknown_query(*known: str) -> None:
    """Raise UnknownField for a query parameter that the route does not know."""
    for name in request.args:
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise UnknownField(f"Unknown query parameter {name[:80]!r}. Known: {names}.", field=name[:80])


def form_options() -> OcrOptions:
    """The options in a multipart form; raises UnknownField, InvalidOption or InvalidRequest."""
    given: dict[str, str] = {}
    for name in request.form:
        values = request.form.getlist(name)
        if len(values) > 1:
            raise InvalidRequest(
                f"The field {name[:80]!r} is given {len(values)} times; once is enough.", field=name[:80]
            )
        given[name] = values[0]
    return parse_options(given)


def form_file() -> FileStorage:
    """The one file of a multipart form; raises InvalidRequest, UnknownField or UnsupportedMediaType."""
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType(
            f"Send the document as multipart/form-data in the field 'file'; this was {request.mimetype or 'untyped'}."
        )
    if None in request.files or None in request.form:
        raise InvalidRequest("A part of the form has no name; send the document as 'file'.")
    unknown = [name for name in request.files if name != "file"]
    if unknown:
        raise UnknownField(
            f"Unknown file field {unknown[0][:80]!r}; send the document as 'file'.", field=unknown[0][:80]
        )
    files = request.files.getlist("file")
    if not files and not request.form:
        raise InvalidRequest(
            "The body holds no form that can be read: it is empty, cut off or not in UTF-8, or its boundary is not the "
            "one that Content-Type names. Send the document in the field 'file'.",
            field="file",
        )
    if len(files) != 1:
        raise InvalidRequest(f"The field 'file' must hold one file; it holds {len(files)}.", field="file")
    return files[0]


def store_file(blobs: BlobStore, file: FileStorage) -> Source:
    """Look at a file's first bytes and store it; raises EmptySource, UnsupportedMediaType, StorageFull."""
    name = _file_name(file.filename)
    head = file.stream.read(HEAD_BYTES)
    media_type = require_accepted(head, name)
    file.stream.seek(0)
    key, size_bytes = blobs.put_stream(file.stream)
    return Source(blob=key, media_type=media_type, size_bytes=size_bytes, filename=name)


def _file_name(given: str | None) -> str | None:
    """The last part of a file's name, for people to read: it is never used as a path."""
    name = PureWindowsPath(PurePosixPath(given or "").name).name
    return "".join(letter for letter in name if letter.isprintable())[:255] or None
