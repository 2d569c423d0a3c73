"""`lightdom-ocr read` with an engine that answers at once; `integration/test_read.py` runs it whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ocr_tasks.contract import OcrOptions
from ocr_tasks.errors import EngineFailed, OcrError, ParserDied, TooManyPages, WrongPassword
from ocr_tasks.exits import Exit
from ocr_tasks.media import TIFF
from ocr_tasks.settings import Settings
from tests.documents import born_digital, encrypted_pdf
from tests.poisoned_prepare import PARSER_DIES, PARSER_HANGS
from tests.simulated import LOSES, RAISES, REFUSES, Costs, SimulatedEngine, expected_text
from tests.stack import tiff, tiff_of
from workers.engine import PageDone
from workers.one_shot import Reading, read_document
from workers.read_command import read_command
from workers.sources.isolated import CHILD, IsolatedSource, error_of
from workers.sources.isolated import Costs as ParserCosts
from workers.sources.limits import limits_of

POISONED = (sys.executable, "-m", "tests.poisoned_prepare", "child")
SETTINGS = Settings(_env_file=None)


class PrintingEngine(SimulatedEngine):
    """Says things on stdout, as libraries do."""

    def step(self) -> Sequence[PageDone]:
        print("a line of a library")
        os.write(1, b"a line of a library in C\n")
        return super().step()


Read = Callable[..., Reading]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a document with an engine; further arguments are its options."""

    def read(content: bytes, engine: SimulatedEngine, media_type: str = TIFF, **changes: Any) -> Reading:
        path = tmp_path / "document"
        path.write_bytes(content)
        source = IsolatedSource(
            path,
            media_type,
            limits=limits_of(SETTINGS),
            costs=ParserCosts(changes.pop("timeout_s", 30), 2**31),
            password=changes.pop("password", None),
            command=changes.pop("command", CHILD),
        )
        settings = SETTINGS.model_copy(update={"max_pages": changes.pop("max_pages", 100)})
        return read_document(source, OcrOptions(**changes), settings, lambda: engine, on_hang=pytest.fail)

    return read


def test_pages_come_in_order_and_fill_the_engine(read: Read) -> None:
    engine = SimulatedEngine(Costs(capacity=4, step_s=0.05))
    reading = read(tiff(20), engine)
    assert [page.page_no for page in reading.pages] == [*range(1, 21)]
    assert [page.text for page in reading.pages] == [expected_text(65 + n, 64) for n in range(20)]
    assert max(len(step) for step in engine.steps) == 4
    assert reading.error is None


def test_chosen_pages_keep_their_numbers_and_too_many_are_refused_before_the_engine_is_loaded(read: Read) -> None:
    reading = read(tiff(9), SimulatedEngine(Costs()), pages="2-3,8-")
    assert [(page.page_no, page.width) for page in reading.pages] == [(2, 66), (3, 67), (8, 72), (9, 73)]
    engine = SimulatedEngine(Costs())
    with pytest.raises(TooManyPages) as refusal:
        read(tiff(9), engine, max_pages=8)
    assert refusal.value.extensions == {"value": 9, "limit": 8}
    assert engine.steps == []


def test_a_page_that_fails_keeps_its_place(read: Read) -> None:
    sizes = [(70, 64), (71, REFUSES), (72, RAISES), (73, 64)]
    reading = read(tiff_of(sizes), SimulatedEngine(Costs()))
    assert [page.text for page in reading.pages] == [expected_text(70, 64), None, None, expected_text(73, 64)]
    assert [page.error["code"] for page in reading.failed if page.error] == ["engine_failed"] * 2


def test_a_document_of_which_no_page_could_be_read_says_why(read: Read) -> None:
    alone = read(tiff_of([(70, RAISES)]), SimulatedEngine(Costs()))
    assert alone.error
    assert alone.error["code"] == EngineFailed.code
    several = read(tiff_of([(70, RAISES), (71, RAISES)]), SimulatedEngine(Costs()))
    assert several.error
    assert (several.error["code"], several.error["value"]) == ("no_page_succeeded", 2)


@pytest.mark.kills_parsers
@pytest.mark.parametrize(
    ("height", "why"), [(PARSER_DIES, "crash"), (PARSER_HANGS, "longer than 3 s")], ids=["dies", "hangs"]
)
def test_a_page_that_no_parser_survives_fails_alone(read: Read, height: int, why: str) -> None:
    sizes = [(65 + n, height if n == 2 else 64) for n in range(4)]
    reading = read(tiff_of(sizes), SimulatedEngine(Costs()), command=POISONED, timeout_s=3)
    assert [page.page_no for page in reading.failed] == [3]
    error = reading.failed[0].error
    assert error
    assert error["code"] == ParserDied.code
    assert why in error["detail"]


def test_a_parser_that_cannot_even_start_is_an_error_about_the_file(read: Read) -> None:
    with pytest.raises(ParserDied, match="could not be opened"):
        read(tiff(1), SimulatedEngine(Costs()), command=[sys.executable, "-c", "raise SystemExit(1)"])


def test_an_encrypted_document_is_opened_with_its_password(read: Read) -> None:
    content = encrypted_pdf([born_digital(["secret"])], user="open sesame", owner="other")
    for password in (None, "wrong"):
        with pytest.raises(OcrError) as refusal:
            read(content, SimulatedEngine(Costs()), "application/pdf", password=password)
        assert refusal.value.code == ("password_required" if password is None else WrongPassword.code)
    reading = read(content, SimulatedEngine(Costs()), "application/pdf", password="open sesame")
    assert reading.error is None


def test_an_error_survives_its_way_out_of_the_child() -> None:
    error = TooManyPages("The file says it has 7 pages.", value=7, limit=5)
    again = error_of(error.problem())
    assert (type(again), again.problem()) == (TooManyPages, error.problem())


# -- the command ---------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs the command on a document: exit code, stdout, stderr."""

    def run(content: bytes, *words: str) -> tuple[int, str, str]:
        path = tmp_path / "document.tiff"
        path.write_bytes(content)
        monkeypatch.setattr("workers.engine.loading.load_engine", lambda _: PrintingEngine(Costs(capacity=2)))
        with pytest.raises(SystemExit) as end:
            read_command.main([*words, str(path)], prog_name="read")
        return int(end.value.code or 0), *capfd.readouterr()

    return run


def test_a_document_with_failed_pages_is_printed_and_they_are_named_on_stderr(run: Run) -> None:
    code, stdout, stderr = run(tiff_of([(70, 64), (71, REFUSES)]))
    assert code == Exit.PAGES_FAILED
    result = json.loads(stdout)
    assert [page["status"] for page in result["data"]["pages"]] == ["succeeded", "failed"]
    assert "page 2: engine_failed: this page cannot be read" in stderr
    assert "a line of a library\n" in stderr
    assert "a line of a library in C\n" in stderr


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ("text", f"{expected_text(65, 64)}\f{expected_text(66, 64)}\n"),
        ("markdown", f"{expected_text(65, 64)}\n\n{expected_text(66, 64)}\n"),
    ],
)
def test_stdout_holds_the_result_and_nothing_else(run: Run, form: str, printed: str) -> None:
    assert run(tiff(2), "--format", form)[:2] == (Exit.FINE, printed)


def test_a_failure_is_json_for_those_who_asked_for_json_and_nothing_for_others(run: Run) -> None:
    code, stdout, stderr = run(tiff_of([(70, RAISES)]), "--format", "json")
    assert code == Exit.FAILED
    assert json.loads(stdout)["success"] is False
    assert json.loads(stdout)["error"]["code"] == "engine_failed"
    assert "Error: engine_failed: " in stderr
    assert run(tiff_of([(70, RAISES)]), "--format", "text")[:2] == (Exit.FAILED, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpus"], "No such option"),
        (["--mode", "huge"], "'huge' is not one of"),
        (["--compression-ratio", "0"], "greater than 0"),
        (["--pages", "3-1"], "does not go upward"),
        (["--input", __file__], "Name one document"),
        (["--engine", "other"], "'other' is not one of"),
    ],
)
def test_a_wrong_command_line_prints_nothing_on_stdout(run: Run, words: list[str], said: str) -> None:
    code, stdout, stderr = run(tiff(1), *words)
    assert (code, stdout) == (Exit.USAGE, "")
    assert said in stderr


ON_A_LOST_DEVICE = """
import sys
from tests.simulated import Costs, SimulatedEngine
from workers.engine import loading
from workers.read_command import read_command
loading.load_engine = lambda settings: SimulatedEngine(Costs())
read_command.main([sys.argv[1]])
"""


def test_a_device_that_is_lost_ends_the_process_with_a_reason_for_the_caller(tmp_path: Path) -> None:
    document = tmp_path / "document.tiff"
    document.write_bytes(tiff_of([(70, LOSES)]))
    ended = subprocess.run(
        [sys.executable, "-c", ON_A_LOST_DEVICE, str(document)], capture_output=True, timeout=60, check=False
    )
    assert ended.returncode == Exit.FAILED
    error = json.loads(ended.stdout)["error"]
    assert error["code"] == "engine_crashed"
    assert "the device is lost" in error["detail"]
