"""`lightdom-ocr model check` and `info`, offline; `fetch` is in test_deepseek_fetching."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ocr_tasks.contract import NOTICES, Operation, PageResult
from ocr_tasks.errors import EngineFailed
from ocr_tasks.exits import Exit
from ocr_tasks.settings import Settings, get_settings
from tests import drawing
from tests.tiny_checkpoints import write_checkpoint, write_nano
from workers.commands import register
from workers.engine import PageDone, PageWork, WorkId
from workers.engine.deepseek import nano
from workers.engine.deepseek.families import Family
from workers.engine.deepseek.smoke import PAGE, error_rate, read_sample

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `lightdom-ocr`, with a checkpoint of v1 configured."""
    monkeypatch.setenv("DEEPSEEK_OCR_MODEL_PATH", str(write_checkpoint(tmp_path / "model", Family.DEEPSEEK_OCR)))
    get_settings.cache_clear()
    cli = click.Group()
    register(cli)

    def invoke(*words: str) -> Result:
        result = CliRunner().invoke(cli, ["model", *words])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    yield invoke
    get_settings.cache_clear()


def test_check_says_what_it_found(run: Run, tmp_path: Path) -> None:
    result = run("check")
    assert result.exit_code == Exit.FINE
    assert result.stdout.startswith(f"{tmp_path / 'model'}: deepseek-ocr, 152 tensors, whole; revision ")


def test_check_names_all_that_is_wrong_a_line_each(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model" / "tokenizer.json").unlink()
    (tmp_path / "model" / "model-00001-of-000001.safetensors").unlink()
    result = run("check")
    assert (result.exit_code, result.stdout) == (Exit.FAILED, "")
    assert result.stderr.splitlines() == [
        "Error: tokenizer.json: missing",
        "Error: model-00001-of-000001.safetensors: missing",
    ]


def test_info_shows_facts(run: Run, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other", Family.DEEPSEEK_OCR2)
    facts = json.loads(run("info", str(other), "--json").stdout)
    assert (facts["family"], facts["layers"], facts["experts"], facts["context"]) == ("deepseek-ocr-2", 3, 8, 8192)
    assert facts["vision tokens of an A4 page"] == {"small": 145, "base": 257, "gundam": 1121}
    shown = dict(line.split("\t") for line in run("info").stdout.splitlines())
    assert (shown["family"], shown["parameters"]) == ("deepseek-ocr", "513,568")


@pytest.mark.parametrize("words", [("check",), ("info",)])
def test_a_model_that_is_not_there_says_how_to_get_it(run: Run, words: tuple[str, ...]) -> None:
    result = run(*words, "no/such-model", "--revision", "v2")
    assert result.exit_code == Exit.FAILED
    assert "not on this machine at revision v2. Fetch it first: lightdom-ocr model fetch no/such-model" in result.stderr


def test_nano_is_the_model_in_the_package(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nano, "FOLDER", tmp_path / "packaged")
    missing = run("check", "nano")
    assert (missing.exit_code, missing.stderr.strip()) == (
        Exit.FAILED,
        f"Error: nano: its weights are missing from this installation: {tmp_path / 'packaged'}",
    )
    write_nano(tmp_path / "packaged")
    checked = run("check", "nano").stdout.splitlines()
    assert checked[0].startswith("nano: deepseek-ocr, ")
    assert checked[1] == NOTICES["nano"]
    facts = json.loads(run("info", "nano", "--json").stdout)
    assert (facts["family"], facts["notice"]) == ("deepseek-ocr", NOTICES["nano"])
    assert "notice" not in json.loads(run("info", "--json").stdout)
    assert facts["vision tokens of an A4 page"] == {"tiny": 21, "gundam": 21 + 12 * 9}


def test_help_needs_no_torch(run: Run) -> None:
    for words in ((), ("fetch",), ("check",), ("info",)):
        assert run(*words, "--help").exit_code == Exit.FINE


# -- the page that comes with the package ---------------------------------------------


@dataclass
class Scripted:
    """An engine that answers at the third step."""

    outcome: PageResult | EngineFailed
    name: str = "scripted"
    revision: str = "1"
    capacity: int = 1
    operations: frozenset[Operation] = frozenset({Operation.READ})
    works: list[PageWork] = field(default_factory=list)
    steps: int = 0

    def admit(self, works: Sequence[PageWork]) -> None:
        self.works += works

    def step(self) -> Sequence[PageDone]:
        self.steps += 1
        return [PageDone(work.id, self.outcome) for work in self.works] if self.steps == 3 else []

    def evict(self, ids: Collection[WorkId]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def result_of(text: str) -> PageResult:
    return PageResult(text=text, markdown="")


def test_the_page_is_read_and_compared() -> None:
    truth = PAGE.with_suffix(".txt").read_text(encoding="utf-8")
    engine = Scripted(result_of(truth.replace("lighthouse", "lightbouse")))
    smoke = read_sample(engine, Settings())
    assert smoke.error_rate == pytest.approx(2 / len(" ".join(truth.split())))
    assert engine.works[0].image.size == (1240, 1754)


def test_a_page_that_fails_or_never_ends_is_said() -> None:
    with pytest.raises(EngineFailed, match="no luck"):
        read_sample(Scripted(EngineFailed("no luck")), Settings())
    with pytest.raises(TimeoutError, match=r"not read within 0\.01 s"):
        read_sample(Scripted(result_of(""), steps=3), Settings(page_timeout_s=0.01))


@pytest.mark.parametrize(("read", "truth"), [("", "abc"), ("abc", ""), ("a  b\nc", "a b c"), ("kitten", "sitting")])
def test_error_rates_are_those_that_the_other_engines_are_measured_by(read: str, truth: str) -> None:
    assert error_rate(read, truth) == drawing.error_rate(read, truth)


def test_smoke_reads_the_page_with_the_engine_itself(run: Run) -> None:
    """Random weights read nothing right: the command has to say so."""
    pytest.importorskip("workers.engine.deepseek.engine")
    result = run("check", "--smoke")
    assert result.exit_code == Exit.FAILED, result.stderr
    assert "page.png: character error rate " in result.stdout
    assert "this model does not read" in result.stderr


def test_smoke_shows_a_small_page_to_a_model_that_sees_little(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("workers.engine.deepseek.engine")
    result = run("check", "--smoke", str(write_nano(tmp_path / "small")))
    assert result.exit_code == Exit.FAILED, result.stderr
    assert "small.png: character error rate " in result.stdout
