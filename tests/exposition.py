"""What `/metrics` says, read as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, dict[str, str], float]


class Scrape:
    """The samples of one answer; fails when it is not in the format, or names a family twice."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        names = [family.name for family in families]
        assert len(names) == len(set(names)), names
        self.samples: list[Sample] = [
            (sample.name, dict(sample.labels), sample.value) for family in families for sample in family.samples
        ]

    @classmethod
    def of(cls, url: str) -> Scrape:
        return cls(httpx.get(f"{url}/metrics", timeout=10).raise_for_status().text)

    def values(self, name: str, **labels: str) -> Iterator[float]:
        """The values of all samples of a name that have these labels among theirs."""
        for found, theirs, value in self.samples:
            if found == f"lightdom_ocr_{name}" and labels.items() <= theirs.items():
                yield value

    def sum(self, name: str, **labels: str) -> float:
        return sum(self.values(name, **labels))

    def labels(self, name: str, label: str) -> set[str]:
        return {theirs[label] for found, theirs, _ in self.samples if found == f"lightdom_ocr_{name}"}
