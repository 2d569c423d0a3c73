"""Numbers in fewer bits: bf16, int8 or int4, as bytes that compress well.

bf16 keeps numbers that are in bfloat16 as they are. The others are relative: each channel (column) is divided by its
root mean square over the page, then groups of neighbouring numbers of a row share a scale. So a channel a hundred times
as large as its neighbours costs them nothing, nor does a row that stands out. int8 is symmetric. In int4 the largest
number of a group becomes -8 (the scale may be negative): sixteen levels where the symmetric way has fifteen, and an
error that is a tenth smaller. Scales are bfloat16 too. Measured in tests/benchmarks/vision_tokens.py.

All 16-bit numbers lie as two planes, first all upper bytes: those are alike, and zstd makes little of them.
"""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

from ocr_tasks.contract import TokenDtype
from ocr_tasks.errors import InvalidVisionTokens

Floats = NDArray[numpy.float32]
# Numbers that share a scale. 32 for int4: against 64, a tenth less error for 6 % more bytes.
GROUPS: dict[TokenDtype, int] = {"bf16": 0, "int8": 64, "int4": 32}


def stored_size(count: int, hidden: int, dtype: TokenDtype, group: int) -> int:
    """Bytes of (count, hidden) numbers, before zstd."""
    if dtype == "bf16":
        return 2 * count * hidden
    numbers = count * padded(hidden, group)
    return 2 * hidden + 2 * (numbers // group) + (numbers if dtype == "int8" else numbers // 2)


def padded(hidden: int, group: int) -> int:
    """Numbers of a row with its last group filled up."""
    return hidden if not group else hidden + -hidden % group


def to_bytes(features: Floats, dtype: TokenDtype, group: int) -> bytes:
    """Features (count, hidden), checked by `check_numbers`, as `stored_size` bytes."""
    if dtype == "bf16":
        return _planes(to_bf16(features))
    channels = to_bf16(numpy.sqrt(numpy.mean(numpy.square(features, dtype=numpy.float64), axis=0)))  # (hidden,)
    grouped = _grouped(features / _divisor(from_bf16(channels)), group)  # (count, groups, group)
    scales, numbers = _int8(grouped) if dtype == "int8" else _int4(grouped)
    return _planes(channels) + _planes(scales) + numbers.tobytes()


def from_bytes(stored: bytes, count: int, hidden: int, dtype: TokenDtype, group: int) -> Floats:
    """The features (count, hidden) again; raises InvalidVisionTokens when any of them is not finite."""
    if dtype == "bf16":
        return _finite(from_bf16(_unplaned(stored, count * hidden)).reshape(count, hidden))
    groups = padded(hidden, group) // group
    channels, rest = from_bf16(_unplaned(stored, hidden)), stored[2 * hidden :]
    scales, rest = from_bf16(_unplaned(rest, count * groups)), rest[2 * count * groups :]
    numbers = numpy.frombuffer(rest, numpy.int8)
    if dtype == "int4":
        numbers = numpy.stack([numbers << 4 >> 4, numbers >> 4], axis=-1)
    with numpy.errstate(over="ignore"):  # what overflows is not finite
        grouped = numbers.reshape(count, groups, group) * _finite(scales).reshape(count, groups, 1)
        return _finite(grouped.reshape(count, groups * group)[:, :hidden] * _finite(channels))


def rounded(features: Floats, dtype: TokenDtype) -> Floats:
    """What storing makes of features."""
    (count, hidden), group = features.shape, GROUPS[dtype]
    return from_bytes(to_bytes(features, dtype, group), count, hidden, dtype, group)


def to_bf16(numbers: NDArray[numpy.floating]) -> NDArray[numpy.uint16]:
    """The nearest bfloat16 of each finite number, ties to even, as its bits."""
    bits = numpy.ascontiguousarray(numbers, numpy.float32).view(numpy.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(numpy.uint16)


def from_bf16(bits: NDArray[numpy.uint16]) -> Floats:
    return (bits.astype(numpy.uint32) << 16).view(numpy.float32)


def _int8(grouped: Floats) -> tuple[NDArray[numpy.uint16], NDArray[numpy.int8]]:
    """Scales (count, groups) and numbers -127 to 127 of groups (count, groups, group)."""
    scales = to_bf16(numpy.abs(grouped).max(axis=-1) / 127)
    return scales, _divided(grouped, scales, -127, 127).astype(numpy.int8)


def _int4(grouped: Floats) -> tuple[NDArray[numpy.uint16], NDArray[numpy.uint8]]:
    """Scales (count, groups) and numbers -8 to 7, two a byte, the first in the lower half."""
    largest = numpy.abs(grouped).argmax(axis=-1)[..., None]
    scales = to_bf16(numpy.take_along_axis(grouped, largest, -1)[..., 0] / -8)
    numbers = _divided(grouped, scales, -8, 7).astype(numpy.int8).view(numpy.uint8).reshape(-1, 2)
    return scales, numpy.bitwise_or(numbers[:, 0] & 15, numbers[:, 1] << 4, dtype=numpy.uint8)


def _divided(grouped: Floats, scales: NDArray[numpy.uint16], least: int, most: int) -> Floats:
    divisor = _divisor(from_bf16(scales))[..., None]
    return numpy.asarray(numpy.clip(numpy.rint(grouped / divisor), least, most), numpy.float32)


def _divisor(scales: Floats) -> Floats:
    """Scales to divide by: what has none is all zeros."""
    return numpy.where(scales == 0, numpy.float32(1), scales)


def _grouped(features: Floats, group: int) -> Floats:
    """(count, hidden) as (count, groups, group); zeros fill the last group of a row."""
    count, hidden = features.shape
    return numpy.pad(features, ((0, 0), (0, padded(hidden, group) - hidden))).reshape(count, -1, group)


def _planes(numbers: NDArray[numpy.uint16]) -> bytes:
    return (numbers >> 8).astype(numpy.uint8).tobytes() + numbers.astype(numpy.uint8).tobytes()


def _unplaned(stored: bytes, count: int) -> NDArray[numpy.uint16]:
    planes = numpy.frombuffer(stored, numpy.uint8, 2 * count).astype(numpy.uint16)
    numbers: NDArray[numpy.uint16] = numpy.bitwise_or(planes[:count] << 8, planes[count:])
    return numbers


def _finite(numbers: Floats) -> Floats:
    if not numpy.isfinite(numbers).all():
        raise InvalidVisionTokens("The vision tokens hold numbers that are not finite.", reason="not_finite")
    return numbers
