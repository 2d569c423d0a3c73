"""Bytes by their sha256, over fsspec: a local folder, or any object store that all nodes see.

Putting bytes that are there already touches them, so that the collector's grace period starts anew.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ocr_tasks.errors import BlobMissing, OcrError, ServiceUnavailable, StorageFull

CHUNK_BYTES = 1024 * 1024
KEY = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    """Content-addressed bytes below an fsspec URL. Keys are hexadecimal sha256 digests."""

    def __init__(self, url: str) -> None:
        self.fs, self.root = fsspec.core.url_to_fs(url)
        self.local = isinstance(self.fs, LocalFileSystem)

    def put(self, content: bytes) -> str:
        """Store bytes; returns their key. Raises StorageFull."""
        key = hashlib.sha256(content).hexdigest()
        with _public_errors():
            if not self.local:
                self.fs.pipe_file(self._path(key), content)
            elif not self._touched(key):
                self._put_local(key, content)
        return key

    def put_stream(self, stream: IO[bytes]) -> tuple[str, int]:
        """Store what a stream gives, without holding more than two chunks in memory; returns key and size in bytes."""
        chunks = [stream.read(CHUNK_BYTES), stream.read(CHUNK_BYTES)]
        if not chunks[1]:
            return self.put(chunks[0]), len(chunks[0])
        with _public_errors(), self._spooled() as spooled:
            digest, size_bytes = hashlib.sha256(), 0
            with spooled.open("wb") as file:
                while chunk := chunks.pop(0) if chunks else stream.read(CHUNK_BYTES):
                    digest.update(chunk)
                    file.write(chunk)
                    size_bytes += len(chunk)
            key = digest.hexdigest()
            if not self.local:
                self.fs.put_file(str(spooled), self._path(key))
            elif not self._touched(key):
                self._adopt(key, spooled)
        return key, size_bytes

    def get(self, key: str) -> bytes:
        """All bytes of a blob; raises BlobMissing."""
        with self.open(key) as file:
            return file.read()

    @contextmanager
    def open(self, key: str) -> Iterator[IO[bytes]]:
        """A blob as a file to read from; raises BlobMissing."""
        try:
            file = self.fs.open(self._path(key), "rb")
        except FileNotFoundError:
            raise BlobMissing("The stored bytes are gone.", value=key) from None
        except OSError as error:
            raise ServiceUnavailable("The blob store is not reachable.") from error
        with file:
            yield file

    @contextmanager
    def as_path(self, key: str) -> Iterator[Path]:
        """A blob as a local file, fetched first when the store is elsewhere; raises BlobMissing."""
        if self.local:
            path = Path(self._path(key))
            if not path.is_file():
                raise BlobMissing("The stored bytes are gone.", value=key)
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="lightdom-ocr-") as folder, self.open(key) as source:
            path = Path(folder) / "blob"
            with path.open("wb") as target:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
            yield path

    def describe(self, key: str, head_bytes: int) -> tuple[bytes, int]:
        """The first bytes of a blob and its size in bytes; makes it young again, as putting it would.

        Raises BlobMissing.
        """
        if self.local:
            self._touched(key)
        with self.open(key) as file:
            return file.read(head_bytes), file.seek(0, os.SEEK_END)

    def size_bytes(self, key: str) -> int:
        """The size of a blob; raises BlobMissing."""
        try:
            return int(self.fs.size(self._path(key)))
        except FileNotFoundError:
            raise BlobMissing("The stored bytes are gone.", value=key) from None

    def exists(self, key: str) -> bool:
        return bool(self.fs.exists(self._path(key)))

    def older_than(self, seconds: float) -> Iterator[str]:
        """Keys of blobs that were last put longer ago than this."""
        limit = time.time() - seconds
        for path, info in self.fs.find(self.root, detail=True).items():
            key = path.rsplit("/", 1)[-1]
            if KEY.fullmatch(key) and _modified(info) < limit:
                yield key

    def delete_older(self, key: str, seconds: float) -> bool:
        """Delete a blob unless it was put again within the last `seconds`; False when it was, or is gone."""
        limit = time.time() - seconds
        try:
            if _modified(self.fs.info(self._path(key))) >= limit:
                return False
            if self.local:
                return self._delete_local(key, limit)
            self.fs.rm_file(self._path(key))
        except FileNotFoundError:
            return False
        return True

    def clear_spool(self, seconds: float) -> int:
        """Delete what killed processes left half written, older than this; returns how many files."""
        folder, limit, cleared = self._spool_folder(), time.time() - seconds, 0
        for left in Path(folder).iterdir() if folder else ():
            with suppress(FileNotFoundError):  # its owner was quicker
                if left.stat().st_mtime < limit:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
                    cleared += 1
        return cleared

    def _path(self, key: str) -> str:
        if not KEY.fullmatch(key):
            raise BlobMissing("This is no key of a blob.", value=key[:80])
        return f"{self.root}/{key[:2]}/{key[2:4]}/{key}"

    def _touched(self, key: str) -> bool:
        """Make a blob that is there young again. Object stores know no touch: there, bytes are written anew."""
        try:
            os.utime(self._path(key))
        except FileNotFoundError:
            return False
        return True

    def _delete_local(self, key: str, limit: float) -> bool:
        """Out of its place first, then looked at once more: whoever puts it now writes it anew, or is seen here."""
        path = Path(self._path(key))
        doomed = Path(self._spool_folder() or path.parent) / f"doomed-{uuid.uuid4().hex}"
        path.rename(doomed)
        if doomed.stat().st_mtime >= limit:
            doomed.rename(path)
            return False
        doomed.unlink()
        return True

    def _put_local(self, key: str, content: bytes) -> None:
        with self._spooled() as spooled:
            spooled.write_bytes(content)
            self._adopt(key, spooled)

    @contextmanager
    def _spooled(self) -> Iterator[Path]:
        """A name for a file that is written before it has its place; one that is still there in the end goes."""
        spooled = Path(self._spool_folder() or tempfile.gettempdir()) / uuid.uuid4().hex
        try:
            yield spooled
        finally:
            spooled.unlink(missing_ok=True)

    def _adopt(self, key: str, spooled: Path) -> None:
        """Give a complete file its place in one step: a reader sees all of a blob or none."""
        path = Path(self._path(key))
        path.parent.mkdir(parents=True, exist_ok=True)
        spooled.replace(path)

    def _spool_folder(self) -> str | None:
        """Beside the blobs, so that renaming stays within one file system; elsewhere the system's own."""
        if not self.local:
            return None
        folder = Path(self.root) / "spool"
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)


def _modified(info: dict[str, Any]) -> float:
    """Seconds since the epoch at which a file or object was last written."""
    value = info.get("mtime", info.get("LastModified", info.get("updated", 0)))
    return float(value) if isinstance(value, (int, float)) else float(value.timestamp())


@contextmanager
def _public_errors() -> Iterator[None]:
    try:
        yield
    except OcrError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull("The blob store has no room left; nothing was stored.") from error
        raise ServiceUnavailable("The blob store cannot be written to.") from error
