"""Direct callers that have an older Celery and nothing of this package."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.old_celery import python_with_celery
from tests.simulated import expected_text
from tests.stack import StackUnderTest, light_tiff, running_stack, tiff, until

pytestmark = pytest.mark.stack

SCRIPT = Path(__file__).parents[1] / "old_client.py"


@pytest.fixture(scope="module")
def stack(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StackUnderTest]:
    environment = new_environment(SIM_CAPACITY="2", SIM_PAGE_S="0.05")
    folder = tmp_path_factory.mktemp("stack")
    with running_stack(folder, environment, "web", "prepare", "reconcile", "simulated") as stack:
        yield stack


@pytest.fixture(scope="module", params=["5.4", "5.5"])
def seen(request: pytest.FixtureRequest, stack: StackUnderTest) -> dict[str, Any]:
    """What a client of each release saw."""
    python = python_with_celery(request.param)
    documents = "".join(base64.b64encode(content).decode() + "\n" for content in (tiff(3), light_tiff(600)))
    ran = subprocess.run(
        [python, "-I", SCRIPT, stack.environment["REDIS_URL"]],
        input=documents,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    found: dict[str, Any] = json.loads(ran.stdout)
    assert found["version"].startswith(request.param)
    return found


def test_an_old_client_gets_the_result_under_the_id_of_its_task(seen: dict[str, Any], stack: StackUnderTest) -> None:
    success = seen["success"]
    assert success["state"] == "SUCCESS", success
    assert success["result"]["jobId"] == success["id"]
    assert success["result"]["content"].split("\f") == [expected_text(65 + n, 64) for n in range(3)]
    assert success["result"]["pages"] == {"total": 3, "succeeded": 3, "failed": 0}
    assert stack.job(success["id"])["status"] == "succeeded"


@pytest.mark.parametrize(
    ("what", "code", "named"),
    [
        ("option", "invalid_option", "huge"),
        ("field", "unknown_field", "colour"),
        ("source", "unknown_field", "path"),
        ("task id", "invalid_id", "no-uuid"),
        ("link", "invalid_request", "link"),
        ("blob", "blob_missing", "0" * 64),
    ],
)
def test_an_old_client_is_told_what_is_wrong_and_no_job_is_left(
    seen: dict[str, Any], stack: StackUnderTest, what: str, code: str, named: str
) -> None:
    refused = seen["refused"][what]
    assert (refused["state"], refused["error"]) == ("FAILURE", "RuntimeError"), refused
    assert refused["text"].startswith(f"{code}: ")
    assert named in refused["text"]
    assert httpx.get(f"{stack.url}/api/jobs/{refused['id']}").status_code in (400, 404)


def test_an_old_client_that_mistypes_the_task_is_told(seen: dict[str, Any]) -> None:
    assert (seen["misnamed"]["state"], seen["misnamed"]["error"]) == ("FAILURE", "NotRegistered")


def test_an_old_client_sees_progress_in_pages(seen: dict[str, Any]) -> None:
    assert seen["progress"]["state"] == "PROGRESS"
    assert seen["progress"]["info"]["total"] == 600
    assert seen["progress"]["info"].keys() == {"status", "total", "succeeded", "failed"}


def test_an_old_client_cancels_by_revoking(seen: dict[str, Any], stack: StackUnderTest) -> None:
    assert seen["revoked"] == "the job was cancelled"
    job = until(lambda: stack.job(seen["revoked id"]))
    assert job["status"] == "cancelled"
