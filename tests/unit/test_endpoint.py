"""The engine `endpoint` against a real server that speaks the protocol, and its troubles."""

from __future__ import annotations

import base64
import io
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from PIL import Image

from ocr_tasks.contract import OcrOptions, PageResult
from ocr_tasks.errors import EngineFailed, OcrError, ServiceUnavailable
from ocr_tasks.settings import Settings, SettingsError
from tests.answers import DOCUMENT
from tests.openai_server import (
    Misbehaviour,
    OpenAiServer,
    Request,
    drop,
    drop_halfway,
    garbage,
    hang,
    openai_server,
    status,
)
from tests.stack import until
from workers.engine import PageDone, PageWork, WorkId
from workers.engine.deepseek.families import Family
from workers.engine.endpoint import EndpointEngine, family_of
from workers.engine.endpoint_client import Patience

QUICK = Patience(tries=3, first_s=0.01, longest_s=0.02, longest_told_s=0.3, start_s=0.1)


@contextmanager
def serving(**changes: Any) -> Iterator[tuple[OpenAiServer, EndpointEngine]]:
    """A server and an engine that uses it; `settings` are the engine's, the rest the server's."""
    own = changes.pop("settings", {})
    with openai_server(**changes) as server:
        engine = EndpointEngine(settings_for(server.url, **own), patience=QUICK)
        try:
            yield server, engine
        finally:
            engine.close()


def settings_for(url: str | None, **changes: Any) -> Settings:
    return Settings(_env_file=None, engine="endpoint", endpoint=url, batch_size=4, **changes)


def page(width: int = 200, height: int = 100, **options: Any) -> PageWork:
    image = Image.new("RGB", (width, height), (250, width % 256, 10))
    return PageWork(WorkId(uuid.uuid4(), 1, 1), lambda: image, options=OcrOptions(**options))


def read(engine: EndpointEngine, *works: PageWork, timeout_s: float = 10) -> list[PageDone]:
    """What became of pages, in the order they were given."""
    engine.admit(works)
    done: dict[WorkId, PageDone] = {}

    def all_ended() -> bool:
        done.update((one.id, one) for one in engine.step())
        return len(done) == len(works)

    until(all_ended, timeout_s, "the end of the pages")
    return [done[work.id] for work in works]


def result(engine: EndpointEngine, work: PageWork) -> PageResult:
    outcome = read(engine, work)[0].outcome
    assert isinstance(outcome, PageResult), outcome
    return outcome


def failure(engine: EndpointEngine, work: PageWork | None = None) -> OcrError:
    outcome = read(engine, work or page())[0].outcome
    assert isinstance(outcome, OcrError), outcome
    return outcome


# -- what is asked and answered ---------------------------------------------


def test_a_page_is_asked_for_as_vllms_recipe_does() -> None:
    with serving(answer=lambda _: DOCUMENT, settings={"api_key": "sesame"}, key="sesame") as (server, engine):
        read_page = result(engine, page(1998, 2997))
    asked = server.requests[0]
    assert asked.prompt == "<image>\n<|grounding|>Convert the document to markdown."
    content = base64.b64decode(asked.image_url.removeprefix("data:image/jpeg;base64,"))
    assert Image.open(io.BytesIO(content)).size == (1998, 2997)
    assert {name: value for name, value in asked.body.items() if name != "messages"} == {
        "model": "deepseek-ai/DeepSeek-OCR",
        "temperature": 0.0,
        "max_tokens": 6792,
        "skip_special_tokens": False,
        "vllm_xargs": {"ngram_size": 20, "window_size": 50, "whitelist_token_ids": [128821, 128822]},
    }
    assert read_page.text.startswith("Annual Report")
    assert read_page.figures == ((200, 750, 1800, 1500),)
    assert (read_page.vision_tokens, read_page.text_tokens) == (283, len(DOCUMENT.split()))
    assert read_page.flags == ()


def test_the_prompt_follows_the_option_and_the_model() -> None:
    name = "baidu/Unlimited-OCR"
    with serving() as (server, engine):
        result(engine, page(prompt="locate", locate="Total < 5"))
        result(engine, page(prompt="free"))
    assert [request.prompt for request in server.requests] == [
        "<image>\nLocate <|ref|>Total < 5<|/ref|> in the image.",
        "<image>\nFree OCR.",
    ]
    assert server.requests[1].body["vllm_xargs"]["ngram_size"] == 30
    with serving(models=[name], settings={"endpoint_model": name}) as (server, engine):
        result(engine, page())
    assert server.requests[0].prompt == "<image>document parsing."
    assert server.requests[0].body["vllm_xargs"] == {"ngram_size": 35, "window_size": 128}


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("deepseek-ai/DeepSeek-OCR", Family.DEEPSEEK_OCR),
        ("deepseek-community/DeepSeek-OCR-2", Family.DEEPSEEK_OCR2),
        ("baidu/Unlimited-OCR", Family.UNLIMITED_OCR),
        ("my-ocr", Family.DEEPSEEK_OCR),
    ],
)
def test_the_family_is_known_by_the_models_name(model: str, family: Family) -> None:
    assert family_of(model) == family


def test_an_answer_at_the_length_limit_is_flagged() -> None:
    with serving(finish_reason="length") as (_, engine):
        assert result(engine, page()).flags == ("no_eos", "truncated")


def test_the_revision_names_model_and_server() -> None:
    with serving() as (_, engine):
        assert engine.revision == "deepseek-ai/DeepSeek-OCR@vllm-0.12.0+answers-1"


def test_as_many_pages_are_under_way_as_the_engine_holds_and_each_gets_its_answer() -> None:
    def slow(request: Request) -> str:
        until(lambda: server.most_under_way == 4, 5)
        return f"{len(request.image_url)}"

    with serving(answer=slow) as (server, engine):
        works = [page(50 + 40 * n, 90) for n in range(4)]
        texts = [done.outcome.text for done in read(engine, *works) if isinstance(done.outcome, PageResult)]
        assert texts == [str(len(request.image_url)) for work in works for request in server.requests
                         if _size(request) == work.image.size]  # fmt: skip
        assert (engine.capacity, engine.step()) == (4, [])


def _size(request: Request) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(request.image_url.partition(",")[2]))).size


def test_a_step_does_not_wait_for_answers_and_an_evicted_page_hangs_up() -> None:
    with serving(always=hang) as (server, engine):
        gone, stays = page(), page()
        engine.admit([gone, stays])
        until(lambda: len(server.requests) == 2)
        started = time.monotonic()
        assert engine.step() == []
        assert time.monotonic() - started < 1
        engine.evict([gone.id, WorkId(uuid.uuid4(), 9, 9)])
        assert server.hung_up.wait(5), "the connection was kept"
        server.always = None
        assert [type(done.outcome) for done in read(engine, gone)] == [PageResult]  # the same page, anew


def test_closing_lets_go_of_everything() -> None:
    with openai_server(always=hang) as server:
        engine = EndpointEngine(settings_for(server.url), patience=QUICK)
        engine.admit([page()])
        until(lambda: server.requests)
        engine.close()
        assert server.hung_up.wait(5)
        engine.close()


# -- trouble that passes ---------------------------------------------

PASSING: dict[str, Misbehaviour] = {
    "429": status(429), "500": status(500), "502": status(502), "503": status(503), "drop": drop,
    "half an answer": drop_halfway, "no JSON": garbage(b"<html>"), "no completion": garbage(b'{"choices": []}'),
    "nesting": garbage(b"[" * 100_000), "no object": garbage(b"[1]"),
    "no text": garbage(b'{"choices": [{"message": {"content": 5}}]}'),
}  # fmt: skip


@pytest.mark.parametrize("trouble", PASSING.values(), ids=PASSING)
def test_trouble_that_passes_is_waited_out(trouble: Misbehaviour) -> None:
    with serving(troubles=[trouble, trouble]) as (server, engine):
        assert result(engine, page()).text == "A page."
        assert len(server.requests) == 3


def test_a_server_that_hangs_is_given_up_and_asked_again() -> None:
    with serving(troubles=[hang], settings={"page_timeout_s": 0.4}) as (server, engine):
        assert result(engine, page()).text == "A page."
        assert server.requests[1].at - server.requests[0].at > 0.15


@pytest.mark.parametrize(("told", "least_s", "most_s"), [("0", 0, 0.15), ("9999", 0.3, 2), ("soon", 0, 0.15)])
def test_retry_after_is_followed_within_reason(told: str, least_s: float, most_s: float) -> None:
    with serving(troubles=[status(429, Retry_After=told)]) as (server, engine):
        result(engine, page())
        assert least_s <= server.requests[1].at - server.requests[0].at < most_s


def test_retry_after_may_be_a_date() -> None:
    with serving(troubles=[status(503, Retry_After="Wed, 01 Jan 2099 00:00:00 GMT")]) as (server, engine):
        result(engine, page())
        assert server.requests[1].at - server.requests[0].at > 0.25


def test_pauses_double_up_to_a_limit_and_differ() -> None:
    patience = Patience(first_s=1, longest_s=5)
    pauses = [[patience.pause_s(failures, None) for _ in range(20)] for failures in (1, 2, 3, 9)]
    for whole, drawn in zip((1, 2, 4, 5), pauses, strict=True):
        assert all(whole / 2 <= pause <= whole for pause in drawn)
        assert len(set(drawn)) > 10


# -- trouble that stays ---------------------------------------------


@pytest.mark.parametrize("trouble", [status(429), status(503)])
def test_a_busy_server_costs_the_page_nothing(trouble: Misbehaviour) -> None:
    with serving(always=trouble) as (server, engine):
        assert isinstance(failure(engine), ServiceUnavailable)
        assert len(server.requests) == 3


@pytest.mark.parametrize("trouble", [status(500), drop, garbage(b"?")], ids=["500", "drop", "garbage"])
def test_a_page_that_fails_again_and_again_on_a_server_that_is_well_pays_for_it(trouble: Misbehaviour) -> None:
    with serving(always=trouble) as (_, engine):
        assert isinstance(failure(engine), EngineFailed)


def test_a_server_that_is_gone_costs_the_page_nothing() -> None:
    with openai_server() as server:
        engine = EndpointEngine(settings_for(server.url), patience=QUICK)
    error = failure(engine)
    engine.close()
    assert isinstance(error, ServiceUnavailable)
    assert "127.0.0.1" not in error.detail


def test_a_server_that_fails_and_is_not_well_costs_the_page_nothing() -> None:
    def die(handler: Any) -> None:
        server.well = False
        handler.refuse(500, "dying")

    with serving(always=die) as (server, engine):
        assert isinstance(failure(engine), ServiceUnavailable)


@pytest.mark.parametrize(("code", "hint"), [(401, "DEEPSEEK_OCR_API_KEY"), (404, "OCR_ENDPOINT_MODEL")])
def test_a_wrong_key_or_model_is_said_at_once(code: int, hint: str) -> None:
    with serving(always=status(code)) as (server, engine):
        error = failure(engine)
        assert isinstance(error, EngineFailed)
        assert str(code) in error.detail
        assert hint in error.detail
        assert len(server.requests) == 1


def test_a_refusal_of_the_page_is_not_tried_again() -> None:
    with serving(always=status(400, "this image is too odd")) as (server, engine):
        error = failure(engine)
        assert isinstance(error, EngineFailed)
        assert "odd" not in error.detail, "what a server says goes to the log"
        assert len(server.requests) == 1


@pytest.mark.parametrize("name", ["vllm_xargs", "skip_special_tokens", "max_tokens", "whitelist_token_ids"])
def test_a_field_that_the_server_does_not_take_is_left_out_from_then_on(name: str) -> None:
    def strict(handler: Any) -> None:
        if name in str(server.requests[-1].body):
            handler.refuse(400, f"unexpected field: {name}")
        else:
            handler.complete("A page.")

    with serving(always=strict) as (server, engine):
        assert result(engine, page()).text == "A page."
        assert result(engine, page()).text == "A page."
        assert [name in str(request.body) for request in server.requests] == [True, False, False]
        assert name == "vllm_xargs" or server.requests[-1].body["vllm_xargs"]["ngram_size"] == 20


# -- at the start ---------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": None}, "DEEPSEEK_OCR_ENDPOINT is not set"),
        ({"url": "localhost:8000"}, "DEEPSEEK_OCR_ENDPOINT must be a URL"),
        ({"url": "ftp://u:hidden@host/v1"}, "DEEPSEEK_OCR_ENDPOINT must be a URL"),
    ],
)
def test_without_a_usable_address_it_says_what_to_set(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        EndpointEngine(settings_for(changes["url"]), patience=QUICK)
    assert "hidden" not in str(caught.value)


def test_a_wrong_key_is_told_at_the_start_and_never_shown() -> None:
    with openai_server(key="right") as server, pytest.raises(SettingsError, match="DEEPSEEK_OCR_API_KEY") as caught:
        EndpointEngine(settings_for(server.url, api_key="wrong-and-secret"), patience=QUICK)
    assert "wrong-and-secret" not in str(caught.value)


def test_a_model_that_the_server_lacks_is_told_with_those_it_has() -> None:
    with openai_server(models=["a", "b"]) as server, pytest.raises(SettingsError, match=r"OCR_ENDPOINT_MODEL.*a, b"):
        EndpointEngine(settings_for(server.url), patience=QUICK)


def test_an_address_without_the_api_is_told() -> None:
    with openai_server() as server, pytest.raises(SettingsError, match=r"404.*/v1"):
        EndpointEngine(settings_for(server.url.removesuffix("/v1")), patience=QUICK)


def test_a_server_that_is_not_there_is_waited_for_and_then_told() -> None:
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        EndpointEngine(settings_for("http://127.0.0.1:1/v1"), patience=QUICK)
    assert 0.02 < time.monotonic() - started < 5


@pytest.mark.parametrize("trouble", [status(500), status(401), status(400), garbage(b"?"), drop])
def test_the_key_is_never_logged(trouble: Misbehaviour, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with (
        structlog.testing.capture_logs() as logged,
        serving(always=trouble, settings={"api_key": "sesame"}) as (_, engine),
    ):
        error = failure(engine)
    assert "sesame" not in f"{logged} {caplog.text} {error.problem()}"
    assert logged


def test_an_unforeseen_failure_ends_the_page_and_not_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("workers.engine.endpoint.parse_answer", broken)
    with serving() as (_, engine):
        error = failure(engine)
        assert isinstance(error, EngineFailed)
        assert "ZeroDivisionError" in error.detail
