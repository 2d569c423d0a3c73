"""`lightdom-ocr read` as the platform's bridge runs it: a process, a real engine, no servers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ocr_tasks.exits import Exit
from ocr_tasks.jobs.views import PageView
from tests.stack import CLI

SAMPLE = Path(__file__).resolve().parents[2] / "workers" / "samples" / "sample.pdf"
BRIDGE = ["--format", "json", "--compression-ratio", "10", "--include-layout", "--extract-tables", "--gpu"]


def read(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    # Servers that are not there: nobody may ask them anything.
    nowhere = {"DATABASE_URL": "postgresql://127.0.0.1:1/nowhere", "REDIS_URL": "redis://127.0.0.1:1/0"}
    return subprocess.run(
        [*CLI, "read", *words],
        input=stdin,
        capture_output=True,
        timeout=120,
        env={**os.environ, **nowhere},
        check=False,
    )


def test_the_flags_of_the_bridge_give_a_result_like_the_services_and_nothing_else_on_stdout() -> None:
    ended = read("--input", str(SAMPLE), "--pages", "1", *BRIDGE)
    assert ended.returncode == Exit.FINE, ended.stderr.decode()
    result: dict[str, Any] = json.loads(ended.stdout)
    assert result.keys() == {"success", "data", "metadata"}
    assert result["data"].keys() == {"pages", "markdown", "compressionRatio", "processingTime", "visualTokens"}
    (page,) = result["data"]["pages"]
    assert page.keys() == {field.alias for field in PageView.model_fields.values()}
    assert (page["pageNo"], page["status"], page["engine"]) == (1, "succeeded", "rapid")
    assert page["text"].startswith("Northgate Municipal Archive")
    assert page["blocks"]
    assert result["data"]["markdown"].startswith("# Northgate Municipal Archive")
    assert b"rapid is ready" in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_what_is_no_document_is_a_problem_in_json() -> None:
    ended = read("-", *BRIDGE, stdin=b"certainly no document")
    assert ended.returncode == Exit.FAILED
    answer = json.loads(ended.stdout)
    assert (answer["success"], answer["error"]["code"]) == (False, "unsupported_media_type")
    assert b"Traceback" not in ended.stderr


def test_an_engine_that_cannot_be_loaded_is_a_problem_in_json(tmp_path: Path) -> None:
    nothing = tmp_path / "no-checkpoint"
    nothing.mkdir()
    os.environ["DEEPSEEK_OCR_MODEL_PATH"] = str(nothing)
    try:
        ended = read(str(SAMPLE), "--engine", "deepseek", *BRIDGE)
    finally:
        del os.environ["DEEPSEEK_OCR_MODEL_PATH"]
    assert ended.returncode == Exit.FAILED
    answer = json.loads(ended.stdout)
    assert (answer["success"], answer["error"]["code"]) == (False, "operation_unavailable")
    assert "deepseek" in answer["error"]["detail"]
