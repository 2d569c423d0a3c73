"""What a direct caller may send: options and sources of any JSON type are taken as meant, or refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ocr_tasks.contract import OcrOptions, Source, parse_options, validated
from ocr_tasks.direct import parse_direct_source
from ocr_tasks.errors import BrokenSource, InvalidRequest

SOURCE = {"blob": "0" * 64, "mediaType": "application/pdf", "sizeBytes": 5}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"pages": 5}, "pages"),
        ({"pages": ["1"]}, "pages"),
        ({"pages": "1\0"}, "pages"),
        ({"pages": "\ud800"}, "pages"),
        ({"format": None}, "format"),
        ({"includeLayout": [True]}, "includeLayout"),
        ({"includeLayout": 2}, "includeLayout"),
        ({"compressionRatio": float("nan")}, "compressionRatio"),
        ({"compressionRatio": {"a": 1}}, "compressionRatio"),
        ({"mode": {"$ne": 1}}, "mode"),
        ({"password": 1234}, "password"),
        ({"\ud800": 1}, "?"),
        ({"include_layout": True}, "include_layout"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_by_name(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_options(given)
    problem = caught.value.problem()
    assert problem["field"] == field
    assert len(problem["detail"]) < 800
    for text in (problem["detail"], problem["field"], problem.get("value", "")):
        assert "\0" not in text
        assert text.encode().decode() == text


@pytest.mark.parametrize("given", [[], "pages=1", 5, None, [["pages", "1"]]])
def test_options_that_are_no_object_are_refused(given: Any) -> None:
    with pytest.raises(InvalidRequest, match="object with named fields"):
        parse_options(given)


@pytest.mark.parametrize(
    "change",
    [
        {"blob": "../../etc/passwd"},
        {"blob": "A" * 64},
        {"mediaType": "x\0"},
        {"mediaType": None},
        {"sizeBytes": 0},
        {"sizeBytes": 2**80},
        {"sizeBytes": "many"},
        {"filename": "a\0b"},
        {"filename": "\udc00"},
        {"filename": "x" * 256},
        {"prepared": "0" * 64},
    ],
)
def test_a_source_that_could_not_be_stored_is_refused(change: dict[str, Any]) -> None:
    validated(Source, SOURCE)
    with pytest.raises(InvalidRequest) as caught:
        validated(Source, {**SOURCE, **change})
    assert caught.value.problem()["field"] == next(iter(change))


@pytest.mark.parametrize("name", ["a\0b", "\udc00", "x" * 256])
def test_a_direct_caller_names_a_file_like_everyone(name: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_direct_source({"bytes": "", "filename": name})


def test_a_value_of_megabytes_is_told_back_in_short() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_options({"mode": "x" * 5_000_000})
    assert len(json.dumps(caught.value.problem())) < 2000


@pytest.mark.parametrize("word", ["hush-hush", "ключ", "x"])
def test_a_password_is_in_nothing_that_is_written_down(word: str) -> None:
    options = parse_options({"password": word, "pages": "1"})
    assert options.password is not None
    assert options.password.get_secret_value() == word
    assert "password" not in options.model_dump_json(by_alias=True)
    assert "password" not in options.wire()
    assert f"'{word}'" not in repr(options)
    assert OcrOptions.model_validate_json(options.model_dump_json()).password is None


@pytest.mark.parametrize("word", ["y" * 300, "y\0", 7_777_777, ["yyyy"]])
def test_a_password_that_is_refused_is_not_told_back(word: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_options({"password": word})
    told = json.dumps(caught.value.problem())
    assert "yy" not in told
    assert "7777" not in told
    assert "value" not in caught.value.problem()


def test_an_empty_password_is_none() -> None:
    assert parse_options({"password": ""}).password is None


def test_what_an_error_says_can_be_stored_whatever_it_is_about() -> None:
    problem = BrokenSource("a\0b\ud800", value="\0").problem()
    assert (problem["detail"], problem["value"]) == ("a\ufffdb?", "\ufffd")
