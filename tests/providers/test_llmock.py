"""Every wire against a server that was made to break clients."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.errors import (
    InvalidRequest,
    Overloaded,
    ProviderError,
    RateLimited,
    StreamTruncated,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from agentfootprint.messages import LLMRequest, Message
from agentfootprint.providers import complete_from_stream
from agentfootprint.resilience import with_timeout
from tests.servers.llmock import Judge, judge

from .dialects import Dialect
from .test_wires import ask, every_dialect, read

TEXT = "Es ist verschickt: 📦 unterwegs, und kommt am Freitag bis Mittag an."
ARGUMENTS = {"order": "Ä-1", "deep": [1, {"x": None}]}
CALLS = [{"name": "look", "arguments": ARGUMENTS}, {"name": "look", "arguments": {"order": "B-2"}}]

both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def server() -> Judge:
    return judge("providers")


def at(dialect: Dialect, server: Judge) -> Any:
    return dialect.make(f"{server.url}/anthropic" if "anthropic" in dialect.name else server.url)


def says(
    text: str | None = TEXT, calls: list[dict[str, Any]] | None = None, times: int = 1
) -> dict[str, Any]:
    return {"type": "reply", "text": text, "tool_calls": calls or [], "times": times}


def breaks(kind: str, after: int) -> dict[str, Any]:
    return {"type": "stream_fault", "kind": kind, "after_chunks": after, "stall_seconds": 30}


@tool
async def look(order: str, deep: list[Any] | None = None) -> str:
    """Where an order is."""
    return f"{order}: shipped"


OFFERED = LLMRequest((Message.user("Where?"),), tools=(look.spec,))


@every_dialect
@both_ways
async def test_text_arrives_whole(server: Judge, dialect: Dialect, streamed: bool) -> None:
    server.reset(says())
    async with at(dialect, server) as provider:
        response = await ask(provider, streamed)
    assert (response.text, response.stop_reason) == (TEXT, "end")
    assert response.usage is not None
    assert response.usage.output_tokens > 0


@every_dialect
@both_ways
@pytest.mark.parametrize("count", [1, 2])
async def test_calls_arrive_whole(server: Judge, dialect: Dialect, streamed: bool, count: int) -> None:
    server.reset(says(None, CALLS[:count]))
    async with at(dialect, server) as provider:
        response = await (complete_from_stream(provider, OFFERED) if streamed else provider.complete(OFFERED))
    assert response.stop_reason == "tool_calls"
    assert [(call.name, call.arguments) for call in response.tool_calls] == [
        ("look", each["arguments"]) for each in CALLS[:count]
    ]
    assert len({call.id for call in response.tool_calls}) == count


async def run(provider: Any, streamed: bool) -> Any:
    agent = Agent(provider, tools=[look], max_tokens=100)
    if not streamed:
        return await agent.run("Where?")
    async with agent.stream("Where?") as live:
        async for _ in live:
            pass
    return live.result


@every_dialect
@both_ways
async def test_a_run_with_parallel_tools_reaches_its_answer(
    server: Judge, dialect: Dialect, streamed: bool
) -> None:
    server.reset(says(None, CALLS), says())
    async with at(dialect, server) as provider:
        result = await run(provider, streamed)
    assert result.output == TEXT
    assert [each.text for each in result.messages if each.role == "tool"] == ["Ä-1: shipped", "B-2: shipped"]
    assert server.findings() == []


@every_dialect
@both_ways
@pytest.mark.parametrize("kind", ["malformed_arguments", "unknown_tool"])
async def test_a_broken_call_is_told_to_the_model_and_the_run_goes_on(
    server: Judge, dialect: Dialect, streamed: bool, kind: str
) -> None:
    server.reset(says(None, CALLS[:1]), {"type": "tool_fault", "kind": kind}, says())
    async with at(dialect, server) as provider:
        result = await run(provider, streamed)
    assert result.output == TEXT
    [told] = [each for each in result.messages if each.role == "tool"]
    assert told.is_error


@every_dialect
@both_ways
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, InvalidRequest),
        (408, (TimedOut, Unavailable)),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, Unavailable),
        (503, (Unavailable, Overloaded)),  # the body may say more than the status
        (529, Overloaded),
    ],
)
async def test_an_error_is_told_by_its_name(
    server: Judge, dialect: Dialect, streamed: bool, status: int, kind: Any
) -> None:
    server.reset({"type": "fail", "status": status, "retry_after": 0.5})
    async with at(dialect, server) as provider:
        with pytest.raises(kind) as caught:
            await ask(provider, streamed)
    assert caught.value.status == status
    if status == 429:
        assert caught.value.retry_after == pytest.approx(0.5, abs=0.6)
    assert len(server.requests()) == 1


@every_dialect
@pytest.mark.parametrize("calls", [False, True], ids=["text", "calls"])
@pytest.mark.parametrize("kind", ["truncate", "disconnect", "malformed"])
@pytest.mark.parametrize("after", [0, 1, 3, 5])
async def test_a_broken_stream_is_no_answer(
    server: Judge, dialect: Dialect, calls: bool, kind: str, after: int
) -> None:
    server.reset(says(None, CALLS) if calls else says(), breaks(kind, after))
    async with at(dialect, server) as provider:
        with pytest.raises(ProviderError) as caught:
            await read(provider, OFFERED)
    assert caught.value.retryable
    if kind == "truncate" or (kind == "disconnect" and after):
        assert type(caught.value) is StreamTruncated


@every_dialect
async def test_a_stall_is_left_and_a_slow_first_token_is_waited_for(server: Judge, dialect: Dialect) -> None:
    server.reset(says(times=2), {"type": "slow_first_token", "seconds": 0.4})
    async with at(dialect, server) as provider:
        patient = with_timeout(provider, first_token=30, idle=0.3)
        assert (await read(patient))[0].text == TEXT
        server.reset(says(), breaks("stall", 8))
        with pytest.raises(TimedOut, match="middle"):
            await read(patient)
