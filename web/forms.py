"""Multipart forms, read with `multipart`: werkzeug's parser took a seventh of a submit's time."""

from __future__ import annotations

from flask import Request
from multipart import MultipartError, MultipartParser, ParserLimitReached
from werkzeug.datastructures import FileStorage, ImmutableMultiDict
from werkzeug.exceptions import RequestEntityTooLarge

MEMORY_BYTES = 500_000  # of a part; a larger file goes to disk, a larger field is refused
HEADER_BYTES = 65_536  # of a part: file names may be long


class FormRequest(Request):
    """A request whose `files` and `form` are empty when its body is no whole form."""

    def _load_form_data(self) -> None:
        if self.mimetype != "multipart/form-data":
            super()._load_form_data()
            return
        if "form" in self.__dict__:
            return
        files: list[tuple[str | None, FileStorage]] = []
        fields: list[tuple[str | None, str]] = []
        try:
            for part in self._parts():
                if part.filename is not None:
                    files.append(
                        (part.name or None, FileStorage(part.file, part.filename, part.name, part.content_type))
                    )
                elif part.size > MEMORY_BYTES:
                    raise RequestEntityTooLarge
                else:
                    fields.append((part.name or None, part.raw.decode(errors="replace")))
        except ParserLimitReached as error:
            raise RequestEntityTooLarge from error
        except (MultipartError, ValueError, LookupError):
            files, fields = [], []
        self.__dict__["files"], self.__dict__["form"] = ImmutableMultiDict(files), ImmutableMultiDict(fields)

    def _parts(self) -> MultipartParser:
        return MultipartParser(
            self.stream,
            self.mimetype_params.get("boundary", ""),
            part_limit=self.max_form_parts,
            headersize_limit=HEADER_BYTES,
            spool_limit=MEMORY_BYTES,
            memory_limit=MEMORY_BYTES * (self.max_form_parts or 1),
        )
