"""An independent server breaks what it can, watches every attempt, and judges: strictly."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import openai
import pytest

from agentfootprint import Agent, Completed
from agentfootprint.errors import InvalidRequest, ProviderError, TimedOut, Unauthorized
from agentfootprint.events import TextDelta
from agentfootprint.messages import LLMRequest, LLMResponse, Message
from agentfootprint.providers import (
    ClosableProvider,
    HTTPAnthropicProvider,
    HTTPOpenAIProvider,
    complete_from_stream,
)
from agentfootprint.resilience import with_circuit_breaker, with_fallback, with_retry, with_timeout
from agentfootprint.resilience.base import Wrapper
from tests.servers.llmock import Judge, judge

QUESTION = "Where is order A-1?"

ANSWER = "Your order left the warehouse this morning and will be with you by noon on Friday."

WIRES: dict[str, Any] = {
    "chat": lambda url: HTTPOpenAIProvider("gpt-4o", base_url=f"{url}/v1", api="chat"),
    "responses": lambda url: HTTPOpenAIProvider("gpt-4o", base_url=f"{url}/v1", api="responses"),
    "anthropic": lambda url: HTTPAnthropicProvider(
        "claude-sonnet-4-5", base_url=f"{url}/anthropic", api_key="none"
    ),
}


def every_wire(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Runs the test on all wires at once, each with a server of its own: what takes long is waiting."""

    async def one(wire: str, given: dict[str, Any]) -> None:
        try:
            await test(judge(wire), wire, **given)
        except Exception as error:
            error.add_note(f"On the wire {wire!r}.")
            raise

    @functools.wraps(test)
    async def all_at_once(**given: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            for wire in WIRES:
                tasks.create_task(one(wire, given))

    told = inspect.signature(test)
    rest = [each for each in told.parameters.values() if each.name not in ("server", "wire")]
    all_at_once.__signature__ = told.replace(parameters=rest)  # type: ignore[attr-defined]
    return all_at_once


class Reading(Wrapper):
    """A provider whose `complete` reads a stream to its end: what breaks a stream breaks it."""

    async def complete(self, request: LLMRequest) -> LLMResponse:
        return await complete_from_stream(self.inner, request)


def guides_stack(url: str, wire: str, *, reading: bool = False) -> ClosableProvider:
    """Retry over fallback over breaker. The fallback stands at the same server: it judges both."""

    def one() -> Any:
        provider = with_timeout(WIRES[wire](url), idle=0.5, total=20)
        return Reading(provider) if reading else provider

    both = with_fallback(with_circuit_breaker(one()), one())
    return with_retry(both, max_attempts=5)


def says(text: str = ANSWER) -> dict[str, Any]:
    return {"type": "reply", "text": text, "times": None}


def fails(status: int, times: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "fail", "status": status, "times": times, **more}


def breaks(kind: str, after: int = 3, times: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "stream_fault", "kind": kind, "after_chunks": after, "times": times, **more}


FAULTS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "one 500": [fails(500)],
    "503 three times": [fails(503, 3)],
    "529": [fails(529, 2)],
    "408": [fails(408)],
    "429 with a wait": [fails(429, 2, retry_after=0.4)],
    "429 without": [fails(429, 2)],
    "503 with a wait": [fails(503, 1, retry_after=0.3)],
    "all kinds": [fails(500), fails(429, retry_after=0.2), fails(503), fails(529)],
}

BROKEN: dict[str, list[dict[str, Any]]] = {
    "cut off": [breaks("truncate")],
    "cut off before the first word": [breaks("truncate", 0)],
    "cut off again and again": [breaks("truncate", 2, 3)],
    "disconnected": [breaks("disconnect", 2, 2)],
    "malformed": [breaks("malformed", 2)],
    "malformed again": [breaks("malformed", 3, 3)],
    "stalled": [breaks("stall", 8, stall_seconds=5)],
    "overloaded, then cut off, then malformed": [fails(529), breaks("truncate"), breaks("malformed")],
}


@every_wire
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_run_is_judged_well(server: Judge, wire: str, fault: str) -> None:
    server.reset(*FAULTS[fault], says())
    async with guides_stack(server.url, wire) as provider:
        result = await Agent(provider).run(QUESTION)
    assert isinstance(result, Completed)
    assert result.output == ANSWER
    assert server.findings() == []
    if fault == "all kinds":
        verdict = await asyncio.to_thread(server.report)
        assert verdict.returncode == 0, verdict.stdout
    assert len(server.requests()) == 1 + sum(each["times"] for each in FAULTS[fault])


@every_wire
@pytest.mark.parametrize("fault", BROKEN)
async def test_a_run_that_reads_streams_is_judged_well(server: Judge, wire: str, fault: str) -> None:
    server.reset(*BROKEN[fault], says())
    async with guides_stack(server.url, wire, reading=True) as provider:
        result = await Agent(provider).run(QUESTION)
    assert result.output == ANSWER
    assert server.findings() == []
    seen = server.requests()
    assert all(each["stream"] for each in seen)
    assert len([each for each in seen if each["fault"]]) == sum(each["times"] for each in BROKEN[fault])


@every_wire
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_no_retry_mends_is_asked_once(server: Judge, wire: str, status: int) -> None:
    server.reset(fails(status, 9))
    kinds = Unauthorized if status in (401, 403) else InvalidRequest
    provider = with_retry(with_circuit_breaker(WIRES[wire](server.url)), initial_delay=0.05)
    async with provider:
        with pytest.raises(kinds):
            await Agent(provider).run(QUESTION)
    assert len(server.requests()) == 1
    assert server.findings() == []


@every_wire
@pytest.mark.parametrize("fault", [*FAULTS, *BROKEN])
async def test_a_streamed_run_ends_in_a_typed_error_or_a_whole_answer(
    server: Judge, wire: str, fault: str
) -> None:
    server.reset(*(FAULTS | BROKEN)[fault], says())
    read = ""
    failed: ProviderError | None = None
    async with guides_stack(server.url, wire) as provider:
        try:
            async with Agent(provider).stream(QUESTION) as run:
                async for event in run:
                    if isinstance(event, TextDelta):
                        read += event.text
        except ProviderError as error:
            failed = error
    if failed is None:
        assert read == ANSWER
    else:
        assert fault in BROKEN
        assert read, f"nothing was handed on: {failed!r} should have been retried"
        assert ANSWER.startswith(read)
        assert read != ANSWER


@every_wire
async def test_a_slow_first_token_is_waited_for_and_a_stall_is_not(server: Judge, wire: str) -> None:
    server.reset({"type": "slow_first_token", "seconds": 0.7}, says())
    async with with_timeout(WIRES[wire](server.url), first_token=20, idle=0.5) as patient:
        assert (await complete_from_stream(patient, _request())).text == ANSWER
        server.reset(breaks("stall", 8, stall_seconds=5), says())
        with pytest.raises(TimedOut, match="middle"):
            await complete_from_stream(patient, _request())


async def test_the_vendors_sdk_takes_half_an_answer_and_is_judged_for_it() -> None:
    """What is shown above could not be shown of any client."""
    server = judge("chat")
    server.reset(breaks("truncate"), says())
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        stream = await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text != ANSWER
    verdict = await asyncio.to_thread(server.report)
    assert verdict.returncode == 1
    assert "truncated_stream_accepted" in verdict.stdout


def _request() -> LLMRequest:
    return LLMRequest((Message.user(QUESTION),))
