"""The room where the nano model is trained: its text, its pages, their labels, and a training that goes on."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random
from threading import Event
from typing import Any
from xml.etree import ElementTree

import numpy
import pytest
import torch
from PIL import Image

from ocr_tasks.contract import Mode, Prompt
from tests.stack import until
from workers.engine.deepseek.checkpoint import Checkpoint, load_checkpoint
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.pixels import views_of
from workers.engine.deepseek.prompts import locators, prompt_text
from workers.engine.deepseek.vision import encode
from workers.nano.alphabet import CHARACTERS, EOS_ID, IMAGE_ID, LOCATORS, ROWS, VOCABULARY, ids_of, text_of, tokenizer
from workers.nano.architecture import new_model
from workers.nano.batches import IGNORED, Batch, Batches, batch_of, normalised, path_of, placeholders_of, prompts
from workers.nano.curriculum import LEVELS, Level
from workers.nano.evaluation import Measured, plain
from workers.nano.fonts import KEPT_OUT, font_files, has_fonts
from workers.nano.heads import Heads, Watched
from workers.nano.pages import Density, Page, PageArtist, moved
from workers.nano.plot import plot
from workers.nano.publish import write_card
from workers.nano.release import write_release
from workers.nano.sheets import draw_sheets, read_sheets
from workers.nano.team import Team, run_team
from workers.nano.texts import Writer, words
from workers.nano.training import Progress, Training, optimisers

DEADLINE = 120  # seconds
INK = 60  # difference from the paper that is ink


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """An untrained model as it would be released."""
    folder = tmp_path_factory.mktemp("release")
    write_release(new_model(0), folder)
    return load_checkpoint(folder)


# -- text and tokens ----------------------------------------------------------


def test_every_character_is_one_token_and_comes_back() -> None:
    own = tokenizer()
    assert own.encode(CHARACTERS, add_special_tokens=False) == ids_of(CHARACTERS)
    assert own.decode(ids_of(CHARACTERS)) == text_of(ids_of(CHARACTERS)) == CHARACTERS
    assert len(own) == VOCABULARY


def test_the_engine_knows_the_locators_by_their_names() -> None:
    own = tokenizer()
    assert locators(own) == {own.get_vocab()[name] for name in LOCATORS}
    assert not locators(own) & set(ids_of(CHARACTERS))


def test_a_prompt_costs_three_tokens_at_most() -> None:
    asked: tuple[Prompt, ...] = ("document", "free", "figure", "describe")
    for prompt in asked:
        rest = prompt_text(prompt, Family.DEEPSEEK_OCR).removeprefix("<image>")
        assert len(tokenizer().encode(rest, add_special_tokens=False)) <= 3, prompt


def test_words_that_are_measured_with_are_never_trained_on() -> None:
    trained, kept_out = words(kept_out=False), words(kept_out=True)
    assert not set(trained) & set(kept_out)
    assert len(trained) > 5 * len(kept_out) > 500


def test_text_has_only_known_characters_and_about_the_length_asked_for() -> None:
    writer = Writer(Random(1))
    for length in (5, 30, 150, 400):
        text = " ".join(writer.words(length))
        assert set(text) <= set(CHARACTERS)
        assert length - 2 <= len(text) <= length + 20


def test_fonts_kept_out_are_no_fonts_trained_on() -> None:
    assert not [path for path in font_files(kept_out=False) if KEPT_OUT.search(path.name)]
    if has_fonts(kept_out=True):
        assert all(KEPT_OUT.search(path.name) for path in font_files(kept_out=True))


# -- pages --------------------------------------------------------------------


@pytest.mark.parametrize(
    "density", [Density(5, 25, 1), Density(60, 160), Density(220, 340), Density(100, 300, grid=(2, 1))]
)
def test_characters_are_where_a_page_says_they_are(density: Density) -> None:
    artist = PageArtist(3)
    pages = [artist.page(density) for _ in range(20)]
    for page in pages:
        assert page.image.shape == (256 * density.grid[1], 256 * density.grid[0], 3)
        assert len(page.text) <= density.most + 20
        assert page.text.count("\n") < density.lines
    assert share_near_ink(pages) > 0.98


def share_near_ink(pages: Sequence[Page]) -> float:
    """Of printed characters, those around whose centre there is ink, or what is not paper."""
    near: list[bool] = []
    for page in pages:
        assert len(page.centres) == len(page.text)
        assert page.centres.min() >= 0
        assert (page.centres.max(0) < [page.image.shape[1], page.image.shape[0]]).all()
        paper = numpy.median(page.image.reshape(-1, 3), axis=0)
        ink = numpy.abs(page.image - paper).sum(-1) > INK
        for character, (x, y) in zip(page.text, page.centres, strict=True):
            if character.isalnum():
                near.append(bool(ink[max(0, int(y) - 5) : int(y) + 6, max(0, int(x) - 4) : int(x) + 5].any()))
    return sum(near) / len(near)


def test_a_page_that_is_moved_has_the_same_text_in_other_places() -> None:
    artist, random = PageArtist(4), Random(4)
    pages = [artist.page(Density(60, 160)) for _ in range(20)]
    others = [moved(page, random) for page in pages]
    assert [page.text for page in others] == [page.text for page in pages]
    assert all(page.image.shape == other.image.shape for page, other in zip(pages, others, strict=True))
    patches = [numpy.concatenate([page.centres // 16 for page in some]) for some in (pages, others)]
    assert (patches[0] != patches[1]).any(1).mean() > 0.5
    assert share_near_ink(others) > 0.98


def test_a_seed_draws_the_same_pages_and_another_seed_others() -> None:
    first, again, other = (PageArtist(seed).page(Density(60, 160)) for seed in (5, 5, 6))
    assert first.text == again.text != other.text
    assert (first.image == again.image).all()


def test_a_plain_page_is_black_on_white() -> None:
    page = PageArtist(4, variety=0).page(Density(60, 160))
    assert (page.image[..., 0] == page.image[..., 2]).all()
    assert numpy.median(page.image) == 255


def test_chromium_draws_pages_whose_text_is_known(tmp_path: Path) -> None:
    draw_sheets(tmp_path, 1, seed=2)
    pages = read_sheets(tmp_path)
    assert len(pages) > 32
    for page in pages:
        assert set(page.text) <= set(CHARACTERS)
        assert not any(line != line.strip() or not line for line in page.text.split("\n"))
    assert share_near_ink(pages) > 0.97
    assert [path.name for path in tmp_path.iterdir()] == ["0000.npz"]


# -- batches ------------------------------------------------------------------


def page_of(text: str, centres: list[tuple[float, float]], size: tuple[int, int] = (256, 256)) -> Page:
    image = numpy.full((size[1], size[0], 3), 255, numpy.uint8)
    return Page(image, text, numpy.array(centres, numpy.float32))


def written(ids: torch.Tensor) -> str:
    return str(tokenizer().decode(ids))


def test_labels_name_the_next_token_and_where_it_is() -> None:
    page = page_of("a\nb", [(8, 8), (20, 8), (250, 40)])
    prompt = prompts((1, 1))[0]
    batch = batch_of([page, page_of("cd ef", [(1, 1)] * 5)], prompt)
    start, end = len(prompt), len(prompt) + 7
    assert written(batch.ids[0, start:end]) == "<|y1|><|x0|>a\n<|y5|><|x15|>b"
    assert batch.ids[0, end] == EOS_ID
    assert batch.labels[0, start - 1 : end].tolist() == batch.ids[0, start : end + 1].tolist()
    assert (batch.labels[0, : start - 1] == IGNORED).all()
    assert (batch.labels[0, end:] == IGNORED).all()
    line, other = [[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 2]], [[2, 15, 0], [2, 15, 0], [2, 15, 1]]
    assert batch.cells[0, start:end].tolist() == [*line, *other]
    assert (batch.cells[0, :start] == IGNORED).all()
    assert (batch.cells[0, end:] == IGNORED).all()
    assert batch.characters == 3 + 5
    assert batch.in_patch[0, 0, 0].tolist() == [CHARACTERS.index("a") + 1, CHARACTERS.index("\n") + 1, 0, 0]
    assert batch.in_patch[0, 2, 15, 0] == CHARACTERS.index("b") + 1
    assert batch.in_patch[0].count_nonzero() == 3
    assert batch.in_patch[1, 0, 0].tolist() == [CHARACTERS.index(character) + 1 for character in "cd e"]
    assert batch.onward[0, 0, 0].tolist() == [1, 0, 5]
    assert batch.onward[0, 2, 15].tolist() == [1, 0, ROWS]


def test_patches_have_their_characters_and_where_reading_goes_on() -> None:
    text = "wide one\nx"
    page = page_of(text, [*((12 * number, 20) for number in range(7)), (100, 20), (112, 20), (10, 60)])
    batch = batch_of([page], prompts((1, 1))[0])
    places = [(row, column) for row in range(16) for column in range(16)]
    parts = {
        place: "".join(CHARACTERS[label - 1] for label in batch.in_patch[0][place].tolist() if label)
        for place in places
    }
    assert {place: part for place, part in parts.items() if part} == {
        **{(1, column): part for column, part in enumerate(("wi", "d", "e", " o", "n"))},
        (1, 6): "e\n",
        (3, 0): "x",
    }
    onward = {place: batch.onward[0][place].tolist() for place in places}
    assert {place: way for place, way in onward.items() if way[0] != IGNORED} == {
        (1, 0): [1, 1, ROWS],
        **{(1, column): [0, 1, ROWS] for column in (1, 2, 3)},
        (1, 4): [0, 2, ROWS],
        (1, 6): [0, 0, 7],
        (3, 0): [1, 0, ROWS],
    }
    read = "<|y2|><|x0|>wi<|x1|>d<|x2|>e<|x3|> o<|x4|>n<|x6|>e\n<|y7|><|x0|>x<eos>"
    assert written(batch.ids[0]).endswith(read)
    assert text_of(batch.ids[0, len(prompts((1, 1))[0]) :].tolist()) == text


def test_a_shaken_path_writes_the_same_text_and_strays_by_little() -> None:
    artist, strayed = PageArtist(3), 0
    for page in [artist.page(Density(60, 160)) for _ in range(20)]:
        path, shaken = path_of(page), path_of(page, Random(1))
        assert text_of(shaken.ids) == text_of(path.ids) == page.text
        assert len(shaken.cells) == len(shaken.ids)
        for line, other in zip(path.stops, shaken.stops, strict=True):
            assert abs(line[0][2] - other[0][2]) <= 2
            columns, others = ([column for _, column, _, part in one for _ in part] for one in (line, other))
            assert max(abs(column - own) for column, own in zip(columns, others, strict=True)) <= 1
            assert others == sorted(others)
            strayed += sum(column != own for column, own in zip(columns, others, strict=True))
    assert strayed > 20
    batches = [batch_of([page], prompts((1, 1))[0], shaken_by) for shaken_by in (None, Random(1))]
    assert (batches[0].in_patch == batches[1].in_patch).all()
    assert (batches[0].onward == batches[1].onward).all()


def test_batches_repeat_with_their_seed_and_show_pages_again_but_moved() -> None:
    level = Level("lines", ((1.0, Density(5, 25, 1), 4),), enough=1, most=1, variety=0.5)
    first, again = (iter(Batches(level, seed=9)) for _ in range(2))
    batches = [next(first) for _ in range(6)]
    assert all((one.ids == next(again).ids).all() for one in batches)
    texts = {text_of(row.tolist()) for batch in batches for row in batch.ids}
    pictures = {tuple(row.tolist()) for batch in batches for row in batch.pixels.flatten(1)[:, ::97]}
    assert len(texts) < len(pictures) == 24


# -- the model in training ----------------------------------------------------


@pytest.mark.parametrize("grid", [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_training_sees_and_writes_as_the_engine_does(checkpoint: Checkpoint, grid: tuple[int, int]) -> None:
    page = PageArtist(3).page(Density(40, 60, grid=grid))
    prompt = prompts(grid)[0]
    batch = batch_of([page], prompt)
    model: Any = checkpoint.model
    mode: Mode = "tiny" if grid == (1, 1) else "gundam"
    with torch.no_grad():
        features = encode(checkpoint, [views_of(Image.fromarray(page.image), mode, checkpoint.resolutions)])[0]
        assert len(features) == placeholders_of(grid) == prompt.count(IMAGE_ID)
        embeds = model.get_input_embeddings()(batch.ids).clone()
        embeds[batch.ids == IMAGE_ID] = features
        served = model.lm_head(model.model.language_model(inputs_embeds=embeds, use_cache=False).last_hidden_state)
        watched = Watched(load_again(checkpoint))
        pages = [watched.see(normalised(batch.pixels))]
        if batch.whole is not None:
            pages.append(watched.see(normalised(batch.whole)))
        trained = watched.write(pages, batch.ids)
    torch.testing.assert_close(trained, served, atol=1e-4, rtol=1e-4)


def load_again(checkpoint: Checkpoint) -> Any:
    """The same model without the hooks of others."""
    model = new_model(1)
    model.load_state_dict(checkpoint.model.state_dict())
    return model


def test_heads_are_asked_for_their_own_patch_of_a_token() -> None:
    """The head of a character's patch, in the layer of its half of the token; the others may look at nothing."""
    batch = batch_of([page_of("a\nb", [(8, 8), (20, 8), (250, 40)])], prompts((1, 1))[0])
    start, time = len(prompts((1, 1))[0]), batch.ids.shape[1]
    nothing = torch.zeros(1, 8, time, time)
    nothing[..., 0] = 1  # BOS

    def looking(times: range, token: int, head: int) -> torch.Tensor:
        attention = nothing.clone()
        attention[0, head, times] = 0
        attention[0, head, times, token] = 1
        return attention

    # `a` is in the first patch of the first token, `b` in the last of the first row of the lower half of the fourth.
    upper, lower = looking(range(start, start + 4), 1, 0), looking(range(start + 4, start + 7), 4, 3)
    located = nothing.clone()
    for at, column, row in ((1, 1, 0), (2, 1, 0), (3, 1, 0), (4, 1, 4), (5, 5, 4), (6, 5, 4)):
        located[0, 0, start + at, [0, start + column]] = torch.tensor([0.0, 1.0])
        located[0, 1, start + at, [0, start + row]] = torch.tensor([0.0, 1.0])
    located[0, 1, start, [0, start]] = torch.tensor([0.0, 1.0])
    attentions = {0: located, 1: upper, 2: lower}
    assert Heads().looks(attentions, batch) == pytest.approx(0, abs=1e-6)
    assert Heads().looks(attentions | {1: lower, 2: upper}, batch) > 3
    assert Heads().looks({layer: one.roll(4, dims=1) for layer, one in attentions.items()}, batch) > 5
    assert Heads().looks({layer: one.roll(1, dims=3) for layer, one in attentions.items()}, batch) > 5


TINY = replace(LEVELS[0], most=2, mix=((1.0, Density(5, 25, 1), 2),))
TINY_LEVELS: tuple[Level, ...] = (
    TINY,
    replace(TINY, name="lines", text=1.0, enough=2.0),
    replace(TINY, name="tiles", text=1.0, enough=2.0, mix=((1.0, Density(20, 40, grid=(2, 1)), 2),)),
)


def tiny_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Training:
    monkeypatch.setattr("workers.nano.training.SHEETS", 0)
    return Training(folder, 0, torch.device("cpu"), TINY_LEVELS)


def test_a_training_goes_on_from_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = tiny_training(tmp_path, monkeypatch)
    assert not stopped.run(minutes=0)
    assert stopped.progress.step == 1
    again = tiny_training(tmp_path, monkeypatch)
    assert again.progress == stopped.progress
    for name, weight in stopped.model.state_dict().items():
        assert (again.model.state_dict()[name] == weight).all(), name
    assert again.run()
    assert (again.progress.step, again.progress.level) == (6, len(TINY_LEVELS))
    served = load_checkpoint(tmp_path / "release")
    for name, weight in served.model.state_dict().items():
        torch.testing.assert_close(weight, again.model.state_dict()[name], atol=0.01, rtol=0.01)
    assert not (tmp_path / "checkpoint.new").exists()


def test_a_training_begins_with_a_published_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = tmp_path / "published"
    model = new_model(5)
    write_release(model, published)
    (published / "measured.json").write_text(json.dumps({"training": asdict(Progress(step=70, pages=9, level=3))}))
    monkeypatch.setattr("workers.nano.training.SHEETS", 0)
    training = Training(tmp_path / "run", 0, torch.device("cpu"), TINY_LEVELS, start=published)
    assert training.progress == Progress(step=70, pages=9, level=len(TINY_LEVELS) - 1)
    for name, weight in training.model.state_dict().items():
        torch.testing.assert_close(weight, model.state_dict()[name], atol=0.01, rtol=0.01)
        assert weight.dtype == model.state_dict()[name].dtype
    assert training.run()
    assert training.progress.step == 70 + TINY_LEVELS[-1].most
    (published / "measured.json").write_text(json.dumps({"training": asdict(Progress(step=5, level=1, level_step=2))}))
    half_way = Training(tmp_path / "other", 0, torch.device("cpu"), TINY_LEVELS, start=published)
    assert half_way.progress == Progress(step=5, level=1, level_step=2)
    again = Training(tmp_path / "run", 0, torch.device("cpu"), TINY_LEVELS, start=published)
    assert again.progress == training.progress  # a checkpoint comes first
    (published / "measured.json").write_text(json.dumps({"training": asdict(Progress(step=9, level=3))}))
    blind = (*TINY_LEVELS[:2], replace(TINY_LEVELS[2], sees=False))
    over = Training(tmp_path / "third", 0, torch.device("cpu"), blind, start=published)
    assert over.progress == Progress(step=9, level=1)


def test_steps_make_the_losses_smaller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    training = tiny_training(tmp_path, monkeypatch)
    pages = [PageArtist(7, variety=0).page(Density(5, 25, 1)) for _ in range(2)]
    batch = batch_of(pages, prompts((1, 1))[0])
    level = replace(TINY_LEVELS[1], most=100)
    training.progress.step = training.progress.level_step = 30  # where the rates are no longer tiny
    before = losses_of(training, batch)
    for _ in range(8):
        training.train(batch, level)
    after = losses_of(training, batch)
    assert after["text"] < 0.9 * before["text"]
    assert after["neck"] < before["neck"]


def test_a_level_has_its_own_rates_and_they_fall_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = tiny_training(tmp_path, monkeypatch)
    batch = batch_of([PageArtist(7, variety=0).page(Density(5, 25, 1))], prompts((1, 1))[0])
    level = replace(TINY_LEVELS[-1], most=100, rate=0.4, falls=0.5)

    def rates(step: int) -> list[float]:
        training.progress = Progress(step=1000, level=len(TINY_LEVELS) - 1, level_step=step)
        training.train(batch, level)
        return [group["lr"] / group["highest"] for optimiser in training.optimisers for group in optimiser.param_groups]

    assert rates(0) == pytest.approx([0.4, 0.4])
    assert rates(75) == pytest.approx([0.2, 0.2])
    training.ends, training.gone = True, 0.875
    assert rates(0) == pytest.approx([0.1, 0.1])


def test_a_level_comes_to_its_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for level in range(len(TINY_LEVELS)):
        training = tiny_training(tmp_path, monkeypatch)
        assert training.progress.level == level
        assert training.run(minutes=0, ends=True) == (level == len(TINY_LEVELS) - 1)
        assert training.progress.step == level + 1
    assert tiny_training(tmp_path, monkeypatch).progress.level == len(TINY_LEVELS)


def test_sight_stays_as_it_is_where_it_is_not_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training = tiny_training(tmp_path, monkeypatch)
    before = {name: weight.clone() for name, weight in training.model.state_dict().items()}
    batch = batch_of([PageArtist(7, variety=0).page(Density(20, 40, grid=(2, 1)))], prompts((2, 1))[0])
    training.train(batch, replace(TINY_LEVELS[-1], sees=False))
    changed = {name for name, weight in training.model.state_dict().items() if (weight != before[name]).any()}
    assert changed
    assert not [name for name in changed if "vision_tower" in name or "projector" in name]


def test_a_step_goes_on_when_it_is_told_to_stop_and_all_stop_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = tiny_training(tmp_path, monkeypatch)
    average = training.team.average

    def told_meanwhile(*given: Any) -> list[float]:
        numbers = average(*given)
        training.stop()  # as a signal that comes while a process waits for the others
        return numbers

    monkeypatch.setattr(Team, "average", lambda _team, *given: told_meanwhile(*given))
    assert not training.run()
    assert training.progress.step == 2


def losses_of(training: Training, batch: Batch) -> dict[str, float]:
    with torch.no_grad():
        return {name: float(loss) for name, loss in training.losses(batch, text=True)[0].items()}


def average_of_two(folder: Path, team: Team) -> None:
    """What each process of a team does in the test below."""
    learns, rests = torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(3))
    learns.grad = torch.full((2, 2), 4.0 * team.rank)
    numbers = team.average([rests, learns], [0.5 + team.rank])
    torch.save((learns.grad, rests.grad, numbers), folder / f"{team.rank}.pt")


def test_a_team_learns_from_the_average_of_its_shares(tmp_path: Path) -> None:
    run_team(2, tmp_path, partial(average_of_two, tmp_path))
    for rank in range(2):
        gradient, none, numbers = torch.load(tmp_path / f"{rank}.pt")
        assert (gradient == 2).all()
        assert none is None
        assert numbers == [1.0]
    assert not (tmp_path / "meeting").exists()


def until_told(folder: Path, team: Team) -> None:
    """What each process of a team does in the test below."""
    told = Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    (folder / f"{team.rank}.ready").touch()
    assert told.wait(DEADLINE)
    (folder / f"{team.rank}.told").touch()


def test_a_team_is_ended_through_the_process_that_began_it(tmp_path: Path) -> None:
    began = get_context("spawn").Process(target=run_team, args=(2, tmp_path, partial(until_told, tmp_path)))
    began.start()
    until(lambda: len(list(tmp_path.glob("*.ready"))) == 2, DEADLINE, "the team")
    began.terminate()
    began.join(DEADLINE)
    assert began.exitcode == 0
    assert len(list(tmp_path.glob("*.told"))) == 2


def test_each_parameter_belongs_to_one_optimiser() -> None:
    model, heads = new_model(0), Heads()
    groups = [group for optimiser in optimisers(model, heads) for group in optimiser.param_groups]
    owned = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in [*model.parameters(), *heads.parameters()]}


# -- what is said of it -------------------------------------------------------


def test_white_space_does_not_count_as_an_error() -> None:
    assert plain(" a\n\n b  c ") == "a b c"


def test_the_card_says_what_was_measured(tmp_path: Path) -> None:
    gated = [Measured(6, fonts, None, 500, 5.9, 0.0123, 0.5) for fonts in ("trained on", "unseen")]
    curved = [Measured(one, "trained on", dtype, 100, one, 0.01 * one, 0.1) for one in (1, 10) for dtype in DTYPES]
    write_card(tmp_path, gated, curved, Progress(step=1234, pages=5678, characters=9_000_000, seconds=7200))
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "{" not in card
    assert "It meets its goals." in card
    assert "| 6 | trained on | 500 | 1.23 % | 2 % | 50 % |" in card
    assert "| 10.0 | 10.00 % | 10.00 % | 10.00 % | 10.00 % |" in card
    assert "1,234 steps" in card
    assert "2.0" in card
    ElementTree.fromstring((tmp_path / "curve.svg").read_text(encoding="utf-8"))


def test_the_card_says_so_when_a_goal_is_missed(tmp_path: Path) -> None:
    gated = [Measured(asked, "trained on", None, 500, asked, error, 0.1) for asked, error in ((6, 0.019), (10, 0.21))]
    curved = [Measured(1, "trained on", dtype, 100, 1, 0.3, 0.1) for dtype in DTYPES]
    write_card(tmp_path, gated, curved, Progress())
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "**It misses its goals**: 21 % at 10 characters a vision token are wrong." in card


DTYPES: tuple[Any, ...] = (None, "bf16", "int8", "int4")


def test_a_plot_is_an_image_with_a_line_for_each_name() -> None:
    drawn = ElementTree.fromstring(plot({"one": [(1, 0.5), (2, 5)], "two": [(1, 1)]}, [(2, 5)], across="x", up="y"))
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"one", "two", "x", "y", "5 %"} <= set(texts)
