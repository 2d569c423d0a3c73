"""Twenty seconds of whatever may happen, under load in both lanes. The long version is `make soak`."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.soak.chaos import unleashed

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

CHAOS_S = 20


def test_chaos_loses_and_doubles_nothing(session_folder: Path) -> None:
    seed = random.randrange(10**6)
    print(f"chaos with seed {seed}")  # shown when it fails
    folder = session_folder / "chaos"
    folder.mkdir(mode=0o711)
    chaos = unleashed(folder, CHAOS_S, seed)
    assert len(chaos.accepted) >= 5
    assert sum(chaos.happened.values()) >= 8
