"""Which engine a job goes to, which one of vision tokens a stack brings along, and that a demonstration says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ocr_tasks.contract import NOTICES, Format, OcrOptions, Status, notice_of
from ocr_tasks.errors import OperationUnavailable
from ocr_tasks.jobs.views import PageView
from ocr_tasks.kinds.engines import settled
from ocr_tasks.kinds.options import CompressOptions, CrawlOptions, DecompressOptions, JobOptions, RenderJobOptions
from ocr_tasks.settings import Settings
from workers.engine.deepseek import nano
from workers.offered import offers_nano
from workers.results import ResultFiles


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **changes)


@pytest.mark.parametrize(
    ("options", "engine"),
    [
        (OcrOptions(), "rapid"),
        (RenderJobOptions(), "rapid"),
        (CrawlOptions(), "rapid"),
        (CrawlOptions(compress=False), "rapid"),
        (CrawlOptions(compress=True), "nano"),
        (CompressOptions(), "nano"),
        (CompressOptions(verify=True), "nano"),
        (DecompressOptions(), "nano"),
        (OcrOptions(compression=True), "nano"),
    ],
)
def test_only_what_asks_for_vision_tokens_goes_to_their_engine(options: JobOptions, engine: str) -> None:
    found, decided = settled(settings(token_engine="nano"), options)
    assert found == engine
    assert decided.operations() == options.operations()
    assert settled(settings(engine="deepseek", token_engine="nano"), options)[0] == "deepseek"


def test_a_crawl_that_leaves_it_open_is_compressed_by_the_engine_of_all_jobs_alone() -> None:
    for chosen, expected in (
        (settings(), False),
        (settings(token_engine="nano"), False),
        (settings(token_engine="deepseek"), False),
        (settings(engine="deepseek"), True),
    ):
        decided = settled(chosen, CrawlOptions())[1]
        assert isinstance(decided, CrawlOptions)
        assert decided.compress is expected


@pytest.mark.parametrize("token_engine", [None, ""])
def test_without_an_engine_of_vision_tokens_they_are_refused_with_all_that_would_help(token_engine: str | None) -> None:
    with pytest.raises(OperationUnavailable) as refused:
        settled(settings(token_engine=token_engine), CompressOptions())
    assert refused.value.detail == (
        "Compressing needs an engine that can encode; OCR_ENGINE is 'rapid', which cannot. Set OCR_ENGINE=deepseek, or "
        f"OCR_TOKEN_ENGINE=deepseek or nano to have another engine do it ({NOTICES['nano']})."
    )


def test_what_nano_lacks_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nano, "has_weights", lambda: False)
    assert "make train-nano" in (nano.missing() or "")
    monkeypatch.setattr(nano, "has_weights", lambda: True)
    monkeypatch.setattr(nano, "measured_error", lambda: 0.01)
    assert nano.missing() is None
    monkeypatch.setattr(nano, "find_spec", lambda name: None)
    assert "lightdom-ocr[gpu]" in (nano.missing() or "")


def test_nano_is_brought_along_where_it_can_run_and_nobody_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nano, "can_run", lambda: True)
    assert offers_nano(settings())
    assert offers_nano(settings(engine="endpoint"))
    for chosen in ({"engine": "deepseek"}, {"engine": "nano"}, {"token_engine": "deepseek"}, {"token_engine": ""}):
        assert not offers_nano(settings(**chosen))
    monkeypatch.setattr(nano, "can_run", lambda: False)
    assert not offers_nano(settings())


def test_nano_cannot_run_without_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nano, "FOLDER", tmp_path)
    assert not nano.can_run()
    (tmp_path / "model.safetensors").touch()
    assert nano.can_run()


def test_nano_is_not_shown_to_others_while_it_reads_badly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nano, "FOLDER", tmp_path)
    (tmp_path / "model.safetensors").touch()
    for error, shown in ((0.02, True), (0.31, False)):
        (tmp_path / "measured.json").write_text(json.dumps({"gate": [{"error": error}, {"error": 0.9}]}))
        assert nano.can_run() == shown
    assert "31%" in (nano.missing() or "")


# -- a demonstration says so ---------------------------------------------


@pytest.mark.parametrize(
    ("revision", "notice"),
    [
        ("nano@0123456789ab+transformers-5.23.0", NOTICES["nano"]),
        ("deepseek-ocr@0123456789ab+transformers-5.23.0", None),
        ("rapidocr-3.10", None),
        ("", None),
        (None, None),
    ],
)
def test_results_say_whether_they_are_a_demonstration(revision: str | None, notice: str | None, tmp_path: Path) -> None:
    assert notice_of(revision) == notice
    shown = dict.fromkeys(PageView.model_fields) | {"page_no": 1, "status": Status.SUCCEEDED, "flags": ()}
    page = PageView.model_validate(shown | {"text": "one", "markdown": "one", "revision": revision})
    files = ResultFiles(tmp_path)
    files.write([page], took_ms=1)
    told = files.path(Format.JSON).read_text()
    assert (f'"notice":"{notice}"' in told) == (notice is not None)
    assert ("notice" in told) == (notice is not None)
