"""Every wire over every transport gives the same: answers whole and streamed, and failures by name."""

from __future__ import annotations

import asyncio
import email.utils
import gc
import itertools
import json
import logging
import time
import traceback
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
from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse, Message, ToolCall, ToolSpec, Usage
from agentfootprint.providers import MockProvider
from tests.providers.amazon import Binary
from tests.providers.dialects import BEDROCK, DIALECTS, KEY, Call, Dialect
from tests.providers.server import Exchange, ScriptedServer, beats, breaks, says, stays_silent, streams
from tests.servers.databases import free_port

REQUEST = LLMRequest((Message.user("Where is order Ä-1?"),), system="Be brief.")
CALLS: list[Call] = [
    ("c1", "look", {"order": "Ä-1", "deep": [1, {"x": None}]}),
    ("c2", "look", {"order": "B-2"}),
]

every_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.name)
every_wire = pytest.mark.parametrize("dialect", [*DIALECTS, BEDROCK], ids=lambda each: each.name)


async def read(provider: Any, request: LLMRequest = REQUEST) -> tuple[LLMResponse, list[LLMChunk]]:
    chunks = [chunk async for chunk in provider.stream(request)]
    assert [chunk.response is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    response = chunks[-1].response
    assert response is not None
    return response, chunks[:-1]


async def ask(provider: Any, streamed: bool) -> LLMResponse:
    if streamed:
        return (await read(provider))[0]
    response: LLMResponse = await provider.complete(REQUEST)
    return response


@every_wire
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_an_answer_is_the_same_whole_and_streamed(dialect: Dialect, size: int) -> None:
    text = "Es ist verschickt: 📦 unterwegs."
    scripts = [says(dialect.answer(text)), streams(dialect.stream(text), size)]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        whole = await provider.complete(REQUEST)
        response, chunks = await read(provider)
    assert whole == response
    assert (whole.text, whole.stop_reason, whole.provider) == (text, "end", provider.name)
    assert "".join(chunk.text for chunk in chunks) == text
    assert len(chunks) > 3
    assert whole.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens, whole.usage.cache_read_tokens) == (
        130,
        5,
        100,
    )


@every_wire
async def test_parallel_calls_keep_apart_although_their_pieces_alternate(dialect: Dialect) -> None:
    scripts = [says(dialect.answer("Ich", CALLS)), streams(dialect.stream("Ich", CALLS))]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        whole = await provider.complete(REQUEST)
        response, chunks = await read(provider)
    assert whole == response
    assert whole.stop_reason == "tool_calls"
    assert whole.tool_calls == tuple(ToolCall(*call) for call in CALLS)
    drafts = [chunk.tool_call_delta for chunk in chunks if chunk.tool_call_delta is not None]
    assert [(d.index, d.id, d.name) for d in drafts if d.id] == [(0, "c1", "look"), (1, "c2", "look")]
    assert {d.index for d in drafts} == {0, 1}


@every_wire
@pytest.mark.parametrize("streamed", [False, True])
async def test_an_agent_runs_on_it_as_on_the_mock(dialect: Dialect, streamed: bool) -> None:
    @tool
    async def look(order: str, deep: list[Any] | None = None) -> str:
        """Where an order is."""
        return f"{order}: shipped"

    async def run(provider: Any) -> tuple[list[str], list[str], Any]:
        agent = Agent(provider, tools=[look], system="Be brief.", max_tokens=100)
        kinds: list[str] = []
        agent.on("*", lambda event: kinds.append(event.type))
        if streamed:
            async with agent.stream("Where?") as live:
                async for _ in live:
                    pass
            result = live.result
        else:
            result = await agent.run("Where?")
        collapsed = [kind for at, kind in enumerate(kinds) if not at or kinds[at - 1] != kind]
        steps = [f"{step.id} {step.status}" for step in result.footprint.steps]
        return collapsed, steps, result

    turns: list[tuple[str, list[Call]]] = [("", CALLS), ("Both have shipped.", [])]
    how = dialect.stream if streamed else dialect.answer
    send: Any = streams if streamed else says
    scripts = [send(how(*turn)) for turn in turns]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        kinds, steps, result = await run(provider)
    calls = [MockProvider.call(name, **given) for _, name, given in CALLS]
    mock_kinds, mock_steps, mocked = await run(MockProvider(replies=[calls, "Both have shipped."]))
    assert result.output == mocked.output
    assert (kinds, steps) == (mock_kinds, mock_steps)
    assert _untimed(result.footprint.narrative()) == _untimed(mocked.footprint.narrative())


def _untimed(story: str) -> list[str]:
    return [line.rpartition(" (")[0] or line for line in story.splitlines()]


@every_wire
async def test_the_prefix_of_a_conversation_stays_as_it_was(dialect: Dialect) -> None:
    @tool
    async def look(order: str, deep: Any = None) -> str:
        """Where an order is."""
        return "shipped"

    scripts = [
        says(dialect.answer("", CALLS)),
        says(dialect.answer("Shipped.")),
        says(dialect.answer("Yes.")),
    ]
    async with ScriptedServer(scripts) as server, dialect.make(server.url) as provider:
        agent = Agent(provider, tools=[look], system="Be brief.")
        first = await agent.run("Where?")
        await agent.run("Really?", messages=first.messages)
    bodies = [exchange.body for exchange in server.seen]
    assert len(bodies) == 3
    for earlier, later in itertools.pairwise(bodies):
        for key, value in earlier.items():
            if key in ("messages", "input"):
                assert later[key][: len(value)] == value
            else:
                assert later[key] == value
        assert list(earlier) == list(later)


# ── failures ────────────────────────────────────────────────────────────────────────────────────

A_DATE = "3000 seconds from when it is sent"

STATUSES: list[tuple[int, type[ProviderError], dict[str, str], float | None]] = [
    (400, InvalidRequest, {}, None),
    (401, Unauthorized, {}, None),
    (403, Unauthorized, {}, None),
    (404, InvalidRequest, {}, None),
    (408, TimedOut, {}, None),
    (429, RateLimited, {"retry_after": "7"}, 7),
    (429, RateLimited, {"retry_after_ms": "250"}, 0.25),
    (429, RateLimited, {"retry_after": A_DATE}, 3000),
    (429, RateLimited, {}, None),
    (500, Unavailable, {}, None),
    (503, Overloaded, {}, None),
    (529, Overloaded, {"retry_after": "-5"}, 0),
]


@every_wire
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("status", "kind", "headers", "wait"), STATUSES)
async def test_a_status_is_an_error_by_its_name(
    dialect: Dialect,
    streamed: bool,
    status: int,
    kind: type[ProviderError],
    headers: dict[str, str],
    wait: float | None,
) -> None:
    date = email.utils.formatdate(time.time() + 3000, usegmt=True)
    sent = {name: date if value == A_DATE else value for name, value in headers.items()}
    script = says({"error": {"message": "because"}}, status, x_request_id="req-1", **sent)
    async with ScriptedServer([script]) as server, dialect.make(server.url) as provider:
        with pytest.raises(kind, match="because") as caught:
            await ask(provider, streamed)
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.provider) == (status, provider.name)
    assert error.details["request_id"] == "req-1"
    assert len(server.seen) == 1, "the SDK retried by itself"
    assert error.retry_after == (
        None if wait is None else pytest.approx(wait, abs=600 if wait == 3000 else 0)
    )


@every_wire
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_conversation_that_is_too_long_is_told_as_that(dialect: Dialect, streamed: bool) -> None:
    script = says(dialect.context_error, 400)
    async with ScriptedServer([script]) as server, dialect.make(server.url) as provider:
        with pytest.raises(ContextWindowExceeded):
            await ask(provider, streamed)


@every_wire
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_page_with_status_200_is_no_answer(dialect: Dialect, streamed: bool) -> None:
    script = says(b"<html><title>Welcome</title></html>", content_type="text/html")
    async with ScriptedServer([script]) as server, dialect.make(server.url) as provider:
        with pytest.raises(Unavailable, match="proxy"):
            await ask(provider, streamed)


@every_wire
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_connection_that_breaks_before_the_answer_is_unavailable(
    dialect: Dialect, streamed: bool
) -> None:
    async with ScriptedServer([breaks]) as server, dialect.make(server.url) as provider:
        with pytest.raises(Unavailable) as caught:
            await ask(provider, streamed)
    assert caught.value.retryable


@every_wire
async def test_a_server_that_is_not_there_is_unavailable(dialect: Dialect) -> None:
    async with ScriptedServer([breaks]) as server:
        url = server.url
    async with dialect.make(url) as provider:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await provider.complete(REQUEST)


@every_wire
async def test_a_stream_cut_anywhere_is_truncated_and_never_an_answer(dialect: Dialect) -> None:
    events = dialect.stream("A whole answer.")
    ends = [event for event in events if event != "[DONE]"]
    for until in range(len(ends) - dialect.tail):
        for then in (None, breaks):
            script = streams(events[: until + 1], 1000, then)
            async with ScriptedServer([script]) as server, dialect.make(server.url) as provider:
                with pytest.raises(StreamTruncated):
                    await read(provider)


@every_wire
@pytest.mark.parametrize("after", [0, 3])
async def test_an_error_within_a_stream_is_that_error(dialect: Dialect, after: int) -> None:
    events = [*dialect.stream("A whole answer.")[:after], dialect.error_event]
    async with ScriptedServer([streams(events)]) as server, dialect.make(server.url) as provider:
        with pytest.raises((Overloaded, Unavailable), match="Overloaded"):
            await read(provider)


@every_wire
async def test_an_event_that_is_no_json_makes_the_answer_no_answer(dialect: Dialect) -> None:
    events = [*dialect.stream("A whole answer.")[:2], b'data: {"type": "content_bl\n\n']
    async with ScriptedServer([streams(events)]) as server, dialect.make(server.url) as provider:
        with pytest.raises(StreamTruncated, match=r"no JSON|ChecksumMismatch"):
            await read(provider)


@every_wire
async def test_a_reader_that_leaves_closes_the_connection_at_once(dialect: Dialect) -> None:
    script = streams(dialect.stream("A whole answer.")[:4], 1000, beats)
    async with ScriptedServer([script]) as server, dialect.make(server.url) as provider:
        chunks = provider.stream(REQUEST)
        async for _ in chunks:
            break
        await chunks.aclose()
        await server.seen[0].closed(5)


@every_wire
async def test_a_server_that_closes_late_and_without_a_word_costs_no_attempt(dialect: Dialect) -> None:
    async def closes_late(exchange: Exchange) -> None:
        await streams(dialect.stream("Whole."), connection="keep-alive")(exchange)
        await asyncio.sleep(0.1)

    async with ScriptedServer([closes_late]) as server, dialect.make(server.url) as provider:
        for _ in range(3):
            assert (await read(provider))[0].text == "Whole."


@every_wire
async def test_a_cancelled_call_closes_the_connection_at_once(dialect: Dialect) -> None:
    arrived = asyncio.Event()

    async def silent(exchange: Exchange) -> None:
        arrived.set()
        await stays_silent(exchange)

    async with ScriptedServer([silent]) as server, dialect.make(server.url) as provider:
        task = asyncio.create_task(provider.complete(REQUEST))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.seen[0].closed(5)


@every_wire
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_key_is_sent_and_never_told(
    dialect: Dialect, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = says({"error": {"message": f"the key {KEY} is wrong"}}, 401)
    told = ""
    async with ScriptedServer([echo, breaks]) as server, dialect.make(server.url) as provider:
        for _ in range(2):
            with pytest.raises(ProviderError) as caught:
                await ask(provider, streamed)
            told += "".join(traceback.format_exception(caught.value)) + repr(caught.value.details)
        told += repr(provider) + repr(vars(provider)["_wire"])
    assert KEY in str(server.seen[0].headers)
    assert KEY not in told
    assert KEY not in caplog.text


@every_wire
def test_one_provider_serves_one_event_loop_after_the_other(dialect: Dialect) -> None:
    port = free_port()
    provider = dialect.make(f"http://127.0.0.1:{port}")

    async def once() -> str:
        async with ScriptedServer([says(dialect.answer("Hi."))], port=port):
            return str((await provider.complete(REQUEST)).text)

    assert [asyncio.run(once()) for _ in range(3)] == ["Hi."] * 3
    gc.collect()  # A connection that its loop left open would be told here.


# The brace that ends the arguments, in the last of their pieces and in the whole.
_LAST, _CUT = '1\\"}"', '1\\""'


@every_wire
async def test_arguments_that_are_no_json_come_as_they_were_written(dialect: Dialect) -> None:
    events = dialect.stream("", [("c1", "look", {"order": "A-1"})])
    broken = json.loads(json.dumps(events).replace(_LAST, _CUT))
    if isinstance(events[0], Binary):
        broken = [Binary(event) for event in broken]
    async with ScriptedServer([streams(broken)]) as server, dialect.make(server.url) as provider:
        response, _ = await read(provider)
    [call] = response.tool_calls
    assert (call.arguments, call.name) == ({}, "look")
    assert call.raw is not None


@every_wire
@pytest.mark.parametrize(("stop", "kind"), [("length", "max_tokens"), ("filter", None)])
async def test_an_answer_that_was_cut_says_so(dialect: Dialect, stop: str, kind: str | None) -> None:
    script = says(dialect.answer("Half an", [], stop))
    async with ScriptedServer([script]) as server, dialect.make(server.url) as provider:
        response = await provider.complete(REQUEST)
    assert response.stop_reason == (kind or ("refusal" if "anthropic" in dialect.name else "content_filter"))


@every_wire
async def test_tools_limits_and_schemas_reach_the_wire(dialect: Dialect) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    request = LLMRequest(
        (Message.user("Where?"),), "Be brief.", (ToolSpec("look", "Looks.", schema),), schema, 77, 0.5
    )
    async with ScriptedServer([says(dialect.answer("{}"))]) as server, dialect.make(server.url) as provider:
        await provider.complete(request)
    [exchange] = server.seen
    sent = str(exchange.body)
    assert "Be brief." in sent
    assert sent.count("additionalProperties") == 2
    limits = exchange.body.get("inferenceConfig", exchange.body)
    assert limits["temperature"] == 0.5
    assert 77 in limits.values()


async def test_usage_that_is_not_reported_is_not_zero() -> None:
    dialect = DIALECTS[2]
    answer = dialect.answer("Hi.")
    del answer["usage"]
    async with ScriptedServer([says(answer)]) as server, dialect.make(server.url) as provider:
        assert (await provider.complete(REQUEST)).usage is None
        assert Usage() is not None
