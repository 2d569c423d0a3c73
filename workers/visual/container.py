"""The container of stored vision tokens, version 1.

    bytes   what
    4       LDVT
    2       version, little-endian like all that follows
    2       length of the header
    4       CRC-32 of the header and of the eight bytes before this
    ...     the header, JSON: `Header`
    ...     a zstd frame, as long as the header says: the numbers, laid out by `quantisation`

Everything that the header says is checked against limits before memory is taken for it, and the frame against its
SHA-256 before it is opened. Whatever else the bytes are, reading them raises InvalidVisionTokens and nothing else.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Annotated

import zstandard
from pydantic import Field, ValidationError

from ocr_tasks.contract import Mode, TokenDtype, Wire
from ocr_tasks.errors import InvalidVisionTokens
from workers.visual import quantisation
from workers.visual.tokens import MOST_NUMBERS, VisionTokens, check_numbers, check_size

MAGIC, VERSION = b"LDVT", 1
FORMAT = f"lightdom-vision-tokens/{VERSION}"
"""The name of what `pack` writes, for whoever stores it."""
LEVEL = 1  # of zstd: higher ones take longer and find nothing more in numbers
START = struct.Struct("<4sHHI")

Count = Annotated[int, Field(ge=1, le=MOST_NUMBERS)]
Pixels = Annotated[int, Field(ge=0, le=1_000_000)]


class Header(Wire):
    """What a container says of itself; the fields that VisionTokens has too mean the same.

    count: rows that are stored; group: numbers that share a scale, 0 with bf16; sha256: of the zstd frame.
    """

    model: Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,64}$")]
    revision: Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]{1,64}$")]
    mode: Mode
    side: Pixels
    tile_side: Pixels
    grid: tuple[Pixels, Pixels]
    page_size: tuple[Pixels, Pixels]
    vision_tokens: Count
    count: Count
    hidden: Count
    dtype: TokenDtype
    group: Annotated[int, Field(ge=0, le=1024)]
    payload_bytes: Annotated[int, Field(ge=1, le=1 << 31)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def pack(tokens: VisionTokens, dtype: TokenDtype = "int8") -> bytes:
    """Vision tokens as a container; raises InvalidVisionTokens for numbers that are not finite, or too many."""
    check_numbers(tokens.features)
    count, hidden = tokens.features.shape
    group = quantisation.GROUPS[dtype]
    check_size(count, quantisation.padded(hidden, group))
    numbers = quantisation.to_bytes(tokens.features, dtype, group)
    payload = zstandard.ZstdCompressor(level=LEVEL).compress(numbers)
    header = Header(
        **{name: value for name, value in vars(tokens).items() if name != "features"},
        count=count,
        hidden=hidden,
        dtype=dtype,
        group=group,
        payload_bytes=len(payload),
        sha256=hashlib.sha256(payload).hexdigest(),
    )
    encoded = header.model_dump_json(by_alias=True).encode()
    start = START.pack(MAGIC, VERSION, len(encoded), 0)[:8]
    return start + zlib.crc32(start + encoded).to_bytes(4, "little") + encoded + payload


def unpack(container: bytes) -> VisionTokens:
    """The vision tokens in a container, for bf16 equal to those packed; raises InvalidVisionTokens."""
    header = describe(container)
    payload = container[len(container) - header.payload_bytes :]
    if hashlib.sha256(payload).hexdigest() != header.sha256:
        raise _invalid("damaged", "The stored vision tokens are damaged: their checksum is wrong.")
    shape = header.count, header.hidden, header.dtype, header.group
    numbers = _opened(payload, quantisation.stored_size(*shape))
    features = quantisation.from_bytes(numbers, *shape)
    return VisionTokens(
        **{name: getattr(header, name) for name in VisionTokens.__dataclass_fields__ if name != "features"},
        features=features,
    )


def describe(container: bytes) -> Header:
    """What a container says of itself, its numbers left unread; raises InvalidVisionTokens."""
    if container[:4] != MAGIC[: len(container)] or not container:
        raise _invalid("not_vision_tokens", "These bytes are no stored vision tokens: they do not begin with LDVT.")
    if len(container) < START.size:
        raise _invalid("truncated", f"The stored vision tokens are cut off after {len(container)} bytes.")
    _, version, length, checksum = START.unpack_from(container)
    if version != VERSION:
        raise _invalid(
            "version",
            f"The stored vision tokens are of version {version}; this service knows version {VERSION}.",
            value=version,
            limit=VERSION,
        )
    encoded = container[START.size : START.size + length]
    if len(encoded) < length:
        raise _invalid("truncated", f"The stored vision tokens are cut off after {len(container)} bytes.")
    if zlib.crc32(container[:8] + encoded) != checksum:
        raise _invalid("damaged", "The stored vision tokens are damaged: the checksum of their header is wrong.")
    header = _header(encoded)
    expected = START.size + length + header.payload_bytes
    if len(container) != expected:
        reason, what = ("truncated", "cut off") if len(container) < expected else ("damaged", "too long")
        raise _invalid(
            reason, f"The stored vision tokens are {what}: {len(container)} bytes where {expected} belong.",
            value=len(container), limit=expected,
        )  # fmt: skip
    return header


def require(found: VisionTokens | Header, *, model: str, revision: str, hidden: int | None = None) -> None:
    """Raises InvalidVisionTokens unless vision tokens were made by this very model."""
    for name, wanted in (("model", model), ("revision", revision), ("hidden", hidden)):
        given = getattr(found, name)
        if wanted is not None and given != wanted:
            raise _invalid(
                "other_model",
                f"The vision tokens were made by another model: their {name} is {given}, that of this one {wanted}.",
                value=given,
                limit=wanted,
            )


def _header(encoded: bytes) -> Header:
    """Raises InvalidVisionTokens for what no `pack` would write."""
    try:
        header = Header.model_validate_json(encoded, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:40] or "all of it"
        raise _invalid(
            "header", f"The header of the stored vision tokens is not valid: {where}: {first['msg']}."
        ) from None
    if (header.group == 0) != (header.dtype == "bf16") or header.group % 2:
        raise _invalid("header", f"Vision tokens in {header.dtype} cannot have groups of {header.group}.")
    check_size(header.count, quantisation.padded(header.hidden, header.group))
    return header


def _opened(payload: bytes, size: int) -> bytes:
    """A zstd frame of exactly `size` bytes, opened."""
    try:
        said = zstandard.frame_content_size(payload)
        if said == size:
            opened = zstandard.ZstdDecompressor().decompress(payload, max_output_size=size, allow_extra_data=False)
            if len(opened) == size:
                return opened
    except zstandard.ZstdError:
        raise _invalid("damaged", "The stored vision tokens are damaged: zstd cannot open them.") from None
    raise _invalid(
        "damaged", f"The stored vision tokens are not as long as their header says: {size} bytes.",
        value=said, limit=size,
    )  # fmt: skip


def _invalid(reason: str, detail: str, **extensions: int | str) -> InvalidVisionTokens:
    return InvalidVisionTokens(detail, reason=reason, **extensions)
