"""A streamed run is the same run, seen live; leaving early has one meaning, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfootprint import Agent, Paused, tool
from agentfootprint.agent.stream import BUFFER_SIZE
from agentfootprint.errors import (
    InputInvalid,
    Overloaded,
    StepFailed,
    StreamTruncated,
)
from agentfootprint.events import (
    Event,
    ModelEnded,
    ModelStarted,
    ReasoningDelta,
    RunEnded,
    RunFailed,
    TextDelta,
    ToolCallDrafted,
)
from agentfootprint.flow.rows import canonical_rows
from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse, Reasoning, Text, ToolCall
from agentfootprint.providers import MockProvider
from tests.agent.streaming import Endless, echo, fail, read
from tests.agent.support import Events, Model, call, completed, scripted, ticks

# ── the same run ────────────────────────────────────────────────────────────────────────────────

_texts = st.text(st.characters(codec="utf-8"), max_size=40)


_call = st.builds(
    lambda name, text: MockProvider.call(name, text=text),
    st.sampled_from(["echo", "fail", "no_such"]),
    _texts,
)


_bad_call = st.just(LLMResponse(tool_calls=(ToolCall("x", "echo", raw='{"text'),)))


_replies = st.one_of(
    _call,
    _bad_call,
    st.lists(st.one_of(_call, _texts), min_size=1, max_size=4),
    st.builds(lambda text: LLMResponse(parts=[Reasoning(text, "sig"), Text(text or "…")]), _texts),
    _texts,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_replies, min_size=1, max_size=5), st.integers(1, 40), st.integers(1, 4))
def test_a_streamed_run_leaves_the_same_record_and_messages_as_a_plain_one(
    replies: list[Any], chunk_size: int, max_iterations: int
) -> None:
    def agent() -> Agent[Any, str]:
        provider = MockProvider(replies=[*replies, "End.", "End."], chunk_size=chunk_size)
        return Agent(provider, tools=[echo, fail], max_iterations=max_iterations)

    async def both() -> None:
        plain = await agent().run("Go.")
        events, streamed = await read(agent(), "Go.")
        assert type(streamed) is type(plain)
        assert streamed.output == plain.output
        assert list(streamed.messages) == list(plain.messages)
        assert streamed.usage == plain.usage
        assert canonical_rows(streamed.footprint.steps) == canonical_rows(plain.footprint.steps)
        # The pieces of the last model call are its text.
        last = max(at for at, event in enumerate(events) if isinstance(event, ModelStarted))
        assert "".join(e.text for e in events[last:] if isinstance(e, TextDelta)) == plain.output

    asyncio.run(both())


async def test_pieces_come_while_the_model_writes() -> None:
    agent = Agent(MockProvider(reply="It has shipped, today.", chunk_size=5))
    events, result = await read(agent, "Where is it?")
    texts = [e.text for e in events if isinstance(e, TextDelta)]
    assert texts == ["It ha", "s shi", "pped,", " toda", "y."]
    assert completed(result).output == "".join(texts)
    (ended,) = [e for e in events if isinstance(e, ModelEnded)]
    assert ended.chunks == 5
    assert ended.first_token is not None
    assert isinstance(events[-1], RunEnded)


async def test_thoughts_and_calls_come_in_pieces_too() -> None:
    reply = LLMResponse(parts=[Reasoning("First I look."), ToolCall("c1", "echo", {"text": "hello"})])
    events, _ = await read(scripted(reply, "done", tools=[echo]), "Go.")
    assert "".join(e.text for e in events if isinstance(e, ReasoningDelta)) == "First I look."
    drafted = [e for e in events if isinstance(e, ToolCallDrafted)]
    assert (drafted[0].call_id, drafted[0].tool) == ("c1", "echo")
    assert "".join(e.arguments for e in drafted) == '{"text":"hello"}'


async def test_text_that_comes_with_the_last_chunk_is_not_lost() -> None:
    async def stream(request: LLMRequest) -> AsyncIterator[LLMChunk]:
        yield LLMChunk(text="Hello ")
        yield LLMChunk(text="world.", response=LLMResponse("Hello world."))

    events, result = await read(Agent(Model(stream=stream)), "Hi.")
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == result.output


async def test_the_model_is_streamed_only_when_somebody_reads_along() -> None:
    async def stream(request: LLMRequest) -> AsyncIterator[LLMChunk]:
        yield LLMChunk(text="streamed")
        yield LLMChunk(response=LLMResponse("streamed"))

    seen = Events()
    agent = Agent(Model(lambda request: LLMResponse("whole"), stream), recorders=[seen])
    assert completed(await agent.run("Hi.")).output == "whole"
    _, result = await read(agent, "Hi.")
    assert result.output == "streamed"
    assert [e.streamed for e in seen.of(ModelStarted)] == [False, True]


async def test_recorders_see_a_streamed_run_in_the_order_of_its_reader() -> None:
    seen = Events()
    agent = scripted(call("echo", text="x"), "done", tools=[echo], recorders=[seen])
    events, _ = await read(agent, "Go.")
    assert events == seen.seen


async def test_a_run_that_pauses_ends_its_stream() -> None:
    @tool(approval=True)
    async def pay() -> str:
        """Pays."""
        return "paid"

    events, result = await read(scripted(call("pay"), tools=[pay]), "Pay.")
    assert events[-1].type == "run.paused"
    assert isinstance(result, Paused)


async def test_iterating_without_a_block_reads_the_run_to_its_end() -> None:
    stream = scripted("Hello.").stream("Hi.")
    events = [event async for event in stream]
    assert isinstance(events[-1], RunEnded)
    assert completed(stream.result).output == "Hello."
    assert [event async for event in stream] == []


async def test_a_result_is_there_only_after_the_end() -> None:
    async with scripted("Hello.").stream("Hi.") as run:
        with pytest.raises(InputInvalid, match="has not ended"):
            run.result  # noqa: B018
        async for _ in run:
            pass
    assert completed(run.result).output == "Hello."


# ── errors ──────────────────────────────────────────────────────────────────────────────────────


async def test_an_error_of_the_run_is_raised_where_its_events_end_and_by_its_result() -> None:
    busy = MockProvider.fail(Overloaded("busy", provider="mock"), after_chunks=2)
    stream = scripted(busy).stream("Hi.")
    events: list[Event] = []

    async def reader() -> None:
        async with stream as run:
            async for event in run:
                events.append(event)

    with pytest.raises(Overloaded) as caught:
        await reader()
    assert [e.type for e in events][-2:] == ["step.ended", "run.failed"]
    assert len([e for e in events if isinstance(e, TextDelta)]) == 2
    assert caught.value.footprint is not None
    assert caught.value.checkpoint is not None
    with pytest.raises(Overloaded):
        stream.result  # noqa: B018


async def test_input_that_is_refused_is_raised_where_the_events_would_begin() -> None:
    with pytest.raises(InputInvalid):
        await read(scripted("never"), "")


async def test_a_stream_without_its_end_is_no_answer() -> None:
    async def stream(request: LLMRequest) -> AsyncIterator[LLMChunk]:
        yield LLMChunk(text="Half an ans")

    seen = Events()
    with pytest.raises(StreamTruncated, match="test: the stream ended without its final chunk"):
        await read(Agent(Model(stream=stream), recorders=[seen]), "Hi.")
    assert [e.error for e in seen.of(RunFailed)] == ["stream_truncated"]
    assert seen.types.count("model.failed") == 1


async def test_an_error_of_any_kind_inside_the_stream_is_told_as_the_models() -> None:
    async def stream(request: LLMRequest) -> AsyncIterator[LLMChunk]:
        yield LLMChunk(text="Half")
        raise ConnectionResetError("peer")

    seen = Events()
    with pytest.raises(StepFailed):
        await read(Agent(Model(stream=stream), recorders=[seen]), "Hi.")
    assert seen.types.count("model.started") == seen.types.count("model.failed") == 1


# ── back-pressure ───────────────────────────────────────────────────────────────────────────────


async def test_the_model_is_never_more_than_the_buffer_ahead_of_its_reader() -> None:
    provider = Endless()
    provider.enough = 3 * BUFFER_SIZE
    read = ahead = 0
    async with Agent(provider).stream("Go.") as run:
        async for event in run:
            if isinstance(event, TextDelta):
                read += 1
                if read % 100 == 1:
                    await ticks(3 * BUFFER_SIZE)
                    ahead = max(ahead, provider.written - read)
    assert read == 3 * BUFFER_SIZE
    assert BUFFER_SIZE // 4 < ahead <= BUFFER_SIZE


async def test_nothing_is_lost_between_a_fast_model_and_a_slow_reader() -> None:
    provider = Endless()
    provider.enough = 2 * BUFFER_SIZE + 7
    texts = 0
    async with Agent(provider).stream("Go.") as run:
        async for event in run:
            texts += isinstance(event, TextDelta)
            await asyncio.sleep(0)
    assert texts == provider.enough == len(str(completed(run.result).output))
