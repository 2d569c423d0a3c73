"""Nano beside `rapid` in a whole stack: what asks for vision tokens goes there, comes back as text, and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ocr_tasks.contract import NOTICES
from tests.stack import CLI, PROGRAMS, StackUnderTest, running_stack
from workers.engine.deepseek import nano
from workers.quality import error_rate
from workers.visual import describe

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not nano.has_weights(), reason="the weights of nano are not in this checkout"),
]

SAMPLES = Path(__file__).parents[2] / "workers" / "samples"
PICTURE, TEXT = SAMPLES / "small.png", (SAMPLES / "small.txt").read_text(encoding="utf-8")
MOST_ERROR = max(0.10, 1.5 * (nano.measured_error() or 0.0))  # by what the card says
WAIT = {"Prefer": "wait=60"}


@pytest.fixture(scope="module")
def stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    environment = new_environment(OCR_TOKEN_ENGINE="nano", OCR_CPU_THREADS="1")
    programs = {**PROGRAMS, "nano": [*CLI, "worker", "engine"]}
    names = ("web", "prepare", "reconcile", "engine")
    with running_stack(tmp_path_factory.mktemp("stack"), environment, *names, programs=programs) as stack:
        stack.start("nano", OCR_ENGINE="nano")
        yield stack


def compressed(stack: StackUnderTest, **fields: str) -> dict[str, Any]:
    with stack.http as http, PICTURE.open("rb") as picture:
        answer = http.post("/api/dom/compress", files={"file": ("small.png", picture)}, data=fields, headers=WAIT)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


@pytest.mark.parametrize("dtype", ["int8", "bf16"])
def test_what_is_compressed_comes_back_as_its_text(stack: StackUnderTest, dtype: str) -> None:
    result = compressed(stack, domId="small", dtype=dtype)
    assert result["metadata"]["notice"] == NOTICES["nano"]
    (page,) = result["data"]["pages"]
    assert (page["model"], page["mode"], page["visionTokens"], page["format"]) == ("nano", "tiny", 21, dtype)
    with stack.http as http:
        answer = http.post("/api/dom/small/decompress", json={"format": "text"}, headers=WAIT).raise_for_status().json()
    assert answer["metadata"]["models"] == [f"nano@{page['revision']}"]
    assert answer["metadata"]["notice"] == NOTICES["nano"]
    assert error_rate(answer["domSnapshot"], TEXT) <= MOST_ERROR


def test_a_document_with_compression_is_read_by_nano_and_one_without_by_rapid(stack: StackUnderTest) -> None:
    content = PICTURE.read_bytes()
    plain = stack.ended(stack.submit(content, "small.png", format="text")["id"])
    tokens = stack.ended(stack.submit(content, "small.png", compression="true")["id"])
    assert [(job["engine"], job["notice"]) for job in (plain, tokens)] == [("rapid", None), ("nano", NOTICES["nano"])]
    result = stack.result(tokens["id"]).json()
    (page,) = result["data"]["pages"]
    assert page["revision"].startswith("nano@")
    assert result["metadata"]["notice"] == NOTICES["nano"]
    assert error_rate(page["text"], TEXT) <= MOST_ERROR
    with stack.http as http:
        container = http.get(f"/api/jobs/{tokens['id']}/pages/1/tokens").raise_for_status().content
        ready = http.get("/readyz").json()
    assert describe(container).model == "nano"
    assert ready["tokenEngine"] == {"name": "nano", "state": "ok", "notice": NOTICES["nano"]}
    assert "notice" not in stack.result(plain["id"]).json()["metadata"]
