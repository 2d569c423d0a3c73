"""The light commands, against a small real HTTP server."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ocr_tasks import waiting
from ocr_tasks.cli import cli
from ocr_tasks.errors import EmptySource, EngineFailed, PageTimeout, ServiceUnavailable
from ocr_tasks.exits import Exit
from ocr_tasks.settings import get_settings
from tests.rest_service import Handler, Service, ended_with, running, serving, succeeded

Run = Callable[..., Result]


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as started:
        yield started


@pytest.fixture
def run(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder; its pauses are short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(waiting, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE_S", 0.001)
    monkeypatch.setenv("OCR_SERVER_URL", service.url)
    get_settings.cache_clear()

    def invoke(*words: str, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(cli, words, input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.stderr
        return result

    return invoke


@pytest.fixture(autouse=True)
def _forget_settings() -> Iterator[None]:
    yield
    get_settings.cache_clear()


def write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(f"bytes of {name}".encode())


# -- submit ---------------------------------------------


def test_submit_sends_the_file_and_prints_the_id_of_its_job(service: Service, run: Run) -> None:
    write("ein Bär.pdf")
    result = run("submit", "ein Bär.pdf", "--pages", "1-3,5", "--priority", "bulk", "--format", "text")
    assert (result.exit_code, result.stdout.split()) == (Exit.FINE, list(service.states))
    (upload,) = service.uploads
    assert (upload.filename, upload.content) == ("ein Bär.pdf", "bytes of ein Bär.pdf".encode())
    assert upload.fields == {"format": "text", "pages": "1-3,5", "priority": "bulk"}


def test_submit_sends_a_password_that_was_given_or_asked_for(service: Service, run: Run) -> None:
    write("a.pdf")
    assert run("submit", "--password", "Rosebud", "a.pdf").exit_code == 0
    asked = run("submit", "--ask-password", "a.pdf", stdin="Schlüssel\n".encode())
    assert asked.exit_code == 0
    assert [upload.fields for upload in service.uploads] == [{"password": "Rosebud"}, {"password": "Schlüssel"}]
    assert "Password" in asked.stderr
    assert "Password" not in asked.stdout


def test_a_password_that_cannot_be_one_is_refused_and_not_repeated(service: Service, run: Run) -> None:
    write("a.pdf")
    refused = run("submit", "--password", "y" * 300, "a.pdf")
    assert refused.exit_code == 2
    assert "256" in refused.stderr
    assert "yyy" not in refused.stderr
    assert service.uploads == []


def test_submit_leaves_what_was_not_said_to_the_service(service: Service, run: Run) -> None:
    write("a.pdf")
    run("submit", "a.pdf")
    assert service.uploads[0].fields == {}
    # A service that waits by default would answer with a result.
    assert service.uploads[0].headers["Prefer"] == "wait=0"


def test_submit_json_prints_a_job_a_line_as_the_service_gave_it(service: Service, run: Run) -> None:
    write("a.pdf", "b.pdf")
    lines = run("submit", "a.pdf", "b.pdf", "--json").stdout_bytes.decode().splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(service.states)
    assert all('"mood": "günstig"' in line for line in lines)


def test_submit_sends_the_address_of_a_document_for_the_service_to_fetch(service: Service, run: Run) -> None:
    service.script = [[succeeded(1)]]
    result = run("submit", "--wait", "--pages", "1-2", "https://example.com/a%20b.pdf?x=1")
    assert (result.exit_code, result.stdout) == (Exit.FINE, "# https://example.com/a%20b.pdf?x=1\n")
    assert service.bodies == [{"url": "https://example.com/a%20b.pdf?x=1", "pages": "1-2", "format": "markdown"}]
    assert service.asked[0] == "POST /api/ocr/process"


def test_submit_reads_stdin(service: Service, run: Run) -> None:
    assert run("submit", "-", stdin=b"%PDF of a pipe").exit_code == Exit.FINE
    assert service.uploads[0].content == b"%PDF of a pipe"


def test_submit_reads_a_named_pipe_to_its_end(service: Service, run: Run) -> None:
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(b"x" * 200_000))
    writer.start()
    assert run("submit", "pipe").exit_code == Exit.FINE
    writer.join(10)
    assert service.uploads[0].content == b"x" * 200_000


def test_submit_wait_prints_the_results_in_the_order_of_the_files(service: Service, run: Run) -> None:
    write("slow.pdf", "quick.pdf")
    service.script = [[running(0, None), running(0, 2), running(1, 2), succeeded(2)], [succeeded(1)]]
    result = run("submit", "--wait", "slow.pdf", "quick.pdf")
    assert (result.exit_code, result.stdout) == (Exit.FINE, "# slow.pdf\n# quick.pdf\n")
    assert service.uploads[0].fields == {"format": "markdown"}
    assert [asked.split()[0] for asked in service.asked[:3]] == ["POST", "POST", "GET"]
    assert "slow.pdf: running, 0/2 pages\n" in result.stderr
    assert result.stderr.endswith("slow.pdf: succeeded, 2/2 pages\n")


def test_submit_wait_fetches_the_format_that_was_asked_for(service: Service, run: Run) -> None:
    write("a.pdf")
    service.script = [[succeeded(1)]]
    run("submit", "--wait", "--format", "html", "a.pdf")
    assert service.asked[-1].endswith("/result?format=html")


def test_submit_wait_json_prints_the_jobs_as_they_ended(service: Service, run: Run) -> None:
    write("a.pdf")
    service.script = [[running(1, 2), succeeded(2)]]
    job = json.loads(run("submit", "--wait", "--json", "a.pdf").stdout)
    assert (job["status"], job["pages"]["succeeded"]) == ("succeeded", 2)


def test_submit_output_names_one_file_for_one_result(service: Service, run: Run) -> None:
    write("a.pdf")
    service.script = [[succeeded(1)]]
    assert run("submit", "a.pdf", "-o", "out.md").stdout == ""
    assert Path("out.md").read_text() == "# a.pdf\n"


def test_submit_output_is_a_folder_for_several_results(service: Service, run: Run) -> None:
    write("a/p.pdf", "b/p.pdf", "c.tif")
    service.script = [[succeeded(1)]] * 3
    assert run("submit", "a/p.pdf", "b/p.pdf", "c.tif", "-o", "new/out", "--format", "text").exit_code == Exit.FINE
    written = {path.name: path.read_text() for path in Path("new/out").iterdir()}
    assert written == {"p.txt": "# p.pdf\n", "p-2.txt": "# p.pdf\n", "c.txt": "# c.tif\n"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scans"], "'scans' is a directory: name its files, like scans/*.pdf."),
        (["missing.pdf"], "'missing.pdf' does not exist"),
        (["a.pdf", "--pages", "3-1"], "'3-1' does not go upward from 1"),
        (["a.pdf", "-", "-"], "stdin"),
        (["a.pdf", "-o", "a.pdf"], "is one of the files to be read"),
        (["a.pdf", "b.pdf", "-o", "c.pdf"], "cannot be a folder"),
        (["a.pdf", "-o", "nowhere/a.md"], "there is no folder 'nowhere'"),
        (["a.pdf", "-o", "a.md", "--no-wait"], "leave --no-wait out"),
        (["a.pdf", "--server", "localhost:8080"], "not an address like http://"),
    ],
)
def test_a_wrong_command_line_sends_nothing(service: Service, run: Run, words: list[str], said: str) -> None:
    write("a.pdf", "b.pdf", "c.pdf", "scans/d.pdf")
    result = run("submit", *words)
    assert (result.exit_code, service.asked) == (Exit.USAGE, [])
    assert said in " ".join(result.stderr.split())


# -- what goes wrong ---------------------------------------------


def test_a_refused_file_does_not_stop_the_others(service: Service, run: Run) -> None:
    write("empty.pdf", "good.pdf")
    service.script = [EmptySource("'empty.pdf' has 0 bytes."), [succeeded(1)]]
    result = run("submit", "--wait", "empty.pdf", "good.pdf")
    assert (result.exit_code, result.stdout) == (Exit.FAILED, "# good.pdf\n")
    assert result.stderr.splitlines()[0] == ("empty.pdf: The file is empty: 'empty.pdf' has 0 bytes. (empty_file)")


def test_failed_pages_are_named_and_have_an_exit_code_of_their_own(service: Service, run: Run) -> None:
    write("a.pdf")
    failures = {3: EngineFailed("Out of\nmemory."), 7: PageTimeout("It took 300 s.")}
    service.script = [[succeeded(120, failures, failed=9)]]
    result = run("submit", "--wait", "a.pdf")
    assert (result.exit_code, result.stdout) == (Exit.PAGES_FAILED, "# a.pdf\n")
    assert result.stderr.splitlines()[-3:] == [
        "a.pdf: page 3: engine_failed: Out of memory.",
        "a.pdf: page 7: page_timeout: It took 300 s.",
        "a.pdf: 7 more pages failed",
    ]


def test_the_exit_code_is_the_worst_of_all_files(service: Service, run: Run) -> None:
    write("cancelled.pdf", "partly.pdf", "fine.pdf")
    service.script = [[ended_with("cancelled")], [succeeded(2, {1: EngineFailed()})], [succeeded(1)]]
    result = run("submit", "--wait", "partly.pdf", "cancelled.pdf", "fine.pdf")
    assert result.exit_code == Exit.FAILED


def test_a_failed_job_is_told_with_its_problem(service: Service, run: Run) -> None:
    write("a.pdf")
    service.script = [[ended_with("failed", EmptySource("It has 0 bytes."))]]
    result = run("submit", "--wait", "a.pdf")
    assert (result.exit_code, result.stdout) == (Exit.FAILED, "")
    assert result.stderr.splitlines()[-1] == "a.pdf: The file is empty: It has 0 bytes. (empty_file)"


def test_no_service_is_told_with_what_to_do(service: Service, run: Run) -> None:
    service.stop()
    result = run("jobs")
    assert result.exit_code == Exit.UNREACHABLE
    assert result.stderr.startswith(f"Error: No service at {service.url} (")
    assert "is `lightdom-ocr up` running? Set --server or OCR_SERVER_URL." in result.stderr


def test_waiting_survives_a_restart_of_the_service(service: Service, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.pdf")
    service.script = [[running(1, 3), succeeded(3)]]
    pauses = []

    def pause(seconds: float) -> None:
        """Stands in for sleep: the service goes away in the first pause and comes back in the third."""
        pauses.append(seconds)
        if len(pauses) == 1:
            service.stop()
        if len(pauses) == 3:
            service.start()

    monkeypatch.setattr(waiting, "sleep", pause)
    result = run("submit", "--wait", "a.pdf")
    assert (result.exit_code, result.stdout) == (Exit.FINE, "# a.pdf\n")
    assert result.stderr.count("Trying again for 30 s.") == 1
    assert len(pauses) >= 3


def test_waiting_survives_cut_connections_and_an_overloaded_service(service: Service, run: Run) -> None:
    write("a.pdf")
    service.script = [[succeeded(1)]]
    service.troubles = [Handler.hang_up, lambda handler: handler.refuse(ServiceUnavailable("Postgres is away."))]
    result = run("submit", "--wait", "a.pdf")
    assert (result.exit_code, result.stdout) == (Exit.FINE, "# a.pdf\n")
    assert result.stderr.count("Trying again") == 1


def test_an_outage_that_lasts_ends_the_wait_and_says_what_goes_on(
    service: Service, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("a.pdf", "b.pdf")
    monkeypatch.setattr(waiting, "OUTAGE_S", 0.0)
    service.script = [[succeeded(1)], [running(0, 2)]]
    monkeypatch.setattr(waiting, "sleep", lambda seconds: service.stop())
    result = run("submit", "--wait", "a.pdf", "b.pdf", "--server", service.url)
    assert result.exit_code == Exit.UNREACHABLE
    first, second = service.states
    assert f"a.pdf: its result is kept: lightdom-ocr result {first} --server {service.url}\n" in result.stderr
    assert f"b.pdf: the job goes on; to end it: lightdom-ocr cancel {second} --server" in result.stderr


def test_another_server_at_the_address_is_recognised(service: Service, run: Run) -> None:
    page = b"<html>Welcome to nginx</html>"
    for status in (200, 404):
        service.troubles = [partial(Handler.answer, status=status, body=page, media_type="text/html")]
        result = run("jobs")
        assert result.exit_code == Exit.FAILED
        assert "This is not how LightDom OCR answers" in result.stderr


def test_a_proxy_for_the_outside_world_is_not_asked_for_this_machine(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert run("jobs").exit_code == Exit.FINE


# -- the other commands ---------------------------------------------


def test_status_shows_a_job_and_names_its_failed_pages(service: Service, run: Run) -> None:
    job_id = service.add(succeeded(4, {2: EngineFailed("It failed.")}))
    result = run("status", job_id)
    facts = dict(line.split("\t") for line in result.stdout.splitlines())
    assert (facts["job"], facts["status"], facts["pages"], facts["failed pages"]) == (job_id, "succeeded", "4/4", "1")
    assert (result.exit_code, result.stderr) == (Exit.PAGES_FAILED, "page 2: engine_failed: It failed.\n")


def test_a_job_of_a_demonstration_model_says_so_and_is_no_failure(service: Service, run: Run) -> None:
    notice = "nano: a small demonstration model"
    told = run("status", service.add(succeeded(1) | {"notice": notice}))
    assert (told.exit_code, told.stderr) == (Exit.FINE, f"{notice}\n")


def test_status_of_a_running_job_is_no_failure(service: Service, run: Run) -> None:
    result = run("status", service.add(running(3, 12)), "--json")
    assert (result.exit_code, json.loads(result.stdout)["pages"]["succeeded"]) == (Exit.FINE, 3)


def test_result_is_written_byte_for_byte(service: Service, run: Run) -> None:
    job_id = service.add(succeeded(1), result="Größe 漢字\f".encode())
    assert run("result", job_id, "--format", "text", "-o", "out.txt").exit_code == Exit.FINE
    assert Path("out.txt").read_bytes() == "Größe 漢字\f".encode()


def test_result_that_is_not_ready_says_so(service: Service, run: Run) -> None:
    result = run("result", service.add(running(0, 1)))
    assert (result.exit_code, result.stdout) == (Exit.FAILED, "")
    assert result.stderr == (
        "Error: It is not ready yet: The job is running; its result is not there yet. (not_ready)\n"
    )


def test_result_json_asks_for_json(service: Service, run: Run) -> None:
    run("result", service.add(succeeded(1)), "--json")
    assert service.asked[0].endswith("/result?format=json")


def test_cancel_ends_a_job(service: Service, run: Run) -> None:
    job_id = service.add(running(0, 1))
    result = run("cancel", job_id)
    assert (result.exit_code, service.asked) == (Exit.FINE, [f"DELETE /api/jobs/{job_id}"])
    assert result.stderr == f"Job {job_id} is cancelled.\n"


def test_a_job_that_does_not_exist_is_refused(run: Run) -> None:
    for command in ("status", "result", "cancel"):
        result = run(command, str(uuid.uuid4()))
        assert (result.exit_code, result.stdout) == (Exit.FAILED, "")
        assert "(not_found)" in result.stderr


def test_jobs_lists_as_many_as_asked_for_over_several_answers(service: Service, run: Run) -> None:
    for _ in range(250):
        service.add(running(1, 2))
    lines = run("jobs", "--limit", "230").stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == list(service.states)[:230]
    assert lines[0].split("\t")[1:] == ["ocr", "running", "1/2", "0", "2026-01-02T03:04:05.678901+00:00"]
    assert [asked.partition("?")[2] for asked in service.asked] == [
        "limit=100",
        "limit=100&cursor=100",
        "limit=30&cursor=200",
    ]


def test_jobs_can_be_chosen_by_status(service: Service, run: Run) -> None:
    service.add(running(1, 2))
    wanted = service.add(succeeded(1))
    listed = json.loads(run("jobs", "--status", "succeeded", "--json").stdout)
    assert ([job["id"] for job in listed["jobs"]], listed["next"]) == ([wanted], None)


@pytest.mark.parametrize("command", ["submit", "status", "result", "cancel", "jobs"])
def test_help_tells_the_exit_codes(run: Run, command: str) -> None:
    said = run(command, "--help").stdout
    for code in Exit:
        assert f"\n    {code:<4} " in said
