"""The engine `deepseek` on small random checkpoints in the published form: pages in, results out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch
from PIL import Image

from ocr_tasks.contract import Flag, OcrOptions, PageResult
from ocr_tasks.errors import BlobMissing, EngineFailed
from tests.conftest import settings_of
from tests.generated import FAMILIES, generated
from tests.pages import grain
from tests.tiny_checkpoints import write_checkpoint
from workers.batcher import Batcher
from workers.engine import DeviceLost, Engine, OutOfMemory, PageDone, PageWork, WorkId
from workers.engine.answers import parse_answer
from workers.engine.deepseek.checkpoint import Checkpoint, load_checkpoint
from workers.engine.deepseek.decoder import Decoder, window_of
from workers.engine.deepseek.engine import DeepSeekEngine, load_deepseek
from workers.engine.deepseek.modes import better_mode
from workers.engine.deepseek.preparing import Preparer
from workers.engine.deepseek.readings import better_of
from workers.engine.deepseek.scheduler import Limits
from workers.engine.loading import load_engine

CONTEXT = 330
MOST_NEW_TOKENS = 15  # so that some texts are cut, flagged and read again


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


def limits_of(checkpoint: Checkpoint, slots: int = 4) -> Limits:
    window = window_of(checkpoint.model.config.text_config)
    return Limits(slots, CONTEXT + 128, CONTEXT, prefill_tokens=512, steps=4, window=window)


def work(number: int, image: Image.Image | None = None, **options: Any) -> PageWork:
    picture = image or grain((150 + 10 * number, 200))
    return PageWork(WorkId(UUID(int=number), 1, 1), lambda: picture, OcrOptions(**{"mode": "tiny"} | options))


def read_all(engine: Engine, works: Sequence[PageWork]) -> dict[WorkId, Any]:
    """Admit pages as there is room, step until all have ended; what became of each."""
    waiting, found = list(works), dict[WorkId, Any]()
    inside = 0
    while waiting or inside:
        room = engine.capacity - inside
        engine.admit(waiting[:room])
        inside += len(waiting[:room])
        del waiting[:room]
        for done in engine.step():
            assert done.id not in found
            found[done.id] = done.outcome
            inside -= 1
    return found


def decoded(checkpoint: Checkpoint, tokens: Sequence[int]) -> str:
    text = checkpoint.tokenizer.decode(list(tokens))
    assert isinstance(text, str)
    return text


def expected(checkpoint: Checkpoint, page: PageWork) -> PageResult:
    """What the engine should make of a page, by `generate()` and the rules for flagged pages."""
    preparer = Preparer(checkpoint, limits_of(checkpoint).room)

    def reading(mode: Any) -> PageResult:
        prepared = preparer.prepare(page, mode)
        tokens = generated(checkpoint.model, checkpoint.family, prepared.request)
        ended = tokens[-1] == 1
        text = decoded(checkpoint, tokens[: len(tokens) - ended])
        size = {"width": page.image.width, "height": page.image.height}
        answer = parse_answer(text, ended=ended, options=page.options, **size)
        counts = {"vision_tokens": prepared.layout.vision_tokens, "text_tokens": len(tokens) - ended}
        return PageResult(**vars(answer), mode=prepared.mode, **counts)

    first = reading(None)
    assert first.mode
    closer = better_mode(first.mode, checkpoint.resolutions) if first.flags else None
    return better_of(first, reading(closer)) if closer else first


@pytest.mark.parametrize("family", FAMILIES)
def test_pages_come_back_as_generate_reads_them_flagged_ones_after_a_second_reading(
    family: str, tmp_path: Path
) -> None:
    checkpoint = load_checkpoint(write_checkpoint(tmp_path, family))
    options: list[Any] = [
        {"prompt": "free"},
        {"prompt": "figure", "mode": "small"},
        {"prompt": "document"},
        {"mode": "auto"},
    ]
    works = [work(number, **options[number % 4]) for number in range(8)]
    found = read_all(DeepSeekEngine(checkpoint, limits_of(checkpoint)), works)
    for page in works:
        assert found[page.id].model_copy(update={"inference_ms": 0}) == expected(checkpoint, page)
    # Of DeepSeek-OCR 2's random weights, hardly a page is flagged: on some machines none is.
    assert family == "deepseek-ocr-2" or any(result.retried_from for result in found.values())
    assert all(result.vision_tokens and result.text_tokens is not None for result in found.values())


def test_a_prompt_is_bos_the_page_and_the_words(checkpoint: Checkpoint) -> None:
    prompt = Preparer(checkpoint, lambda _: 50).prepare(work(0, prompt="free")).request.prompt
    image = checkpoint.model.config.image_token_id
    assert list(prompt[:74]) == [0, *[image] * 73]
    assert decoded(checkpoint, prompt[74:]) == "\nFree OCR."


def test_special_tokens_reach_the_parser_and_eos_does_not(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def parse(text: str, **rest: Any) -> Any:
        seen.append(text)
        return parse_answer(text, **rest)

    monkeypatch.setattr("workers.engine.deepseek.engine.parse_answer", parse)
    vocabulary = checkpoint.tokenizer.get_vocab()
    answer = [vocabulary["<|ref|>"], vocabulary["<td>"], 300, 1]
    script = iter(answer)

    def decode(self: Decoder, slots: int, time: int, steps: int) -> list[list[int]]:
        return [[next(script, 1)] * slots for _ in range(steps + 1)]

    monkeypatch.setattr(Decoder, "decode", decode)
    read_all(DeepSeekEngine(checkpoint, limits_of(checkpoint, slots=1)), [work(0)])
    assert seen[0] == "<|ref|><td>" + decoded(checkpoint, [300])


def result(*flags: Flag, mode: Any = "tiny") -> PageResult:
    return PageResult(text="", markdown="", flags=flags, mode=mode)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (["no_eos"], [], "small"),
        (["no_eos"], ["empty"], "tiny"),
        (["empty"], ["repetition", "no_eos"], "small"),
        (["repetition", "no_eos"], ["no_eos", "truncated"], "small"),
        (["truncated", "no_eos"], ["repetition"], "tiny"),
        (["empty"], ["empty"], "small"),
    ],
)
def test_of_two_readings_the_less_bad_is_kept_and_says_that_there_were_two(
    first: list[Flag], second: list[Flag], kept: str
) -> None:
    best = better_of(result(*first), result(*second, mode="small"))
    assert (best.mode, best.retried_from) == (kept, "tiny")


def test_an_evicted_page_never_comes_back_and_the_others_do(checkpoint: Checkpoint) -> None:
    engine = DeepSeekEngine(checkpoint, limits_of(checkpoint))
    works = [work(number) for number in range(4)]
    engine.admit(works)
    engine.step()
    engine.evict([works[0].id, works[1].id, WorkId(UUID(int=99), 1, 1)])
    found = read_all_held(engine, 2)
    assert set(found) == {works[2].id, works[3].id}
    assert engine.step() == []


def read_all_held(engine: DeepSeekEngine, count: int) -> dict[WorkId, Any]:
    found = dict[WorkId, Any]()
    while len(found) < count:
        found |= {done.id: done.outcome for done in engine.step()}
    return found


def test_a_page_that_cannot_be_prepared_fails_alone(checkpoint: Checkpoint) -> None:
    def missing() -> Image.Image:
        raise BlobMissing("gone")

    def broken() -> Image.Image:
        raise ValueError("an image that breaks the preparer")

    good, lost, bad = work(0), work(1), work(2)
    lost, bad = dataclasses.replace(lost, load=missing), dataclasses.replace(bad, load=broken)
    found = read_all(DeepSeekEngine(checkpoint, limits_of(checkpoint)), [good, lost, bad])
    assert isinstance(found[lost.id], BlobMissing)
    assert isinstance(found[bad.id], EngineFailed)
    assert isinstance(found[good.id], PageResult)


def hungry(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make decoding run out of memory with more than `limit` slots."""
    right = Decoder._layers

    def layers(self: Decoder, hidden: Any, *rest: Any) -> Any:
        if len(hidden) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return right(self, hidden, *rest)

    monkeypatch.setattr(Decoder, "_layers", layers)


def test_a_page_more_than_there_are_slots_waits_ready_for_the_first_free_one(checkpoint: Checkpoint) -> None:
    engine = DeepSeekEngine(checkpoint, limits_of(checkpoint, slots=8))
    engine.admit([work(number) for number in range(engine.capacity)])
    wait([page.prepared for page in engine._pages.values() if page.prepared])
    ended = [*engine.step(), *engine.step()]  # a step prefills no more than half of them
    scheduler = engine.batch.scheduler
    read_again = [page for page in engine._pages.values() if page.first and page.prepared]
    assert (len(scheduler.live) + len(ended) + len(read_again), len(scheduler.waiting)) == (8, 1)
    engine.close()


def test_running_out_of_memory_halves_the_capacity_and_lets_everything_go(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = [work(number) for number in range(5)]
    before = read_all(DeepSeekEngine(checkpoint, limits_of(checkpoint, slots=8)), works)
    hungry(3, monkeypatch)
    engine = DeepSeekEngine(checkpoint, limits_of(checkpoint, slots=8))
    for capacity in (4, 2):
        engine.admit(works[: engine.capacity])
        wait([page.prepared for page in engine._pages.values() if page.prepared])  # or they would come one by one
        with pytest.raises(OutOfMemory, match=f"from now on {capacity}"):
            read_all_held(engine, len(works[: 2 * capacity]))
        assert engine.capacity == capacity
        assert engine.step() == []
    after = read_all(engine, works)
    assert {page: result.text for page, result in after.items()} == {page: r.text for page, r in before.items()}


def test_a_page_too_large_even_alone_leaves_room_for_one(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    hungry(0, monkeypatch)
    engine = DeepSeekEngine(checkpoint, limits_of(checkpoint, slots=1))
    engine.admit([work(0)])
    with pytest.raises(OutOfMemory):
        read_all_held(engine, 1)
    assert engine.capacity == 1
    assert engine.step() == []


def test_an_error_that_the_device_does_not_survive_says_so(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered", 710)

    monkeypatch.setattr(Decoder, "_layers", broken)
    engine = DeepSeekEngine(checkpoint, limits_of(checkpoint))
    engine.admit([work(0)])
    with pytest.raises(DeviceLost, match="device-side assert"):
        read_all_held(engine, 1)


def test_through_the_batcher_every_page_is_answered_and_a_withdrawn_one_is_evicted(checkpoint: Checkpoint) -> None:
    engine = DeepSeekEngine(checkpoint, limits_of(checkpoint))
    batcher = Batcher(engine, page_timeout_s=60, step_timeout_s=60, on_hang=pytest.fail)
    works = [work(number) for number in range(6)]
    futures = [batcher.submit(page) for page in works]
    batcher.withdraw([works[5].id])
    batcher.start()
    answers = [future.result(60).outcome for future in futures[:5]]
    assert all(isinstance(answer, PageResult) for answer in answers)
    assert futures[5].exception(60) is not None
    batcher.stop(0)
    assert batcher.join(10)


def test_settings_name_the_checkpoint_and_cap_the_capacity(folder: Path) -> None:
    environment = {"DEEPSEEK_OCR_MODEL_PATH": str(folder), "DEEPSEEK_OCR_BATCH_SIZE": "3"}
    engine = load_deepseek(settings_of(environment | {"DEEPSEEK_OCR_GPU_ENABLED": "false"}))
    assert engine.capacity == 3
    assert engine.revision.startswith("deepseek-ocr@")
    found = read_all(engine, [work(number) for number in range(4)])
    assert all(isinstance(result, PageResult) for result in found.values())
    engine.close()


def test_a_node_has_it_in_a_process_of_its_own(folder: Path, checkpoint: Checkpoint, monkeypatch: Any) -> None:
    monkeypatch.undo()  # texts are not cut there
    environment = {"OCR_ENGINE": "deepseek", "DEEPSEEK_OCR_MODEL_PATH": str(folder), "DEEPSEEK_OCR_BATCH_SIZE": "2"}
    engine = load_engine(settings_of(environment | {"DEEPSEEK_OCR_GPU_ENABLED": "false"}))
    page = work(1, prompt="free")
    found = read_all(engine, [page])[page.id]
    engine.close()
    assert engine.revision == DeepSeekEngine(checkpoint, limits_of(checkpoint)).revision
    assert found.text == read_all(DeepSeekEngine(checkpoint, limits_of(checkpoint)), [page])[page.id].text


def test_what_ends_is_told_once(checkpoint: Checkpoint) -> None:
    engine = DeepSeekEngine(checkpoint, limits_of(checkpoint))
    engine.admit([work(0), work(1)])
    ended: list[PageDone] = []
    while len(ended) < 2:
        ended += engine.step()
    assert engine.step() == []
    assert len({done.id for done in ended}) == 2
