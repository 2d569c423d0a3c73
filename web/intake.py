"""What was sent, taken apart: a form with one file and options by name, an object in JSON, a query."""

from __future__ import annotations

import json
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from flask import request
from werkzeug.datastructures import FileStorage

from ocr_tasks.blobs import BlobStore
from ocr_tasks.contract import Kind, OcrOptions, parse_options
from ocr_tasks.direct import accepted_type
from ocr_tasks.errors import InvalidOption, InvalidRequest, UnknownField, UnsupportedMediaType
from ocr_tasks.kinds.sources import NamedSource
from ocr_tasks.media import HEAD_BYTES

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


def query_text(name: str, longest: int) -> str | None:
    """A text in the query that something is looked for with, None when it is blank; raises InvalidOption."""
    given = request.args.get(name, "").strip()
    if len(given) > longest or not given.isprintable():
        why = f"it has {len(given)} characters; the limit is {longest}" if len(given) > longest else "not printable"
        raise InvalidOption(f"{name}: {why}.", field=name, value=given[:80], limit=longest)
    return given or None


def has_body() -> bool:
    """Whether anything was sent, of whatever type."""
    return bool(request.get_data(cache=True))


def json_body() -> dict[str, Any]:
    """The object that a body holds; raises UnsupportedMediaType or InvalidRequest."""
    if not request.is_json:
        sent = request.mimetype or "untyped"
        raise UnsupportedMediaType(f"Send an object as application/json; this was {sent}.", value=sent)
    given = _parsed(request.get_data(cache=True), "The body")
    if not isinstance(given, dict):
        raise InvalidRequest(f"The body must be an object with named fields; it is {_kind_of(given)}.")
    return given


def nested_fields(given: dict[str, Any], *names: str) -> dict[str, Any]:
    """A form's fields, of which these hold objects, as JSON; raises InvalidRequest."""
    there = [name for name in names if name in given]
    return given | {name: _parsed(given[name].encode(), f"The field {name!r}", field=name) for name in there}


def _parsed(content: bytes, what: str, **named: str) -> Any:
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_no_number, object_pairs_hook=_object)
    except UnicodeDecodeError:
        raise InvalidRequest(f"{what} is not in UTF-8.", **named) from None
    except RecursionError:
        raise InvalidRequest(f"{what} is nested too deeply.", **named) from None
    except ValueError as error:
        raise InvalidRequest(f"{what} is not JSON: {str(error)[:200]}.", **named) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    given = dict(pairs)
    if len(given) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest(f"The field {twice[:80]!r} is given more than once; once is enough.", field=twice[:80])
    return given


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _kind_of(given: object) -> str:
    names = {list: "a list", str: "a text", bool: "a truth value", int: "a number", float: "a number"}
    return names.get(type(given), "null")


def form_options() -> OcrOptions:
    """The options in a multipart form; raises UnknownField, InvalidOption or InvalidRequest."""
    return parse_options(form_fields())


def form_fields() -> dict[str, str]:
    """The fields of a multipart form, each once; raises InvalidRequest."""
    given: dict[str, str] = {}
    for name in request.form:
        values = request.form.getlist(name)
        if len(values) > 1:
            raise InvalidRequest(
                f"The field {name[:80]!r} is given {len(values)} times; once is enough.", field=name[:80]
            )
        given[name] = values[0]
    return given


def form_file(otherwise: str) -> FileStorage:
    """The one file of a multipart form; raises InvalidRequest, UnknownField or UnsupportedMediaType.

    otherwise: what the route takes instead of a form, for people.
    """
    if request.mimetype != "multipart/form-data":
        sent = request.mimetype or "untyped"
        raise UnsupportedMediaType(
            f"Send the document as multipart/form-data in the field 'file', {otherwise}; this was {sent}.", value=sent
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


def store_file(blobs: BlobStore, file: FileStorage, kind: Kind, *, dom_id: str | None = None) -> NamedSource:
    """Look at a file's first bytes and store it; raises EmptySource, UnsupportedMediaType, StorageFull."""
    name = _file_name(file.filename)
    head = file.stream.read(HEAD_BYTES)
    media_type = accepted_type(kind, head, name)
    file.stream.seek(0)
    key, size_bytes = blobs.put_stream(file.stream)
    return NamedSource(blob=key, media_type=media_type, size_bytes=size_bytes, filename=name, dom_id=dom_id)


def _file_name(given: str | None) -> str | None:
    """The last part of a file's name, for people to read: it is never used as a path."""
    name = PureWindowsPath(PurePosixPath(given or "").name).name
    return "".join(letter for letter in name if letter.isprintable())[:255] or None
