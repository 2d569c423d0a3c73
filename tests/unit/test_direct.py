"""The pure parts of direct callers: what they send, and what any Celery makes of what they read."""

from __future__ import annotations

from typing import Any

import pytest
from celery.exceptions import TaskRevokedError

from ocr_tasks.app import app
from ocr_tasks.client import Client
from ocr_tasks.contract import Format, Kind, OcrOptions, Priority
from ocr_tasks.direct import INLINE_BYTES, inline_source, is_job_id, parse_direct_source
from ocr_tasks.errors import BrokenSource, InvalidId, InvalidOption, TooLarge, UnknownField
from ocr_tasks.following import JobFailed
from ocr_tasks.payloads import options_from
from ocr_tasks.settings import Settings
from ocr_tasks.states import failure_meta, progress_meta, revoked_meta, state_key, success_meta

SOME_ID = "5e8c9f0a-52a5-4c6e-8f5f-0d3d2b9f6c11"


def test_bytes_survive_the_message() -> None:
    content = bytes(range(256)) * (INLINE_BYTES // 256)
    assert parse_direct_source(inline_source(content, "all.bin")).content() == content
    with pytest.raises(TooLarge, match=str(INLINE_BYTES + 1)):
        parse_direct_source(inline_source(content + b"x", None)).content()


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, InvalidOption),
        ({"blob": "0" * 64, "bytes": "AAAA"}, InvalidOption),
        ({"blob": "../../etc/passwd"}, InvalidOption),
        ({"blob": "0" * 64, "filename": "x" * 256}, InvalidOption),
        ({"bytes": 7}, InvalidOption),
        ({"url": "ftp://127.0.0.1/"}, InvalidOption),
        ({"domId": "7"}, InvalidOption),
        ({"inline": "AAAA"}, UnknownField),
    ],
)
def test_a_source_is_a_blob_or_bytes_and_nothing_else(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_direct_source(given)


def test_a_refusal_does_not_repeat_a_whole_document() -> None:
    with pytest.raises(InvalidOption) as refused:
        parse_direct_source({"blob": "A" * 300_000})
    assert len(refused.value.detail) < 500


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        (SOME_ID, True),
        ("0d9c5a1e-3f0b-4d7c-9b56-8f1f6a2e4c33", True),
        (SOME_ID.upper(), False),
        (SOME_ID.replace("-", ""), False),
        (f"{{{SOME_ID}}}", False),
        (f"{SOME_ID}:3:abcd1234", False),
        ("", False),
    ],
)
def test_only_one_spelling_of_a_uuid_is_the_id_of_a_job(given: str, fits: bool) -> None:
    assert is_job_id(given) is fits


def test_a_client_refuses_an_id_that_would_never_be_found_again() -> None:
    with pytest.raises(InvalidId, match="no-uuid"):
        Client.of(Settings()).job("no-uuid")


@pytest.mark.parametrize(
    ("given", "further"),
    [
        ({"format": "text", "includeLayout": False, "priority": "bulk"}, {}),
        ({"format": "text"}, {"include_layout": False, "priority": Priority.BULK}),
        (None, {"format": Format.TEXT, "includeLayout": False, "priority": "bulk"}),
        (OcrOptions(format=Format.TEXT, include_layout=False), {"priority": "bulk"}),
    ],
)
def test_options_may_be_given_in_every_way(given: Any, further: dict[str, Any]) -> None:
    assert options_from(Kind.OCR, given, further) == OcrOptions(
        format=Format.TEXT, include_layout=False, priority=Priority.BULK
    )


# -- states, as Celery reads them ---------------------------------------------


def test_states_lie_where_celery_looks_for_them() -> None:
    key = app.backend.get_key_for_task(SOME_ID)
    assert state_key(SOME_ID) == (key.decode() if isinstance(key, bytes) else key)


def test_a_state_has_the_fields_that_celery_writes() -> None:
    written = app.backend._get_result_meta({}, "SUCCESS", None, None) | {"task_id": SOME_ID}
    assert success_meta(SOME_ID, {}).keys() == written.keys()


def test_celery_rebuilds_a_failure_as_an_exception_of_every_python() -> None:
    problem = BrokenSource("The file ends early.").problem()
    rebuilt = app.backend.meta_from_decoded(failure_meta(SOME_ID, problem))["result"]
    assert (type(rebuilt), str(rebuilt)) == (RuntimeError, "broken_file: The file ends early.")


def test_celery_rebuilds_a_cancelled_job_as_a_revoked_task() -> None:
    assert isinstance(app.backend.meta_from_decoded(revoked_meta(SOME_ID))["result"], TaskRevokedError)


def test_progress_is_not_mistaken_for_an_end() -> None:
    meta = app.backend.meta_from_decoded(progress_meta(SOME_ID, status="running", total=3, succeeded=1, failed=0))
    assert meta["result"] == {"status": "running", "total": 3, "succeeded": 1, "failed": 0}
    assert meta["date_done"] is None


def test_a_failed_job_keeps_its_problem_document() -> None:
    problem = BrokenSource("The file ends early.", value=3).problem()
    error = JobFailed("The file ends early.", problem=problem)
    assert (error.reason, error.problem(), str(error)) == ("broken_file", problem, "The file ends early.")
