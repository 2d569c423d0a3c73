"""The n-gram ban of all slots at once against the official one, which looks at one text and searches it anew."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.generated import Ban, official_bans
from workers.engine.deepseek.ngrams import NgramBans

VOCABULARY = 6

bans = st.builds(
    Ban,
    size=st.sampled_from([0, 2, 3, 4, 5]),
    window=st.integers(1, 16),
    whitelist=st.frozensets(st.integers(0, VOCABULARY - 1), max_size=2),
)
# Few different tokens, so that n-grams do come twice.
texts = st.lists(st.integers(0, VOCABULARY - 1), max_size=30)


def banned(bans: NgramBans, slots: int) -> list[set[int]]:
    """Which tokens each of the first slots may not have next."""
    logits = bans.apply(torch.zeros(slots, VOCABULARY))
    return [set(torch.nonzero(row == -float("inf")).flatten().tolist()) for row in logits]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(bans, texts), min_size=1, max_size=4))
def test_all_slots_at_once_ban_what_the_official_processor_bans(slots: list[tuple[Ban, list[int]]]) -> None:
    ours = NgramBans(len(slots), longest_window=16, device=torch.device("cpu"))
    for slot, (ban, _) in enumerate(slots):
        ours.start(slot, ban)
    longest = max(len(text) for _, text in slots)
    padded = [[0] * (longest - len(text)) + text for _, text in slots]
    for place in range(longest):
        ours.append(torch.tensor([row[place] for row in padded]))
    expected = [official_bans(row, ban) for row, (ban, _) in zip(padded, slots, strict=True)]
    assert banned(ours, len(slots)) == expected


def test_a_new_text_in_a_slot_remembers_nothing_of_the_one_before() -> None:
    ours = NgramBans(1, longest_window=8, device=torch.device("cpu"))
    ours.start(0, Ban(2, 8, frozenset()))
    for token in (1, 2, 1):
        ours.append(torch.tensor([token]))
    assert banned(ours, 1) == [{2}]
    ours.start(0, Ban(2, 8, frozenset()))
    ours.append(torch.tensor([1]))
    assert banned(ours, 1) == [set()]


@pytest.mark.parametrize("ban", [Ban(1, 8), Ban(2, 40), Ban(2, 8, frozenset(range(9)))])
def test_a_ban_larger_than_planned_for_is_refused(ban: Ban) -> None:
    with pytest.raises(ValueError, match="exceptions; at most 16 back and 8 exceptions"):
        NgramBans(1, longest_window=16, device=torch.device("cpu")).start(0, ban)
