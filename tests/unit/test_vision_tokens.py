"""The container of stored vision tokens: what goes in comes out, and whatever else is read is refused by name."""

from __future__ import annotations

import hashlib
import json
import random
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy
import pytest
import torch
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ocr_tasks.contract import TokenDtype
from ocr_tasks.errors import InvalidVisionTokens
from workers.visual import VisionTokens, describe, pack, require, unpack
from workers.visual.container import START, VERSION
from workers.visual.quantisation import GROUPS, from_bf16, rounded, to_bf16
from workers.visual.tokens import LARGEST

Floats = NDArray[numpy.float32]
DTYPES: tuple[TokenDtype, ...] = get_args(TokenDtype)
dtypes = st.sampled_from(DTYPES)
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 200))


def some_tokens(features: Floats, **changes: Any) -> VisionTokens:
    found = VisionTokens("deepseek-ocr", "0123456789ab", "gundam", 1024, 640, (2, 3), (1654, 2339), 903, features)
    return replace(found, **changes)


def noise(shape: tuple[int, int], seed: int = 0, spread: float = 2.0) -> Floats:
    """Numbers whose channels and rows differ much in size; some are zero."""
    chance = numpy.random.default_rng(seed)
    sizes = numpy.exp(chance.normal(0, spread, shape[1])) * numpy.exp(chance.normal(0, spread / 2, (shape[0], 1)))
    numbers = chance.normal(0, 1, shape) * sizes * (chance.random(shape) > 0.1)
    return numpy.asarray(numbers, numpy.float32)


features = st.builds(noise, SHAPES, st.integers(0, 10_000), st.floats(0, 12))
any_numbers = arrays(
    numpy.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.floats(-LARGEST, LARGEST, width=32, allow_nan=False),
)


# -- what goes in comes out ---------------------------------------------


@settings(max_examples=60, deadline=None)
@given(numbers=features, dtype=dtypes)
def test_all_but_the_numbers_comes_back_as_it_was_and_the_numbers_as_rounded(
    numbers: Floats, dtype: TokenDtype
) -> None:
    tokens = some_tokens(numbers)
    container = pack(tokens, dtype)
    found = unpack(container)
    assert replace(found, features=numbers).__dict__ == tokens.__dict__
    numpy.testing.assert_array_equal(found.features, rounded(numbers, dtype))
    header = describe(container)
    assert (header.count, header.hidden, header.dtype) == (*numbers.shape, dtype)
    assert header.vision_tokens == 903
    assert pack(tokens, dtype) == container


@settings(max_examples=60, deadline=None)
@given(numbers=st.one_of(features, any_numbers))
def test_bf16_keeps_what_a_bfloat16_holds_and_rounds_the_rest_as_torch_does(numbers: Floats) -> None:
    as_torch = torch.from_numpy(numbers).bfloat16().float().numpy()
    numpy.testing.assert_array_equal(unpack(pack(some_tokens(numbers), "bf16")).features, as_torch)
    numpy.testing.assert_array_equal(unpack(pack(some_tokens(as_torch), "bf16")).features, as_torch)


@settings(max_examples=100, deadline=None)
@given(numbers=st.one_of(features, any_numbers), dtype=st.sampled_from(["int8", "int4"]))
@example(numbers=numpy.full((1, 1), LARGEST, numpy.float32), dtype="int8")
@example(numpy.array([[1e-44, LARGEST, 0, -LARGEST]] * 3, numpy.float32), "int4")
def test_no_number_is_further_off_than_half_a_step_of_its_group_or_a_whole_one_in_int4(
    numbers: Floats, dtype: TokenDtype
) -> None:
    group, steps = GROUPS[dtype], {"int8": 2 * 127, "int4": 8}[dtype]
    channels = numpy.sqrt(numpy.mean(numpy.square(numbers, dtype=numpy.float64), axis=0))
    relative = numpy.abs(numbers / numpy.where(channels == 0, 1, channels))
    starts = range(0, numbers.shape[1], group)
    largest = numpy.repeat(numpy.maximum.reduceat(relative, starts, axis=1), group, axis=1)[:, : numbers.shape[1]]
    # Scales are rounded to 8 bits, and of numbers below 1e-36 (of their channel) to fewer.
    most = 1.05 * channels * largest / steps + 1e-36 * numpy.maximum(1, channels)
    assert (numpy.abs(unpack(pack(some_tokens(numbers), dtype)).features - numbers.astype(numpy.float64)) <= most).all()


def test_a_channel_a_hundred_times_as_large_costs_its_neighbours_nothing() -> None:
    numbers = numpy.random.default_rng(1).normal(0, 1, (256, 128)).astype(numpy.float32)
    before = rounded(numbers, "int8")
    numbers[:, 5] *= 100
    after = rounded(numbers, "int8")
    others = numpy.arange(128) != 5
    assert relative_rms(after[:, others], numbers[:, others]) < 1.05 * relative_rms(
        before[:, others], numbers[:, others]
    )


def test_what_is_lost_is_less_than_a_hundredth_in_int8_and_a_tenth_in_int4() -> None:
    numbers = numpy.random.default_rng(1).normal(0, 1, (256, 1280)).astype(numpy.float32)
    assert relative_rms(rounded(numbers, "int8"), numbers) < 0.007
    assert relative_rms(rounded(numbers, "int4"), numbers) < 0.09


def relative_rms(found: Floats, true: Floats) -> float:
    return float(numpy.sqrt(numpy.square(found - true).mean() / numpy.square(true).mean()))


def test_stored_sizes_of_a_page_in_base() -> None:
    numbers = numpy.random.default_rng(1).normal(0, 1, (256, 1280)).astype(numpy.float32)
    sizes = {dtype: len(pack(some_tokens(numbers), dtype)) / numbers.size for dtype in DTYPES}
    assert sizes["bf16"] < 1.5  # bytes a number
    assert sizes["int8"] < 1.0
    assert sizes["int4"] < 0.55


# -- what does not go in ---------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        (numpy.full((2, 3), numpy.nan, numpy.float32), "not_finite"),
        (numpy.array([[1, -numpy.inf]], numpy.float32), "not_finite"),
        (numpy.array([[2e38]], numpy.float32), "not_finite"),
        (numpy.zeros((0, 3), numpy.float32), "shape"),
        (numpy.zeros(3, numpy.float32), "shape"),
        (numpy.zeros((2, 3)), "shape"),
        (numpy.broadcast_to(numpy.float32(0), (1 << 20, 1280)), "too_large"),
        (numpy.broadcast_to(numpy.float32(0), (1 << 20, 1)), "too_large"),  # rows are filled up to a group
    ],
)
def test_numbers_that_cannot_be_stored_are_refused(numbers: Any, reason: str) -> None:
    with pytest.raises(InvalidVisionTokens) as caught:
        pack(some_tokens(numbers))
    assert caught.value.extensions["reason"] == reason


# -- what is not read ---------------------------------------------


WHOLE = pack(some_tokens(noise((30, 64))), "int8")


def reason_of(content: bytes) -> str:
    with pytest.raises(InvalidVisionTokens) as caught:
        unpack(content)
    assert caught.value.problem()["code"] == "invalid_vision_tokens"
    return str(caught.value.extensions["reason"])


def signed(changes: dict[str, Any], payload: bytes | None = None, content: bytes = WHOLE) -> bytes:
    """A container with another header or payload, and checksums that fit."""
    length = START.unpack_from(content)[2]
    header = json.loads(content[START.size : START.size + length])
    payload = content[START.size + length :] if payload is None else payload
    header |= {"payloadBytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()} | changes
    return with_header(json.dumps({name: value for name, value in header.items() if value != "left out"}), payload)


def with_header(header: str, payload: bytes) -> bytes:
    encoded = header.encode()
    start = START.pack(b"LDVT", VERSION, len(encoded), 0)[:8]
    return start + zlib.crc32(start + encoded).to_bytes(4, "little") + encoded + payload


def frame(content: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


SIZE = 2 * 64 + 2 * 30 + 30 * 64
NAN_SCALES = b"\0" * 128 + b"\x7f" * 30 + b"\xff" * 30 + b"\1" * (30 * 64)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not_vision_tokens"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not_vision_tokens"),
        (WHOLE[:3], "truncated"),
        (WHOLE[:40], "truncated"),
        (WHOLE[:-1], "truncated"),
        (WHOLE + b"\0", "damaged"),
        (WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]), "damaged"),
        (WHOLE[:60] + b"7" + WHOLE[61:], "damaged"),
        (WHOLE[:4] + b"\2\0" + WHOLE[6:], "version"),
        (with_header("no json", b""), "header"),
        (with_header("{}", b""), "header"),
        (with_header("[" * 60_000, b""), "header"),
        (signed({"dtype": "fp8"}), "header"),
        (signed({"count": "30"}), "header"),
        (signed({"count": 30.0}), "header"),
        (signed({"count": True}), "header"),
        (signed({"count": 0}), "header"),
        (signed({"count": 10**4000}), "header"),
        (signed({"hidden": -64}), "header"),
        (signed({"group": 0}), "header"),
        (signed({"group": 63}), "header"),
        (signed({"dtype": "bf16"}), "header"),
        (signed({"model": "x\n"}), "header"),
        (signed({"revision": "left out"}), "header"),
        (signed({"surplus": 1}), "header"),
        (signed({"count": 1 << 23, "hidden": 1 << 14}), "too_large"),
        (signed({"count": 1 << 23, "hidden": 1, "group": 1024}), "too_large"),
        (signed({"count": 29}), "damaged"),
        (signed({}, payload=b"garbage"), "damaged"),
        (signed({}, payload=frame(b"short")), "damaged"),
        (signed({}, payload=frame(bytes(SIZE)) + b"more"), "damaged"),
        (signed({}, payload=frame(bytes(SIZE))[:-3]), "damaged"),
        (signed({}, payload=frame(bytes(SIZE), write_content_size=False)), "damaged"),
        (signed({}, payload=frame(NAN_SCALES)), "not_finite"),
    ],
)  # fmt: skip
def test_bytes_that_are_no_vision_tokens_are_refused_by_what_is_wrong(content: bytes, reason: str) -> None:
    assert reason_of(content) == reason


def test_the_containers_that_the_refusals_are_made_from_can_be_read() -> None:
    assert unpack(signed({})).features.shape == (30, 64)
    assert not unpack(signed({}, payload=frame(bytes(SIZE)))).features.any()


def test_a_newer_version_says_which_one_is_known() -> None:
    with pytest.raises(InvalidVisionTokens, match="of version 7; this service knows version 1"):
        unpack(WHOLE[:4] + b"\7\0" + WHOLE[6:])


def test_a_frame_that_opens_to_more_than_its_header_says_takes_no_memory() -> None:
    bomb = signed({}, payload=frame(bytes(1 << 28)))
    assert len(bomb) < 1 << 16
    tracemalloc.start()
    assert reason_of(bomb) == "damaged"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "unlimited-ocr"}, "their model is deepseek-ocr, that of this one unlimited-ocr"),
        ({"revision": "ffff"}, "their revision is 0123456789ab, that of this one ffff"),
        ({"hidden": 1280}, "their hidden is 64, that of this one 1280"),
    ],
)
def test_another_model_is_told_by_the_header_alone(changes: dict[str, Any], says: str) -> None:
    own: dict[str, Any] = {"model": "deepseek-ocr", "revision": "0123456789ab", "hidden": 64}
    require(describe(WHOLE), **own)
    require(unpack(WHOLE), **own)
    with pytest.raises(InvalidVisionTokens, match=says) as caught:
        require(describe(WHOLE), **own | changes)
    assert caught.value.extensions["reason"] == "other_model"


# -- fuzz: never worse than InvalidVisionTokens ---------------------------------------------


def flipped(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut_off(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def cut_out(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.randint(1, 20) :]


def put_in(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + chance.randbytes(chance.randint(1, 20)) + content[start:]


def garbage(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.choice([0, 4, 6, START.size])] + chance.randbytes(chance.randint(0, 300))


MUTATIONS: list[Callable[[bytes, random.Random], bytes]] = [flipped, cut_off, cut_out, put_in, garbage]


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**32), mutate=st.sampled_from(MUTATIONS), dtype=dtypes)
def test_changed_bytes_are_refused_whatever_was_changed(
    seed: int, mutate: Callable[[bytes, random.Random], bytes], dtype: TokenDtype
) -> None:
    content = CONTAINERS[dtype]
    changed = mutate(content, random.Random(seed))
    if changed != content:
        reason_of(changed)


CONTAINERS = {dtype: pack(some_tokens(noise((7, 33))), dtype) for dtype in DTYPES}
FIELDS = list(json.loads(describe(WHOLE).model_dump_json(by_alias=True)))
VALUES = st.one_of(
    st.integers(-2, 200), st.integers(), st.floats(), st.text(max_size=5), st.none(), st.booleans(),
    st.sampled_from(DTYPES), st.lists(st.integers(), max_size=3), st.just("left out"),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    dtype=dtypes,
    changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3),
    payload=st.one_of(st.none(), st.binary(max_size=60), st.binary(max_size=200).map(frame), st.integers(0, 4)),
    seed=st.integers(0, 2**32),
)
def test_a_forged_container_whose_checksums_fit_is_read_as_finite_numbers_or_refused(
    dtype: TokenDtype, changes: dict[str, Any], payload: bytes | int | None, seed: int
) -> None:
    content = CONTAINERS[dtype]
    if isinstance(payload, int):  # the numbers themselves, forged
        header = describe(content)
        numbers = zstandard.decompress(content[len(content) - header.payload_bytes :])
        payload = frame(flipped(numbers, random.Random(seed)))
    try:
        found = unpack(signed(changes, payload, content))
    except InvalidVisionTokens:
        return
    assert numpy.isfinite(found.features).all()


def test_the_numbers_of_a_bfloat16_are_its_upper_bits() -> None:
    bits = numpy.arange(1 << 16, dtype=numpy.uint16)
    numbers = from_bf16(bits)
    finite = numpy.isfinite(numbers)
    numpy.testing.assert_array_equal(to_bf16(numbers[finite]), bits[finite])
