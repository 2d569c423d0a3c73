"""Pages encoded and vision tokens decoded by the engine `deepseek`, on small random checkpoints of all families."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy
import pytest
import torch
from PIL import Image

from ocr_tasks.contract import OcrOptions, Operation, PageResult, TokenDtype
from ocr_tasks.errors import InvalidVisionTokens, OcrError, OperationUnavailable
from tests.conftest import settings_of
from tests.generated import FAMILIES
from tests.pages import grain
from tests.tiny_checkpoints import write_checkpoint
from workers.batcher import Batcher
from workers.engine import Engine, PageDone, PageWork, WorkId
from workers.engine.deepseek.checkpoint import Checkpoint, load_checkpoint
from workers.engine.deepseek.decoder import window_of
from workers.engine.deepseek.engine import DeepSeekEngine
from workers.engine.deepseek.modes import layout_of
from workers.engine.deepseek.scheduler import Limits
from workers.engine.deepseek.storing import Storing
from workers.engine.deepseek.vision import encode
from workers.engine.loading import load_engine
from workers.visual import VisionTokens, pack, unpack

READ, ENCODE, DECODE = Operation.READ, Operation.ENCODE, Operation.DECODE
CONTEXT = 700
MOST_NEW_TOKENS = 15


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def short_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.engine.deepseek.preparing.most_new_tokens", lambda family: MOST_NEW_TOKENS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("deepseek-ocr"), "deepseek-ocr")


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return load_checkpoint(folder)


@pytest.fixture(scope="module", params=FAMILIES)
def any_checkpoint(
    request: pytest.FixtureRequest, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> Checkpoint:
    if request.param == "deepseek-ocr":
        return checkpoint
    return load_checkpoint(write_checkpoint(tmp_path_factory.mktemp(request.param), request.param))


def engine_of(checkpoint: Checkpoint, slots: int = 4, context: int = CONTEXT) -> DeepSeekEngine:
    window = window_of(checkpoint.model.config.text_config)
    limits = Limits(slots, context + 128, context, prefill_tokens=1024, steps=4, window=window)
    return DeepSeekEngine(checkpoint, limits)


def work(number: int, page: Image.Image | VisionTokens, *operations: Operation, **options: Any) -> PageWork:
    chosen = OcrOptions(**{"mode": "tiny", "prompt": "free"} | options)
    return PageWork(WorkId(UUID(int=number), 1, 1), lambda: page, chosen, frozenset(operations))


def ended(engine: Engine, works: Sequence[PageWork]) -> dict[WorkId, PageDone]:
    """Admit pages as there is room, step until all have ended."""
    waiting, found = list(works), dict[WorkId, PageDone]()
    while len(found) < len(works):
        room = engine.capacity - (len(works) - len(waiting) - len(found))
        engine.admit(waiting[:room])
        del waiting[:room]
        found |= {done.id: done for done in engine.step()}
    return found


def result_of(done: PageDone) -> PageResult:
    """A page's result but for its time."""
    assert isinstance(done.outcome, PageResult), done.outcome
    return done.outcome.model_copy(update={"inference_ms": 0})


def tokens_of(done: PageDone) -> VisionTokens:
    assert done.tokens is not None
    return done.tokens


PAGES: list[tuple[Image.Image, dict[str, Any]]] = [
    (grain((150, 200)), {"mode": "tiny"}),
    (grain((700, 500)), {"mode": "small", "prompt": "figure"}),
    (grain((900, 450)), {"mode": "gundam"}),  # two tiles beside each other
    (grain((420, 840)), {"mode": "gundam", "prompt": "document"}),  # and one above the other
    (grain((200, 300)), {"mode": "auto", "prompt": "describe"}),
]


def asked(*operations: Operation) -> list[PageWork]:
    return [work(number, page, *operations, **options) for number, (page, options) in enumerate(PAGES)]


@pytest.fixture(scope="module")
def direct(any_checkpoint: Checkpoint) -> dict[WorkId, PageDone]:
    """What reading and encoding in one pass makes of PAGES."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workers.engine.deepseek.preparing.most_new_tokens", lambda family: MOST_NEW_TOKENS)
        return ended(engine_of(any_checkpoint), asked(READ, ENCODE))


# -- decoding ---------------------------------------------


def test_text_from_a_bf16_container_is_token_for_token_what_was_read_from_the_page(
    any_checkpoint: Checkpoint, direct: dict[WorkId, PageDone]
) -> None:
    stored = {page: unpack(pack(tokens_of(done), "bf16")) for page, done in direct.items()}
    works = [
        dataclasses.replace(page, load=lambda tokens=stored[page.id]: tokens, operations=frozenset({DECODE}))  # type: ignore[misc]
        for page in asked(DECODE)
    ]
    found = ended(engine_of(any_checkpoint), works)
    for page in works:
        expected = result_of(direct[page.id]).model_copy(update={"retried_from": None})
        assert result_of(found[page.id]) == expected
        assert found[page.id].tokens is None
    assert len({result_of(done).text for done in found.values()}) == len(PAGES)
    assert {tokens.grid for tokens in stored.values()} == {(0, 0), (2, 1), (1, 2)}


def test_a_page_that_is_only_read_gives_the_same_text(
    any_checkpoint: Checkpoint, direct: dict[WorkId, PageDone]
) -> None:
    found = ended(engine_of(any_checkpoint), asked(READ))
    assert {page: result_of(done) for page, done in found.items()} == {
        page: result_of(done) for page, done in direct.items()
    }
    assert {done.tokens for done in found.values()} == {None}


def test_other_vision_tokens_give_another_text(checkpoint: Checkpoint) -> None:
    page = ended(engine_of(checkpoint), [work(0, grain(), READ, ENCODE)])[work(0, grain()).id]
    tokens = tokens_of(page)
    turned = dataclasses.replace(tokens, features=tokens.features[::-1].copy())
    again = ended(engine_of(checkpoint), [work(1, turned, DECODE, mode="tiny")])
    assert result_of(again[WorkId(UUID(int=1), 1, 1)]).text != result_of(page).text


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_a_page_encoded_and_decoded_at_once_has_the_text_that_its_container_will_give(
    checkpoint: Checkpoint, dtype: TokenDtype
) -> None:
    works = [dataclasses.replace(page, stored_as=dtype) for page in asked(ENCODE, DECODE)]
    found = ended(engine_of(checkpoint), works)
    stored = [unpack(pack(tokens_of(found[page.id]), dtype)) for page in works]
    again = ended(
        engine_of(checkpoint),
        [work(number, stored[number], DECODE, **options) for number, (_, options) in enumerate(PAGES)],
    )
    assert {page: result_of(done) for page, done in found.items()} == {
        page: result_of(done) for page, done in again.items()
    }
    assert any("no_eos" in result_of(done).flags for done in found.values())
    assert {result_of(done).retried_from for done in found.values()} == {None}


# -- encoding ---------------------------------------------


def test_pages_that_are_only_encoded_share_a_batch_with_pages_that_are_read(checkpoint: Checkpoint) -> None:
    read = [work(number, page, READ, **options) for number, (page, options) in enumerate(PAGES)]
    encoded = [work(10 + number, page, ENCODE, **options) for number, (page, options) in enumerate(PAGES)]
    alone = ended(engine_of(checkpoint), read)
    mixed = ended(engine_of(checkpoint, slots=6), [page for pair in zip(encoded, read, strict=True) for page in pair])
    assert {page.id: result_of(mixed[page.id]) for page in read} == {page: result_of(alone[page]) for page in alone}
    for page, (image, _) in zip(encoded, PAGES, strict=True):
        result, tokens = result_of(mixed[page.id]), tokens_of(mixed[page.id])
        assert (result.text, result.markdown, result.flags, result.text_tokens) == ("", "", (), None)
        assert (result.mode, result.vision_tokens) == (tokens.mode, tokens.vision_tokens)
        assert page.options.mode in (tokens.mode, "auto")
        layout = layout_of(image.size, tokens.mode, checkpoint.resolutions)
        assert (tokens.side, tokens.tile_side, tokens.grid) == (layout.side, layout.tile_side, layout.grid)
        assert tokens.vision_tokens == layout.vision_tokens
        assert tokens.page_size == image.size
        assert (tokens.model, tokens.revision) == (str(checkpoint.family), checkpoint.revision)


def test_what_is_stored_are_the_models_own_vision_tokens_without_the_constant_ones(
    any_checkpoint: Checkpoint, direct: dict[WorkId, PageDone]
) -> None:
    model: Any = any_checkpoint.model.model
    constants = [model.view_separator]
    if any_checkpoint.family != "deepseek-ocr-2":
        constants.append(model.image_newline)
    for done in direct.values():
        tokens = tokens_of(done)
        whole = Storing(any_checkpoint).restored(tokens)
        assert len(whole) == tokens.vision_tokens
        constant = sum(int((whole == each).all(-1).sum()) for each in constants)
        assert constant == tokens.vision_tokens - len(tokens.features)
        assert (torch.from_numpy(tokens.features.copy()).bfloat16().float().numpy() == tokens.features).all()


def test_rows_stand_where_the_model_puts_them(any_checkpoint: Checkpoint, direct: dict[WorkId, PageDone]) -> None:
    from workers.engine.deepseek.pixels import views_of

    page = PAGES[2][0]
    tokens = tokens_of(direct[WorkId(UUID(int=2), 1, 1)])
    views = views_of(page, tokens.mode, any_checkpoint.resolutions)
    torch.testing.assert_close(
        Storing(any_checkpoint).restored(tokens), encode(any_checkpoint, [views])[0].float(), rtol=1e-2, atol=1e-2
    )


def test_vision_tokens_are_those_of_the_reading_that_was_kept(
    any_checkpoint: Checkpoint, direct: dict[WorkId, PageDone]
) -> None:
    assert all(tokens_of(done).mode == result_of(done).mode for done in direct.values())
    # Of DeepSeek-OCR 2's random weights, hardly a page is flagged: on some machines none is.
    if any_checkpoint.family != "deepseek-ocr-2":
        assert any(result_of(done).retried_from for done in direct.values())


def test_a_target_ratio_picks_the_mode_of_a_page_that_is_encoded(checkpoint: Checkpoint) -> None:
    page, text = grain((300, 200)), "Free OCR. " * 250
    options: dict[str, Any] = {"mode": "auto", "compression_ratio": 5}
    with_text = dataclasses.replace(work(0, page, ENCODE, **options), source_text=text)
    fixed = dataclasses.replace(work(1, page, ENCODE, mode="small", compression_ratio=5), source_text=text)
    engine = engine_of(checkpoint)
    found = ended(engine, [with_text, fixed, work(2, page, ENCODE, **options)])
    count = engine.count_text_tokens(text)
    assert found[with_text.id].source_text_tokens == count
    assert 5 * 111 < count <= 5 * 273
    assert tokens_of(found[with_text.id]).mode == "base"
    assert tokens_of(found[fixed.id]).mode == "small"
    assert found[work(2, page).id].source_text_tokens is None


# -- what goes wrong ---------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "unlimited-ocr"}, "other_model"),
        ({"revision": "ffffffffffff"}, "other_model"),
        ({"features": numpy.zeros((64, 32), numpy.float32)}, "other_model"),
        ({"features": numpy.zeros((63, 64), numpy.float32)}, "counts"),
        ({"vision_tokens": 74}, "counts"),
        ({"side": 640}, "counts"),
        ({"side": 1_000_000, "tile_side": 1_000_000, "grid": (1_000_000, 1_000_000)}, "counts"),
        (
            {"side": 2048, "vision_tokens": 32 * 33 + 1, "features": numpy.zeros((1024, 64), numpy.float32)},
            "too_large",
        ),
    ],
)
def test_vision_tokens_that_the_model_cannot_decode_fail_alone(
    checkpoint: Checkpoint, changes: dict[str, Any], reason: str
) -> None:
    engine = engine_of(checkpoint)
    good = tokens_of(ended(engine, [work(0, grain(), ENCODE)])[work(0, grain()).id])
    bad = dataclasses.replace(good, **changes)
    found = ended(engine, [work(1, bad, DECODE), work(2, good, DECODE)])
    refused = found[WorkId(UUID(int=1), 1, 1)].outcome
    assert isinstance(refused, InvalidVisionTokens)
    assert refused.extensions["reason"] == reason
    assert isinstance(found[WorkId(UUID(int=2), 1, 1)].outcome, PageResult)


def test_operations_that_are_not_done_in_one_pass_are_refused(checkpoint: Checkpoint) -> None:
    found = ended(engine_of(checkpoint), [work(0, grain(), READ, DECODE), work(1, grain())])
    assert {type(done.outcome) for done in found.values()} == {OperationUnavailable}


def test_evicted_pages_leave_nothing_behind_wherever_they_are(checkpoint: Checkpoint) -> None:
    stored = tokens_of(ended(engine_of(checkpoint), [work(0, grain(), ENCODE)])[work(0, grain()).id])

    def works(start: int) -> list[PageWork]:
        pages = [work(start, grain(), ENCODE), work(start + 1, grain(), ENCODE, DECODE)]
        return [*pages, work(start + 2, grain(), READ, ENCODE), work(start + 3, stored, DECODE)]

    engine = engine_of(checkpoint)
    for steps in range(4):
        gone, stay = works(10), works(20)
        engine.admit([*gone, *stay])
        found = dict[WorkId, PageDone]()
        for _ in range(steps):
            found |= {done.id: done for done in engine.step()}
        engine.evict([page.id for page in gone])
        left = {page.id for page in stay} - set(found)
        found = {}
        while set(found) < left:
            found |= {done.id: done for done in engine.step()}
        assert set(found) == left
        assert not any(isinstance(done.outcome, OcrError) for done in found.values())
        assert engine.step() == []
        assert not engine.batch.features
        assert not engine.batch.waiting


# -- through other hands ---------------------------------------------


def test_a_node_encodes_and_decodes_in_a_process_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"OCR_ENGINE": "deepseek", "DEEPSEEK_OCR_MODEL_PATH": str(folder), "DEEPSEEK_OCR_BATCH_SIZE": "4"}
    apart = load_engine(settings_of(environment | {"DEEPSEEK_OCR_GPU_ENABLED": "false"}))
    assert apart.operations == {READ, ENCODE, DECODE}
    batcher = Batcher(apart, page_timeout_s=60, step_timeout_s=60, on_hang=pytest.fail)
    batcher.start()
    page = grain((900, 450))
    both = work(0, page, READ, ENCODE, mode="gundam")
    counted = dataclasses.replace(work(1, page, ENCODE, mode="gundam"), source_text="Free OCR.")
    read, encoded = [batcher.submit(each).result(60) for each in (both, counted)]
    assert read.tokens is not None
    assert encoded.tokens is not None
    assert encoded.source_text_tokens == 4
    assert read.tokens.grid == encoded.tokens.grid == (2, 1)
    numpy.testing.assert_allclose(read.tokens.features, encoded.tokens.features, rtol=1e-2, atol=1e-2)
    stored = unpack(pack(read.tokens, "bf16"))
    decoded = batcher.submit(work(2, stored, DECODE, mode="gundam")).result(60)
    broken = batcher.submit(work(3, dataclasses.replace(stored, revision="other"), DECODE)).result(60)
    batcher.stop(0)
    assert batcher.join(20)
    assert isinstance(read.outcome, PageResult)
    assert isinstance(decoded.outcome, PageResult)
    assert decoded.outcome.text == read.outcome.text != ""
    assert isinstance(broken.outcome, InvalidVisionTokens)
