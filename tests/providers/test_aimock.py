"""Every wire against a server that somebody else wrote from the vendors' documentation."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.errors import (
    ContextWindowExceeded,
    InvalidRequest,
    Overloaded,
    ProviderError,
    RateLimited,
    StreamTruncated,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from agentfootprint.messages import Reasoning, Text, ToolCall
from agentfootprint.resilience import with_timeout
from tests.servers.aimock import AIMock, aimock

from .dialects import Dialect
from .test_wires import ask, every_wire, read

TEXT = "Es ist verschickt: 📦 unterwegs."
CALLS: list[dict[str, Any]] = [
    {"id": "call_1", "name": "look", "arguments": {"order": "Ä-1", "deep": [1, {"x": None}]}},
    {"id": "call_2", "name": "look", "arguments": {"order": "B-2"}},
]
USAGE = {"prompt_tokens": 12, "completion_tokens": 5}

both_ways = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def server() -> AIMock:
    return aimock()


def answers(response: dict[str, Any], *, matching: dict[str, Any] | None = None, **more: Any) -> Any:
    return {"match": matching or {}, "response": response, "chunkSize": 3, **more}


@every_wire
@both_ways
async def test_text_and_usage_arrive(server: AIMock, dialect: Dialect, streamed: bool) -> None:
    server.reset(answers({"content": TEXT, "usage": USAGE}))
    async with dialect.make(server.url) as provider:
        response = await ask(provider, streamed)
    assert (response.text, response.stop_reason) == (TEXT, "end")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens) == (12, 5)
    (request,) = server.requests()
    assert [each["role"] for each in request["body"]["messages"]] == ["system", "user"]


@every_wire
async def test_text_arrives_in_pieces(server: AIMock, dialect: Dialect) -> None:
    server.reset(answers({"content": TEXT}))
    async with dialect.make(server.url) as provider:
        _, chunks = await read(provider)
    pieces = [chunk.text for chunk in chunks if chunk.text]
    assert "".join(pieces) == TEXT
    assert len(pieces) > 5


@every_wire
@both_ways
async def test_parallel_calls_arrive_after_text(server: AIMock, dialect: Dialect, streamed: bool) -> None:
    server.reset(answers({"content": "Moment", "toolCalls": CALLS}))
    async with dialect.make(server.url) as provider:
        response = await ask(provider, streamed)
    assert response.stop_reason == "tool_calls"
    assert response.text == "Moment"
    assert response.tool_calls == tuple(
        ToolCall(each["id"], each["name"], each["arguments"]) for each in CALLS
    )


@every_wire
@both_ways
async def test_reasoning_arrives_apart_from_the_text(
    server: AIMock, dialect: Dialect, streamed: bool
) -> None:
    server.reset(answers({"content": "Freitag", "reasoning": "The van leaves on Thursday."}))
    async with dialect.make(server.url) as provider:
        response = await ask(provider, streamed)
    thought, told = response.message.parts
    assert isinstance(thought, Reasoning)
    assert thought.text == "The van leaves on Thursday."
    assert isinstance(told, Text)
    assert response.text == "Freitag"


@every_wire
@both_ways
async def test_a_run_with_parallel_tools_reaches_its_answer(
    server: AIMock, dialect: Dialect, streamed: bool
) -> None:
    @tool
    async def look(order: str, deep: list[Any] | None = None) -> str:
        """Where an order is."""
        return f"{order}: shipped, {deep}"

    server.reset(
        answers({"toolCalls": CALLS}, matching={"hasToolResult": False}),
        answers({"content": TEXT}, matching={"toolResultContains": "B-2: shipped"}),
    )
    async with dialect.make(server.url) as provider:
        agent = Agent(provider, tools=[look], max_tokens=100)
        if streamed:
            async with agent.stream("Where?") as run:
                async for _ in run:
                    pass
            result = run.result
        else:
            result = await agent.run("Where?")
    assert result.output == TEXT
    _, last = server.requests()
    told = {
        each["tool_call_id"]: each["content"] for each in last["body"]["messages"] if each["role"] == "tool"
    }
    assert told == {"call_1": "Ä-1: shipped, [1, {'x': None}]", "call_2": "B-2: shipped, None"}
    offered = last["body"]["tools"][0]["function"]
    assert (offered["name"], offered["description"]) == ("look", "Where an order is.")


@every_wire
@both_ways
@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (400, InvalidRequest, {"message": "Bad.", "type": "invalid_request_error"}),
        (400, ContextWindowExceeded, {"message": "prompt is too long", "type": "invalid_request_error"}),
        (401, Unauthorized, {"message": "No.", "type": "authentication_error"}),
        (429, RateLimited, {"message": "Slow.", "type": "rate_limit_error"}),
        (500, Unavailable, {"message": "Oh.", "type": "api_error"}),
        (529, Overloaded, {"message": "Busy.", "type": "overloaded_error"}),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else None,
)
async def test_an_error_is_told_by_its_name(
    server: AIMock, dialect: Dialect, streamed: bool, status: int, kind: Any, error: dict[str, str]
) -> None:
    server.reset({"match": {}, "response": {"error": error, "status": status, "retryAfter": 7}})
    async with dialect.make(server.url) as provider:
        with pytest.raises(ProviderError) as caught:
            await ask(provider, streamed)
    assert type(caught.value) is kind
    assert caught.value.status == status
    if status == 429:
        assert caught.value.retry_after == 7
    assert len(server.requests()) == 1


@every_wire
@pytest.mark.parametrize("after", [2, 3, 5])
async def test_a_stream_that_is_cut_is_truncated(server: AIMock, dialect: Dialect, after: int) -> None:
    server.reset(answers({"content": TEXT}, truncateAfterChunks=after, latency=10))
    async with dialect.make(server.url) as provider:
        with pytest.raises(StreamTruncated):
            await read(provider)


@every_wire
async def test_a_stream_that_stalls_is_left(server: AIMock, dialect: Dialect) -> None:
    gaps = [1] * 12 + [60_000]
    timing = {"ttftMs": 0, "interChunkDelaysMs": gaps, "totalDurationMs": sum(gaps)}
    server.reset(answers({"content": TEXT}, recordedTimings=timing, chunkSize=1))
    begin = time.monotonic()
    async with dialect.make(server.url) as provider:
        with pytest.raises(TimedOut, match="middle"):
            await read(with_timeout(provider, first_token=50, idle=0.3))
    assert time.monotonic() - begin < 40


@every_wire
@both_ways
@pytest.mark.parametrize(
    ("fault", "kind"),
    [("malformedRate", Unavailable), ("disconnectRate", Unavailable), ("dropRate", Unavailable)],
)
async def test_what_is_no_answer_is_not_taken_for_one(
    server: AIMock, dialect: Dialect, streamed: bool, fault: str, kind: Any
) -> None:
    server.reset(answers({"content": TEXT}))
    server.chaos(**{fault: 1})
    async with dialect.make(server.url) as provider:
        with pytest.raises(kind):
            await ask(provider, streamed)
        server.chaos()
        assert (await ask(provider, streamed)).text == TEXT
