"""What the headers of a download say about it: content coding, media type, file name. All of it is only claimed."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from email.message import EmailMessage
from pathlib import PurePosixPath
from urllib.parse import unquote

from ocr_tasks.errors import UrlUnreachable
from ocr_tasks.urls import WebUrl

STEP_BYTES = 64 * 1024
LONGEST_NAME = 255  # characters, as `contract.FileName`
GZIP_MAGIC = b"\x1f\x8b"


def decoded(parts: Iterable[bytes], headers: Mapping[str, str], host: str) -> Iterator[bytes]:
    """A body without its content coding, in small steps however much one byte of it turns out to be.

    Raises UrlUnreachable for a coding that was not asked for, or a body that is not in it.
    """
    coding = headers.get("content-encoding", "").strip().lower()
    if coding in ("", "identity"):
        yield from parts
    elif coding in ("gzip", "x-gzip"):
        try:
            yield from _unzipped(parts)
        except (zlib.error, EOFError):
            raise UrlUnreachable(f"{host} says that it sends gzip, and what it sends is not.", host=host) from None
    else:
        raise UrlUnreachable(f"{host} answers in the content coding {coding[:40]!r}; gzip was asked for.", host=host)


def _unzipped(parts: Iterable[bytes]) -> Iterator[bytes]:
    unzip, begun = zlib.decompressobj(wbits=31), False
    for part in parts:
        begun = begun or bool(part)
        while part:
            if unzip.eof:
                if not part.startswith(GZIP_MAGIC):
                    break  # padding
                unzip = zlib.decompressobj(wbits=31)
            yield unzip.decompress(part, STEP_BYTES)
            part = unzip.unused_data if unzip.eof else unzip.unconsumed_tail
    while begun and not unzip.eof:
        rest = unzip.decompress(b"", STEP_BYTES)
        if not rest:
            raise EOFError
        yield rest


def media_type_of(headers: Mapping[str, str]) -> str | None:
    """The media type, without parameters; None when there is none that is well formed."""
    claimed = headers.get("content-type", "").partition(";")[0].strip().lower()
    return claimed if len(claimed) <= 100 and re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+-]+", claimed) else None


def filename_of(headers: Mapping[str, str], url: WebUrl) -> str | None:
    """The name that the server gives, else the last part of the path; one that `contract.FileName` takes, or None."""
    given = None
    if "content-disposition" in headers:
        message = EmailMessage()
        try:
            message["Content-Disposition"] = headers["content-disposition"]
            given = message.get_filename()
        except (ValueError, LookupError, TypeError, AttributeError):  # of the parser, at bad headers
            given = None
    return _tidy(given or "") or _tidy(unquote(url.target.partition("?")[0], errors="replace"))


def _tidy(name: str) -> str | None:
    """The last part of a path, of whatever system, without what cannot be printed."""
    name = re.split(r"[/\\]", name)[-1].encode(errors="replace").decode()
    name = "".join(character for character in name if character.isprintable()).strip()
    if len(name) > LONGEST_NAME:
        suffix = PurePosixPath(name).suffix[-20:]
        name = name[: LONGEST_NAME - len(suffix)] + suffix
    return name if name.strip(".") else None
