"""How well a text was read."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein


def error_rate(read: str, truth: str) -> float:
    """Insertions, deletions and substitutions per true character; white space of any length counts as one space."""
    read, truth = " ".join(read.split()), " ".join(truth.split())
    return Levenshtein.distance(read, truth) / max(1, len(truth))


def quality(read: str, truth: str) -> float:
    """1 - character error rate, and 0 where there are more errors than characters."""
    return max(0.0, 1 - error_rate(read, truth))
