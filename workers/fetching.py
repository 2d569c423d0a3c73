"""A document at an address of the web becomes a blob, like one that was sent."""

from __future__ import annotations

import tempfile
from typing import Any

from ocr_tasks.errors import StorageFull
from ocr_tasks.kinds.sources import StoredSource
from ocr_tasks.media import HEAD_BYTES, require_accepted
from workers.runtime import Runtime
from workers.sources.egress import Egress
from workers.sources.fetch import FetchLimits, fetch


def fetched(runtime: Runtime, source: StoredSource) -> dict[str, Any]:
    """Fetch a source's address; returns the fields of the source that are known now.

    Raises what `fetch` raises, EmptySource, UnsupportedMediaType, StorageFull.
    """
    assert source.url is not None
    settings = runtime.settings
    with tempfile.TemporaryFile() as file:
        try:
            found = fetch(source.url, file, guard=Egress.of(settings), limits=FetchLimits.of(settings))
        except OSError as error:
            raise StorageFull("There is no room for what the URL leads to.") from error
        file.seek(0)
        media_type = require_accepted(file.read(HEAD_BYTES), found.filename)
        file.seek(0)
        key, size_bytes = runtime.blobs.put_stream(file)
    return {"blob": key, "media_type": media_type, "size_bytes": size_bytes, "filename": found.filename}
