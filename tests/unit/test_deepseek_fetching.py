"""`model fetch` against a small hub on this machine, in processes of its own."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ocr_tasks.exits import Exit
from tests.small_hub import COMMIT, SmallHub, small_hub

MEGABYTE = 1 << 20
WEIGHTS = random.Random(5).randbytes(26 * MEGABYTE)  # the library writes 10 MiB at a time
FILES = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": WEIGHTS, "figure.png": b"not needed"}


def started(hub: SmallHub, home: Path, *words: str) -> subprocess.Popen[str]:
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-m", "ocr_tasks.cli", "model", "fetch", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_a_killed_fetch_goes_on_where_it_stopped_and_brings_what_is_needed(tmp_path: Path) -> None:
    with small_hub(SmallHub("some/model", FILES, stall_after=12 * MEGABYTE)) as hub:
        first = started(hub, tmp_path, "some/model")
        part, deadline = None, time.monotonic() + 60
        while part is None or part.stat().st_size < 10 * MEGABYTE:
            assert time.monotonic() < deadline, ended(first)
            time.sleep(0.02)
            part = next(tmp_path.glob("hub/models--some--model/blobs/*.part"), None)
        first.kill()
        ended(first)
        come = part.stat().st_size
        hub.stall_after = None
        code, out, err = ended(started(hub, tmp_path, "some/model"))
    assert (code, err.count("Traceback")) == (Exit.FINE, 0), err
    assert [asked for method, path, asked in hub.requests if method == "GET" and path.endswith(".safetensors")] == [
        None,
        f"bytes={come}-",
    ]
    assert "100%" in err
    folder = Path(out.strip())
    assert folder.name == COMMIT
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: content for name, content in FILES.items() if name != "figure.png"
    }
    assert not list(tmp_path.rglob("*.part"))


def test_what_the_hub_does_not_have_is_said_in_one_line(tmp_path: Path) -> None:
    with small_hub(SmallHub("some/model", FILES)) as hub:
        code, out, err = ended(started(hub, tmp_path, "other/model", "--revision", "v2"))
    assert (code, out) == (Exit.FAILED, "")
    assert err == "Error: other/model: the hub has no such model, or not at revision v2\n"


@pytest.mark.parametrize("word", ["/nowhere", "one-word"])
def test_what_is_no_hub_id_is_refused_before_the_hub_is_asked(tmp_path: Path, word: str) -> None:
    code, _, err = ended(started(SmallHub("some/model", {}, url="http://127.0.0.1:9"), tmp_path, word))
    assert (code, "is no hub id" in err) == (Exit.USAGE, True)


def test_a_part_that_does_not_fit_is_thrown_away_and_not_served(tmp_path: Path) -> None:
    part = tmp_path / f"hub/models--some--model/blobs/{hashlib.sha256(WEIGHTS).hexdigest()}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"rubbish")
    with small_hub(SmallHub("some/model", FILES)) as hub:
        code, _, err = ended(started(hub, tmp_path, "some/model"))
    assert (code, "came damaged" in err) == (Exit.FAILED, True), err
    assert not list(tmp_path.rglob("model.safetensors"))
    assert not part.exists()


def test_a_hub_that_cannot_be_reached_is_said_in_one_line(tmp_path: Path) -> None:
    code, _, err = ended(started(SmallHub("some/model", {}, url="http://127.0.0.1:9"), tmp_path, "some/model"))
    assert (code, len(err.splitlines())) == (Exit.FAILED, 1), err
    assert err.startswith("Error: some/model: not fetched")
