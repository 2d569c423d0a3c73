"""What /readyz says, for whoever has started the service and waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Readiness:
    """`loading`: a node is there and loads its engine. `culprit`: the program whose log may say what is wrong."""

    ready: bool
    answer: str
    loading: bool = False
    culprit: str = "web"


def readiness_of(client: httpx.Client, url: str) -> Readiness:
    """Ask the service at this URL; raises nothing."""
    try:
        response = client.get(f"{url}/readyz")
    except httpx.HTTPError as error:
        return Readiness(False, str(error) or type(error).__name__)
    if response.status_code == httpx.codes.OK:
        return Readiness(True, "ready")
    checks = _checks(response)
    missing = [name for name, outcome in checks.items() if outcome != "ok"]
    return Readiness(
        False,
        f"{response.status_code} {response.text[:500]}",
        loading=checks.get("engine") == "loading",
        culprit="engine" if missing == ["engine"] else "web",
    )


def _checks(response: httpx.Response) -> dict[str, Any]:
    try:
        checks = response.json()["checks"]
    except (ValueError, KeyError, TypeError):
        return {}
    return checks if isinstance(checks, dict) else {}
