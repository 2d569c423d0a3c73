"""Jobs through a whole real stack, with an engine that answers at once."""

from __future__ import annotations

import io
import json

import httpx
import pytest
from PIL import Image

from tests.simulated import BUSY, RAISES, REFUSES, expected_text
from tests.stack import StackUnderTest, tiff, tiff_of, until

pytestmark = pytest.mark.stack


def test_every_page_of_a_document_is_read_in_its_place(simulated_stack: StackUnderTest) -> None:
    job = simulated_stack.ended(simulated_stack.submit(tiff(40))["id"])
    assert job["status"] == "succeeded"
    assert job["pages"] == {"total": 40, "succeeded": 40, "failed": 0}
    assert simulated_stack.text(job["id"]).split("\f") == [expected_text(65 + n, 64) for n in range(40)]


def test_only_the_chosen_pages_are_read_and_keep_their_numbers(simulated_stack: StackUnderTest) -> None:
    job = simulated_stack.ended(simulated_stack.submit(tiff(9), pages="2-3, 7-")["id"])
    assert job["pages"] == {"total": 5, "succeeded": 5, "failed": 0}
    pages = simulated_stack.result(job["id"]).json()["data"]["pages"]
    assert [page["pageNo"] for page in pages] == [2, 3, 7, 8, 9]
    assert [page["width"] for page in pages] == [66, 67, 71, 72, 73]


def test_a_page_range_beyond_the_document_fails_the_job_and_names_the_limit(simulated_stack: StackUnderTest) -> None:
    job = simulated_stack.ended(simulated_stack.submit(tiff(3), pages="2-5")["id"])
    assert job["status"] == "failed"
    assert (job["error"]["code"], job["error"]["limit"]) == ("invalid_page_range", 3)


def test_a_page_that_fails_is_counted_and_named_while_the_others_succeed(simulated_stack: StackUnderTest) -> None:
    sizes = [(70, 64), (71, REFUSES), (72, 64), (73, RAISES), (74, 64)]
    job = simulated_stack.ended(simulated_stack.submit(tiff_of(sizes))["id"])
    assert job["status"] == "succeeded"
    assert job["pages"] == {"total": 5, "succeeded": 3, "failed": 2}
    assert [(page["pageNo"], page["error"]["code"]) for page in job["flaggedPages"]] == [
        (2, "engine_failed"),
        (4, "engine_failed"),
    ]
    texts = simulated_stack.text(job["id"]).split("\f")
    assert texts == [expected_text(70, 64), "", expected_text(72, 64), "", expected_text(74, 64)]


def test_pages_that_the_engine_could_not_take_on_are_read_later_and_pay_nothing(
    simulated_stack: StackUnderTest,
) -> None:
    job = simulated_stack.ended(simulated_stack.submit(tiff_of([(70, BUSY), (71, 64)]))["id"])
    assert job["pages"] == {"total": 2, "succeeded": 2, "failed": 0}
    assert simulated_stack.text(job["id"]).split("\f") == [expected_text(70, BUSY), expected_text(71, 64)]


def test_a_job_whose_only_page_fails_has_that_pages_error(simulated_stack: StackUnderTest) -> None:
    job = simulated_stack.ended(simulated_stack.submit(tiff_of([(70, RAISES)]))["id"])
    assert (job["status"], job["error"]["code"]) == ("failed", "engine_failed")
    answer = simulated_stack.result(job["id"])
    assert (answer.status_code, answer.json()["code"]) == (422, "engine_failed")


def test_a_page_is_readable_while_the_job_still_runs(simulated_stack: StackUnderTest) -> None:
    job_id = simulated_stack.submit(tiff(400))["id"]

    def first_page() -> dict[str, object] | None:
        answer = httpx.get(f"{simulated_stack.url}/api/jobs/{job_id}/pages/1")
        return answer.json() if answer.status_code == 200 and answer.json()["status"] == "succeeded" else None

    page = until(first_page)
    assert simulated_stack.job(job_id)["status"] == "running"
    assert page["text"] == expected_text(65, 64)
    image = httpx.get(f"{simulated_stack.url}/api/jobs/{job_id}/pages/1/image").raise_for_status()
    assert Image.open(io.BytesIO(image.content)).size == (65, 64)
    httpx.delete(f"{simulated_stack.url}/api/jobs/{job_id}").raise_for_status()


def test_a_cancelled_job_ends_and_stays_cancelled(simulated_stack: StackUnderTest) -> None:
    job_id = simulated_stack.submit(tiff(400))["id"]
    until(lambda: simulated_stack.job(job_id)["pages"]["succeeded"])
    cancelled = httpx.delete(f"{simulated_stack.url}/api/jobs/{job_id}")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    counted = cancelled.json()["pages"]
    after = simulated_stack.ended(simulated_stack.submit(tiff(4))["id"])
    assert after["status"] == "succeeded"
    assert simulated_stack.job(job_id)["pages"] == counted
    assert simulated_stack.result(job_id).json()["code"] == "conflict"
    assert httpx.delete(f"{simulated_stack.url}/api/jobs/{job_id}").status_code == 200
    finished = httpx.delete(f"{simulated_stack.url}/api/jobs/{after['id']}")
    assert (finished.status_code, finished.json()["code"]) == (409, "conflict")


def test_events_tell_of_every_page_and_of_the_end(simulated_stack: StackUnderTest) -> None:
    job_id = simulated_stack.submit(tiff(30))["id"]
    with simulated_stack.http as http, http.stream("GET", f"/api/jobs/{job_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line and not line.startswith(":")]
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    told = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert sorted(data["pageNo"] for name, data in zip(names, told, strict=True) if name == "page") == [*range(1, 31)]
    assert names[-1] == "done"
    assert (told[-1]["id"], told[-1]["status"]) == (job_id, "succeeded")


def test_the_same_file_twice_is_two_jobs(simulated_stack: StackUnderTest) -> None:
    first, second = (simulated_stack.submit(tiff(2))["id"] for _ in range(2))
    assert first != second
    assert simulated_stack.ended(first)["status"] == simulated_stack.ended(second)["status"] == "succeeded"
    assert simulated_stack.text(first) == simulated_stack.text(second)
