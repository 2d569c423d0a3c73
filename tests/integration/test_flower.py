"""Flower sees the whole life of every task, those on threads included."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from ocr_tasks.contract import TaskName
from ocr_tasks.dispatch import message_key
from tests.stack import StackUnderTest, free_port, running_stack, tiff, until

pytestmark = pytest.mark.stack

PAGES = 400


@pytest.fixture(scope="module")
def watched(
    new_environment: Callable[..., dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[StackUnderTest, httpx.Client]]:
    """A stack, and a client of the Flower that watched it from its start."""
    port = free_port()
    with running_stack(tmp_path_factory.mktemp("stack"), new_environment()) as stack:
        stack.start("flower", f"--port={port}", "--max-tasks=5000", FLOWER_UNAUTHENTICATED_API="true")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as flower:
            until(lambda: _answers(flower), what="Flower")
            for program in ("web", "prepare", "reconcile"):
                stack.start(program)
            stack.start("simulated", SIM_CAPACITY="64", OCR_ENGINE_THREADS="128")
            stack.wait_ready()
            until(lambda: _workers(flower) == {"prepare", "rapid0"}, what="both workers in Flower")
            yield stack, flower


def _answers(flower: httpx.Client) -> bool:
    try:
        return flower.get("/healthcheck").is_success
    except httpx.TransportError:
        return False


def _workers(flower: httpx.Client) -> set[str]:
    """Names of the workers that Flower heard of by their events, without their host."""
    rows = flower.get("/workers", params={"json": "1"}).json()["data"]
    return {row["hostname"].split("@")[0] for row in rows if row["status"]}


def test_flower_knows_the_beginning_and_the_end_of_every_page_task(
    watched: tuple[StackUnderTest, httpx.Client],
) -> None:
    stack, flower = watched
    job = stack.ended(stack.submit(tiff(PAGES))["id"])
    assert job["pages"]["succeeded"] == PAGES

    def lives() -> dict[str, dict[str, object]] | None:
        tasks = flower.get("/api/tasks", params={"taskname": str(TaskName.READ_PAGE), "limit": 5000}).json()
        all_ended = all(task["state"] == "SUCCESS" for task in tasks.values())
        return tasks if all_ended and len({message_key(task_id) for task_id in tasks}) == PAGES else None

    tasks = until(lives, timeout_s=20, what=f"{PAGES} ended page tasks in Flower")
    # A message that a busy machine leaves waiting for a second is sent again, as a task of its own.
    assert {message_key(task_id) for task_id in tasks} == {f"{job['id']}:{number}" for number in range(1, PAGES + 1)}
    assert all(task["received"] and task["started"] and task["succeeded"] for task in tasks.values())


def test_flower_knows_the_other_steps_of_the_job(watched: tuple[StackUnderTest, httpx.Client]) -> None:
    stack, flower = watched
    job = stack.ended(stack.submit(tiff(3))["id"])
    for name in (TaskName.OCR, TaskName.PREPARE_RANGE, TaskName.FINISH):

        def seen(name: str = str(name)) -> bool:
            tasks = flower.get("/api/tasks", params={"taskname": name}).json()
            return any(key.startswith(job["id"]) and task["state"] == "SUCCESS" for key, task in tasks.items())

        until(seen, timeout_s=20, what=f"the end of {name} in Flower")
