"""Talks to an OpenAI-compatible server that has a model of the DeepSeek-OCR kind: one page, one chat completion.

The request is that of vLLM's recipe for DeepSeek-OCR: special tokens are not left out of the answer, since they hold
the layout, and the n-gram ban goes to the server's logits processor in `vllm_xargs`. A server that refuses one of these
fields is asked without it from then on.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from ocr_tasks.errors import EngineFailed, OcrError, ServiceUnavailable
from ocr_tasks.settings import SettingsError
from workers.engine.deepseek.prompts import NgramBan
from workers.engine.endpoint_answers import Completion, Trouble, completion_of, json_of, retry_after_s

log = structlog.get_logger(__name__)

CONNECT_S, PROBE_S, WRITE_S = 5.0, 5.0, 60.0
BUSY = frozenset({429, 503})  # the server says itself that it is not the request's fault
PASSING = BUSY | {408, 500, 502, 504}
MISCONFIGURED = {
    401: "it refuses the key: set DEEPSEEK_OCR_API_KEY",
    403: "it refuses the key: set DEEPSEEK_OCR_API_KEY",
    404: "it knows no such model or address: check DEEPSEEK_OCR_ENDPOINT (which ends with /v1) and OCR_ENDPOINT_MODEL",
}
OPTIONAL = ("whitelist_token_ids", "vllm_xargs", "skip_special_tokens", "max_tokens")


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, and the pauses between, in seconds: they double, and half of each is by chance."""

    tries: int = 5
    first_s: float = 0.5
    longest_s: float = 20
    longest_told_s: float = 60  # that a server's Retry-After is followed for
    start_s: float = 60  # that a server may take to come up

    def pause_s(self, failures: int, told_s: float | None) -> float:
        """The pause after so many failures; told_s: what the server asked for."""
        pause_s: float = min(self.first_s * 2 ** (failures - 1), self.longest_s) * random.uniform(0.5, 1)
        return max(pause_s, min(told_s or 0, self.longest_told_s))


@dataclass(frozen=True)
class Question:
    """One page to be read."""

    prompt: str
    image_url: str
    ban: NgramBan
    most_new_tokens: int


class Client:
    """Requests of one event loop. read_timeout_s: for a whole answer, which comes at once when it is complete."""

    def __init__(
        self,
        base_url: str,
        model: str,
        key: str | None,
        *,
        connections: int,
        read_timeout_s: float,
        patience: Patience,
    ) -> None:
        self.model = model
        self.patience = patience
        self.left_out: set[str] = set()
        self.http = httpx.AsyncClient(
            base_url=f"{base_url.rstrip('/')}/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(read_timeout_s, connect=CONNECT_S, write=WRITE_S, pool=None),
            limits=httpx.Limits(max_connections=connections + 2, max_keepalive_connections=connections + 2),
        )

    async def close(self) -> None:
        await self.http.aclose()

    # -- the server ------------------------------

    async def describe(self) -> str:
        """What serves the model, such as `vllm-0.12.0`; waits for a server that is coming up.

        Raises SettingsError when the server does not have the model or refuses the key, ServiceUnavailable when it is
        not there.
        """
        give_up_at, failures = time.monotonic() + self.patience.start_s, 0
        while True:
            answer = await self._probe("models")
            if answer is not None and answer.status_code == httpx.codes.OK:
                return await self._named(answer)
            if answer is not None and answer.status_code in MISCONFIGURED:
                raise SettingsError(_misconfigured(answer.status_code))
            failures += 1
            pause_s = self.patience.pause_s(failures, None)
            if time.monotonic() + pause_s > give_up_at:
                said = "does not answer" if answer is None else f"answers {answer.status_code}"
                raise ServiceUnavailable(f"The server at DEEPSEEK_OCR_ENDPOINT {said}.")
            await asyncio.sleep(pause_s)

    async def healthy(self) -> bool:
        """Whether the server answers what costs it nothing."""
        answer = await self._probe("models")
        return answer is not None and answer.status_code == httpx.codes.OK

    async def _named(self, answer: httpx.Response) -> str:
        """The maker and version that a server tells; raises SettingsError when it does not have the model."""
        listed = json_of(answer).get("data")
        models = (
            {str(one.get("id")): one for one in listed if isinstance(one, dict)} if isinstance(listed, list) else {}
        )
        if models and self.model not in models:
            raise SettingsError(
                f"OCR_ENDPOINT_MODEL: the server has no model {self.model!r}; it has {', '.join(sorted(models)[:20])}"
            )
        maker = str(models.get(self.model, {}).get("owned_by") or "openai")
        version = await self._probe(httpx.URL(self.http.base_url).join("/version"))  # vLLM's own, beside /v1
        told = json_of(version).get("version") if version is not None else None
        return f"{maker}-{told}" if isinstance(told, str) else maker

    async def _probe(self, path: str | httpx.URL) -> httpx.Response | None:
        try:
            return await self.http.get(path, timeout=PROBE_S)
        except httpx.HTTPError:
            return None

    # -- a page ------------------------------

    async def complete(self, question: Question) -> Completion:
        """The model's answer.

        Raises EngineFailed when the server refuses the page, or fails on it again and again although it is well;
        ServiceUnavailable when the server is not.
        """
        trouble, failures = None, 0
        while failures < self.patience.tries:
            if trouble is not None:
                pause_s = self.patience.pause_s(failures, trouble.told_s)
                log.warning("endpoint_retry", reason=trouble.reason, failures=failures, pause_s=round(pause_s, 2))
                await asyncio.sleep(pause_s)
            outcome = await self._try(question)
            if isinstance(outcome, Completion):
                return outcome
            if outcome is not None:  # else a field is left out now, and it is asked again at once
                trouble, failures = outcome, failures + 1
        assert trouble is not None
        raise await self._verdict(trouble)

    async def _verdict(self, trouble: Trouble) -> OcrError:
        """Whose fault it was that a page could not be had."""
        said = f"The server at DEEPSEEK_OCR_ENDPOINT failed {self.patience.tries} times; at last {trouble.reason}."
        if trouble.busy or not await self.healthy():
            return ServiceUnavailable(said)
        return EngineFailed(said)

    async def _try(self, question: Question) -> Completion | Trouble | None:
        started = time.monotonic()
        try:
            answer = await self.http.post("chat/completions", json=self._body(question))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return Trouble("it could not be reached", busy=True)
        except httpx.TimeoutException:
            return Trouble("it did not answer in time", busy=False)
        except httpx.HTTPError as error:
            return Trouble(f"the connection was lost ({type(error).__name__})", busy=False)
        status = answer.status_code
        if status == httpx.codes.OK:
            return completion_of(answer, round((time.monotonic() - started) * 1000))
        if status in PASSING:
            return Trouble(f"it answered {status}", busy=status in BUSY, told_s=retry_after_s(answer))
        if status in MISCONFIGURED:
            log.error("endpoint_misconfigured", status=status)
            raise EngineFailed(_misconfigured(status))
        if status in (400, 422) and self._without_refused(answer.text):
            return None
        log.error("endpoint_refused", status=status, answer=answer.text[:500])
        raise EngineFailed(f"The server at DEEPSEEK_OCR_ENDPOINT refused this page ({status}).", value=status)

    def _body(self, question: Question) -> dict[str, Any]:
        ban = {"ngram_size": question.ban.size, "window_size": question.ban.window}
        whitelist = {"whitelist_token_ids": sorted(question.ban.whitelist)} if question.ban.whitelist else {}
        optional: dict[str, Any] = {
            "max_tokens": question.most_new_tokens,
            "skip_special_tokens": False,
            "vllm_xargs": ban if "whitelist_token_ids" in self.left_out else ban | whitelist,
        }
        content = [
            {"type": "image_url", "image_url": {"url": question.image_url}},
            {"type": "text", "text": question.prompt},
        ]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0.0,
            **{name: value for name, value in optional.items() if name not in self.left_out},
        }

    def _without_refused(self, refusal: str) -> bool:
        """Leave out, from now on, the first optional field that a refusal names; False when it names none."""
        for name in OPTIONAL:
            if name in refusal and name not in self.left_out:
                log.warning("endpoint_field_refused", field=name, answer=refusal[:500])
                self.left_out.add(name)
                return True
        return False


def _misconfigured(status: int) -> str:
    return f"The server at DEEPSEEK_OCR_ENDPOINT answered {status}: {MISCONFIGURED[status]}."
