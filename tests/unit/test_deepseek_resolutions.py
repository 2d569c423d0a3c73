"""A checkpoint that says its own resolutions: what triggers it, what is refused, and that pages go through it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import torch
from PIL import Image

from ocr_tasks.contract import Mode, OcrOptions, Operation, PageResult
from ocr_tasks.errors import InvalidVisionTokens
from tests.drawing import Style, article
from tests.pages import grain
from tests.tiny_checkpoints import write_checkpoint, write_nano
from workers.engine import PageDone, PageWork, WorkId
from workers.engine.deepseek.checkpoint import Checkpoint, examine, load_checkpoint
from workers.engine.deepseek.engine import DeepSeekEngine
from workers.engine.deepseek.families import CheckpointError, Family
from workers.engine.deepseek.modes import auto_mode, better_mode, layout_of, mode_for_ratio
from workers.engine.deepseek.pixels import views_of
from workers.engine.deepseek.preparing import Preparer
from workers.engine.deepseek.resolutions import FILE, RESOLUTIONS, Resolution, Resolutions, resolutions_of
from workers.engine.deepseek.scheduler import Limits
from workers.visual import pack, unpack

torch.set_num_threads(1)
READ, ENCODE, DECODE = Operation.READ, Operation.ENCODE, Operation.DECODE
LIMITS = Limits(slots=3, slot_tokens=256, context=1024, prefill_tokens=512, steps=4)
NANO = Resolutions(Family.DEEPSEEK_OCR, {"tiny": Resolution(256), "gundam": Resolution(256, 256, 6)})


def said(folder: Path, **entries: Any) -> Path:
    (folder / FILE).write_text(json.dumps(entries))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return load_checkpoint(write_nano(tmp_path_factory.mktemp("nano")))


# -- what triggers it ---------------------------------------------


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"size": {"height": 1024, "width": 1024}, "tile_size": 640, "max_patches": 32},
        {"size": {"height": 1024, "width": 1024}, "tile_size": 768, "max_patches": 6},
        {"size": 640 + 128},
        {"size": {"longest_edge": 1280}},
        {"candidate_resolutions": [[1024, 1024]], "image_mean": [0.5, 0.5, 0.5]},
    ],
)
def test_a_published_checkpoint_has_all_modes_of_its_paper(
    family: Family, entries: dict[str, Any], tmp_path: Path
) -> None:
    assert resolutions_of(said(tmp_path, **entries), family) == RESOLUTIONS[family]


@pytest.mark.parametrize("size", [256, {"height": 256, "width": 256}, {"longest_edge": 256}])
def test_a_smaller_view_makes_two_modes(size: Any, tmp_path: Path) -> None:
    found = resolutions_of(said(tmp_path, size=size, tile_size=256, max_patches=6), Family.DEEPSEEK_OCR)
    assert found == NANO
    modes: list[Mode] = ["tiny", "small", "base", "large", "gundam"]
    assert [found.mode_of(mode) for mode in modes] == ["tiny", "gundam", "gundam", "gundam", "gundam"]
    assert [better_mode(mode, found) for mode in modes] == ["gundam", None, None, None, None]


def test_what_a_file_leaves_out_is_the_librarys_default(tmp_path: Path) -> None:
    found = resolutions_of(said(tmp_path, size=256), Family.UNLIMITED_OCR)
    assert (found.modes["gundam"], found.largest_squashed) == (Resolution(256, 640, 32), 640)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({"size": 250}, "size is 250; only multiples of 64 pixels can be served"),
        ({"size": 256, "tile_size": "large"}, "tile_size is 'large'; only multiples of 64"),
        ({"size": 256, "max_patches": 1}, "max_patches is 1; it must be 2 or more"),
        ({"size": 256, "min_patches": 1}, "min_patches is 1; only 2 can be served"),
    ],
)
def test_resolutions_that_cannot_be_served_are_refused(entries: dict[str, Any], why: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=why):
        resolutions_of(said(tmp_path, **entries), Family.DEEPSEEK_OCR)


def test_deepseek_ocr_2_has_queries_for_its_published_views_only(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="size is 256; DeepSeek-OCR 2 has queries for 768 and 1024"):
        resolutions_of(said(tmp_path, size=256), Family.DEEPSEEK_OCR2)


def test_the_revision_tells_resolutions_apart_and_ignores_what_decides_nothing(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, Family.DEEPSEEK_OCR)
    plain = examine(folder)
    assert examine(said(folder, size=1024, tile_size=640)).revision == plain.revision
    (folder / "generation_config.json").write_text(json.dumps({"no_repeat_ngram_size": 35}))
    assert (examine(folder).revision, examine(folder).bans_repeats) == (plain.revision, True)
    (folder / "generation_config.json").write_text(json.dumps({"no_repeat_ngram_size": 0}))
    unbanned = examine(said(folder, size=256, tile_size=256))
    assert (unbanned.bans_repeats, unbanned.resolutions.modes["tiny"].side) == (False, 256)
    seen = {plain.revision, unbanned.revision, examine(said(folder, size=256, tile_size=128)).revision}
    assert len(seen) == 3


# -- what follows from it ---------------------------------------------


@pytest.mark.parametrize(
    ("mode", "size", "tokens"),
    [
        ("tiny", (700, 500), 21),
        ("gundam", (256, 256), 21),
        ("gundam", (512, 256), 21 + 4 * 9),
        ("base", (300, 600), 61),
    ],
)
def test_a_view_of_256_pixels_is_16_vision_tokens_and_their_marks(
    mode: Mode, size: tuple[int, int], tokens: int
) -> None:
    assert layout_of(size, mode, NANO).vision_tokens == tokens


def test_a_page_is_squashed_alone_and_keeps_its_shape_beside_tiles() -> None:
    page = Image.new("L", (600, 300), 255)
    tiny, gundam = (views_of(page, mode, NANO) for mode in ("tiny", "gundam"))
    assert tiny.page.min() == 1
    assert gundam.page.min() < 0.1
    small = views_of(page.resize((200, 100)), "gundam", NANO)
    assert (small.layout.tiles, bool(small.page.min() < 0.1)) == (0, True)
    padded = Resolutions(NANO.family, NANO.modes, largest_squashed=0)
    assert views_of(page, "tiny", padded).page.min() < 0.1


def test_dense_text_asks_for_tiles_and_letters_are_tokens(checkpoint: Checkpoint) -> None:
    preparer = Preparer(checkpoint, LIMITS.room)
    assert preparer.letters_a_token == 1
    few = article(random.Random(1), Style(size_pt=24)).image.crop((100, 300, 600, 700))
    many = article(random.Random(1), Style(size_pt=11)).image
    modes = [preparer.prepare(work(page)).mode for page in (few, many)]
    assert modes == ["tiny", "gundam"]
    assert auto_mode(few, NANO, letters_a_token=1, most_ratio=1) == "gundam"


def test_a_target_ratio_picks_between_the_two_modes() -> None:
    assert [mode_for_ratio(letters, 10, (512, 512), NANO) for letters in (210, 211)] == ["tiny", "gundam"]


# -- pages go through it ---------------------------------------------


def work(image: Image.Image, number: int = 1, mode: Any = "auto", **more: Any) -> PageWork:
    options = OcrOptions(mode=mode, prompt="free")
    return PageWork(WorkId(UUID(int=0), number, 1), lambda: image, options, **more)


def through(engine: DeepSeekEngine, works: list[PageWork]) -> dict[int, PageDone]:
    engine.admit(works)
    done: dict[int, PageDone] = {}
    while len(done) < len(works):
        done |= {one.id.page_no: one for one in engine.step()}
    return done


@pytest.fixture
def engine(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeepSeekEngine]:
    monkeypatch.setattr("workers.engine.deepseek.preparing.most_new_tokens", lambda family: 24)
    engine = DeepSeekEngine(checkpoint, LIMITS)
    yield engine
    engine.close()


def test_pages_in_both_modes_give_together_what_they_give_alone(engine: DeepSeekEngine) -> None:
    modes = ["tiny", "gundam", "gundam", "tiny"]
    works = [work(grain((200 + 150 * n, 300)), n, mode) for n, mode in enumerate(modes)]
    together = through(engine, works)
    for one in works:
        alone = through(engine, [one])[one.id.page_no].outcome
        found = together[one.id.page_no].outcome
        assert isinstance(found, PageResult)
        assert isinstance(alone, PageResult)
        assert (found.text, found.flags, found.mode) == (alone.text, alone.flags, alone.mode)
    assert {done.outcome.text for done in together.values() if isinstance(done.outcome, PageResult)} != {""}


@pytest.mark.parametrize("mode", ["tiny", "gundam"])
def test_stored_vision_tokens_decode_to_what_was_read(engine: DeepSeekEngine, mode: Mode) -> None:
    page = through(engine, [work(grain((500, 300)), mode=mode, operations=frozenset({READ, ENCODE}))])[1]
    assert page.tokens is not None
    columns, rows = page.tokens.grid
    assert (page.tokens.side, len(page.tokens.features)) == (256, 16 + 16 * columns * rows)
    stored = unpack(pack(page.tokens, "bf16"))
    options = OcrOptions(prompt="free")
    decoded = through(engine, [PageWork(WorkId(UUID(int=0), 2, 1), lambda: stored, options, frozenset({DECODE}))])[2]
    assert isinstance(page.outcome, PageResult)
    assert isinstance(decoded.outcome, PageResult)
    assert decoded.outcome.text == page.outcome.text != ""
    assert decoded.outcome.vision_tokens == page.tokens.vision_tokens == page.outcome.vision_tokens


def test_vision_tokens_of_another_checkpoint_are_refused(engine: DeepSeekEngine) -> None:
    tokens = through(engine, [work(grain((200, 200)), operations=frozenset({ENCODE}))])[1].tokens
    assert tokens is not None
    other = replace(tokens, revision="0" * 12)
    refused = through(engine, [PageWork(WorkId(UUID(int=0), 2, 1), lambda: other, operations=frozenset({DECODE}))])[2]
    assert isinstance(refused.outcome, InvalidVisionTokens)
    assert "their revision is 000000000000" in refused.outcome.detail
