"""The room where the nano model is trained: a training that goes on, and what is said of what it gave."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from ocr_tasks.contract import Mode
from tests.stack import until
from workers.engine.deepseek.checkpoint import Checkpoint, load_checkpoint
from workers.engine.deepseek.pixels import views_of
from workers.engine.deepseek.vision import encode
from workers.nano.alphabet import IMAGE_ID
from workers.nano.architecture import new_model
from workers.nano.batches import Batch, batch_of, normalised, placeholders_of, prompts
from workers.nano.curriculum import LEVELS, Level
from workers.nano.evaluation import GRIDS, Measured, plain
from workers.nano.heads import Watched
from workers.nano.pages import Density, PageArtist
from workers.nano.plot import plot
from workers.nano.publish import write_card
from workers.nano.release import write_release
from workers.nano.team import Team, run_team
from workers.nano.training import Progress, Training

DEADLINE = 120  # seconds


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """An untrained model as it would be released."""
    folder = tmp_path_factory.mktemp("release")
    write_release(new_model(0), folder)
    return load_checkpoint(folder)


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

    def rate(step: int) -> float:
        """Of all optimisers, by the highest of each."""
        training.progress = Progress(step=1000, level=len(TINY_LEVELS) - 1, level_step=step)
        training.train(batch, level)
        groups = [group for optimiser in training.optimisers for group in optimiser.param_groups]
        shares = [group["lr"] / group["highest"] for group in groups]
        assert shares == pytest.approx([shares[0]] * len(groups))
        return float(shares[0])

    assert rate(0) == pytest.approx(0.4)
    assert rate(75) == pytest.approx(0.2)
    training.ends, training.gone = True, 0.875
    assert rate(0) == pytest.approx(0.1)


def test_a_level_comes_to_its_end_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for level in range(len(TINY_LEVELS)):
        training = tiny_training(tmp_path, monkeypatch)
        assert training.progress.level == level
        assert training.run(minutes=0, ends=True) == (level == len(TINY_LEVELS) - 1)
        assert training.progress.step == level + 1
    assert tiny_training(tmp_path, monkeypatch).progress.level == len(TINY_LEVELS)


def test_the_heads_of_a_published_model_learn_before_it_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = tmp_path / "published"
    write_release(new_model(5), published)
    monkeypatch.setattr("workers.nano.training.HEADS_FIRST", 1)
    training = Training(tmp_path / "run", 0, torch.device("cpu"), TINY_LEVELS, start=published)
    level = TINY_LEVELS[-1]
    batch = batch_of([PageArtist(7, variety=0).page(Density(20, 40, grid=(2, 1)))], prompts((2, 1))[0])
    before = [parameter.clone() for parameter in training.model.parameters()]
    heads = training.heads.token.weight.clone()
    training.train(batch, level)
    assert all((now == then).all() for now, then in zip(training.model.parameters(), before, strict=True))
    assert (training.heads.token.weight != heads).any()
    training.train(batch, level)
    assert any((now != then).any() for now, then in zip(training.model.parameters(), before, strict=True))


def test_levels_that_guide_have_the_attention_that_can_be_guided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.nano.training.SHEETS", 0)
    guided, unguided = TINY_LEVELS[1], replace(TINY_LEVELS[1], name="unguided", guided=False)
    training = Training(tmp_path, 0, torch.device("cpu"), (guided, unguided))
    used: list[tuple[bool, str]] = []
    losses = training.losses

    def watched(batch: Batch, *, guided: bool, **others: Any) -> Any:
        used.append((guided, training.model.model.language_model.config._attn_implementation))
        return losses(batch, guided=guided, **others)

    monkeypatch.setattr(training, "losses", watched)
    assert training.run()
    assert set(used) == {(True, "eager"), (False, "sdpa")}


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


# -- what is said of it -------------------------------------------------------


def test_white_space_does_not_count_as_an_error() -> None:
    assert plain(" a\n\n b  c ") == "a b c"


def test_the_card_says_what_was_measured(tmp_path: Path) -> None:
    gated = [Measured(6, fonts, None, 500, 5.9, 0.0123, 0.5) for fonts in ("trained on", "unseen")]
    curved = [Measured(one, "trained on", dtype, 100, one, 0.01 * one, 0.1) for one in (1, 10) for dtype in DTYPES]
    cut = [Measured(6, "trained on", None, 100, 6, 0.2, 0.03, grid) for grid in GRIDS]
    write_card(tmp_path, gated, curved, cut, Progress(step=1234, pages=5678, characters=9_000_000, seconds=7200))
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "{" not in card
    assert "It meets its goals." in card
    assert "| 6 | trained on | 500 | 1.23 % | 2 % | 50 % |" in card
    assert "| 10.0 | 10.00 % | 10.00 % | 10.00 % | 10.00 % |" in card
    assert "| 2 x 1 | 100 | 20.00 % | 3 % |" in card
    assert "1,234 steps" in card
    assert "2.0" in card
    ElementTree.fromstring((tmp_path / "curve.svg").read_text(encoding="utf-8"))


def test_the_card_says_so_when_a_goal_is_missed(tmp_path: Path) -> None:
    gated = [Measured(asked, "trained on", None, 500, asked, error, 0.1) for asked, error in ((6, 0.019), (10, 0.21))]
    curved = [Measured(1, "trained on", dtype, 100, 1, 0.3, 0.1) for dtype in DTYPES]
    write_card(tmp_path, gated, curved, [], Progress())
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "**It misses a goal**: 21.0 % at 10 characters a vision token are wrong." in card


DTYPES: tuple[Any, ...] = (None, "bf16", "int8", "int4")


def test_a_plot_is_an_image_with_a_line_for_each_name() -> None:
    drawn = ElementTree.fromstring(plot({"one": [(1, 0.5), (2, 5)], "two": [(1, 1)]}, [(2, 5)], across="x", up="y"))
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"one", "two", "x", "y", "5 %"} <= set(texts)
