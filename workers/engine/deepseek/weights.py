"""The files of a checkpoint, read without loading a weight: headers of safetensors, index, content hash. No torch."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.engine.deepseek.families import CheckpointError

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
BYTES_OF_DTYPE = {"BF16": 2, "F16": 2, "F32": 4, "I64": 8}  # I64: of position_ids, which are no weight
MOST_HEADER_BYTES = 100_000_000  # the format's own limit
SAMPLE_BYTES = 4096


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: its file, and first and last byte there."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


Tensors = Mapping[str, StoredTensor]


def read_json(path: Path) -> dict[str, Any]:
    """A file that must hold an object; raises CheckpointError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.name}: missing") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.name}: cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name}: holds no JSON object")
    return content


def read_tensors(folder: Path) -> Tensors:
    """All tensors of a folder, by name.

    Raises CheckpointError, which names every file that is missing, cut off or damaged, and every tensor that the index
    and the files do not agree about.
    """
    index = read_json(folder / INDEX).get("weight_map") if (folder / INDEX).exists() else None
    if index is not None and not (isinstance(index, dict) and all(isinstance(name, str) for name in index.values())):
        raise CheckpointError(f"{INDEX}: `weight_map` is not an object of file names")
    files = sorted(set(index.values())) if index is not None else [SINGLE]
    tensors: dict[str, StoredTensor] = {}
    problems: list[str] = []
    for name in files:
        try:
            tensors |= read_header(_inside(folder, name))
        except CheckpointError as error:
            problems.append(str(error))
    if index is not None and not problems:
        problems = [f"{INDEX}: {text}" for text in _disagreements(index, tensors)]
    if problems:
        raise CheckpointError("\n".join(problems))
    return tensors


def _inside(folder: Path, name: str) -> Path:
    if Path(name).name != name:
        raise CheckpointError(f"{INDEX}: {name!r} is not the name of a file in this folder")
    return folder / name


def _disagreements(index: Mapping[str, str], tensors: Tensors) -> Iterator[str]:
    missing = [name for name, file in index.items() if name not in tensors or tensors[name].file.name != file]
    if missing:
        yield listed("tensors that are not in the file it names", missing)
    if surplus := [name for name in tensors if name not in index]:
        yield listed("tensors that it does not name", surplus)


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file; raises CheckpointError when it is missing, cut off or damaged.

    Source: https://github.com/huggingface/safetensors#format
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = file.read(length) if 8 + length <= size and length <= MOST_HEADER_BYTES else b""
    except FileNotFoundError:
        raise CheckpointError(f"{path.name}: missing") from None
    except OSError as error:
        raise CheckpointError(f"{path.name}: cannot be read: {error.strerror}") from None
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        tensors = {name: _stored(path, 8 + length, entry) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{path.name}: no safetensors header, or a damaged one ({size} bytes)") from None
    _check_places(path, size, 8 + length, tensors)
    return tensors


def _stored(path: Path, offset: int, entry: Mapping[str, Any]) -> StoredTensor:
    start, end = entry["data_offsets"]
    shape = tuple(int(side) for side in entry["shape"])
    return StoredTensor(path, str(entry["dtype"]), shape, offset + start, offset + end)


def _check_places(path: Path, size: int, offset: int, tensors: Tensors) -> None:
    """That tensors follow each other without gaps, hold as many bytes as their shapes need, and end with the file."""
    for name, tensor in sorted(tensors.items(), key=lambda named: named[1].start):
        if tensor.dtype not in BYTES_OF_DTYPE:
            raise CheckpointError(
                f"{path.name}: {name} is {tensor.dtype}; only bfloat16, float16 and float32 can be served"
            )
        if tensor.start != offset or tensor.end - tensor.start != tensor.numbers * BYTES_OF_DTYPE[tensor.dtype]:
            raise CheckpointError(f"{path.name}: damaged: {name} does not lie where its header says")
        offset = tensor.end
    if size != offset:
        kind = "cut off" if size < offset else "damaged"
        raise CheckpointError(f"{path.name}: {kind}: it has {size} bytes where its header needs {offset}")


def content_hash(folder: Path, tensors: Tensors, further: Sequence[str] = ()) -> str:
    """Twelve hexadecimal digits that differ when a checkpoint does, wherever it lies.

    Of config, tokenizer and `further` files all bytes; of the weights the names, shapes and the first 4 KiB of every
    tensor, which is 11 MB of the published 6.7 GB: training changes all of a tensor, so that no need arises to read
    the rest.
    """
    content = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", *further):
        if (folder / name).exists():
            content.update(f"{name}\0".encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    for path in sorted({tensor.file for tensor in tensors.values()}):
        own = [(name, tensor) for name, tensor in tensors.items() if tensor.file == path]
        with path.open("rb") as file:
            for name, tensor in sorted(own, key=lambda named: named[1].start):
                file.seek(tensor.start)
                content.update(f"{name}\0{tensor.dtype}\0{tensor.shape}\0".encode())
                content.update(file.read(min(SAMPLE_BYTES, tensor.end - tensor.start)))
    return content.hexdigest()[:12]


def listed(what: str, names: list[str], most: int = 5) -> str:
    """A count of names and the first few of them: `missing tensors (7): a, b, c, d, e ...`."""
    shown = ", ".join(sorted(names)[:most])
    return f"{what} ({len(names)}): {shown}{' ...' if len(names) > most else ''}"
