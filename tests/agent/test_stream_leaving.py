"""Readers who leave a stream: what ends with them, what goes on, and what stays whole."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.agent.stream import BUFFER_SIZE
from agentfootprint.errors import (
    Overloaded,
    RunError,
)
from agentfootprint.events import (
    RunEnded,
    RunFailed,
    TextDelta,
)
from agentfootprint.messages import LLMChunk, LLMRequest
from agentfootprint.state import InMemoryState
from tests.agent.streaming import ME, Endless, echo, read
from tests.agent.support import Events, Model, call, completed, mock_of, others, scripted, ticks, whole


async def break_in_a_block(agent: Agent[Any, str]) -> Any:
    async with agent.stream("Go.", identity=ME) as run:
        async for event in run:
            if isinstance(event, TextDelta):
                break
    return run


async def break_without_a_block(agent: Agent[Any, str]) -> Any:
    run = agent.stream("Go.", identity=ME)
    async for event in run:
        if isinstance(event, TextDelta):
            break
    return run


async def error_in_the_body(agent: Agent[Any, str]) -> Any:
    run = agent.stream("Go.", identity=ME)
    try:
        async with run:
            async for event in run:
                if isinstance(event, TextDelta):
                    raise ZeroDivisionError
    except ZeroDivisionError:
        return run
    raise AssertionError("the error of the body must come out")


async def block_without_reading(agent: Agent[Any, str]) -> Any:
    assert isinstance(agent.provider, Endless)
    async with agent.stream("Go.", identity=ME) as run:
        await agent.provider.started.wait()
    return run


LEAVING = [break_in_a_block, break_without_a_block, error_in_the_body, block_without_reading]


@pytest.mark.parametrize("leave", LEAVING)
async def test_leaving_early_cancels_the_run_and_closes_the_models_stream(leave: Any) -> None:
    provider, seen = Endless(), Events()
    agent = Agent(provider, recorders=[seen], state=InMemoryState())
    before = others()
    async with asyncio.timeout(10):
        run = await leave(agent)
        await provider.closed.wait()
        await ticks(20)
    assert [e.error for e in seen.of(RunFailed)] == ["cancelled"]
    assert seen.types[-1] == "run.failed"
    assert others() <= before
    with pytest.raises(RunError, match="cancelled"):
        run.result  # noqa: B018


@pytest.mark.parametrize("leave", LEAVING)
async def test_after_leaving_the_conversation_is_whole_and_free(leave: Any) -> None:
    provider = Endless()
    agent = Agent(provider, state=InMemoryState())
    async with asyncio.timeout(10):
        await leave(agent)
        await provider.closed.wait()
        result = await agent.run("And now?", identity=ME, busy_timeout=5)
    assert completed(result).output == "done"
    assert whole(result.messages)
    assert [m.text for m in result.messages] == ["Go.", "And now?", "done"]


async def test_leaving_during_tools_keeps_what_they_did() -> None:
    looked = asyncio.Event()

    @tool
    async def look() -> str:
        """Looks."""
        looked.set()
        return "seen"

    @tool
    async def hang() -> str:
        """Hangs."""
        await asyncio.Event().wait()
        return "never"

    agent = scripted([call("look"), call("hang")], "Go on.", tools=[look, hang], state=InMemoryState())
    async with asyncio.timeout(10):
        async with agent.stream("Go.", identity=ME) as run:
            async for event in run:
                if event.type == "tool.ended":
                    break
        result = await agent.run("And now?", identity=ME)
    told = [(m.text, m.is_error) for m in result.messages if m.role == "tool"]
    assert told[0] == ("seen", False)
    assert told[1][1]
    assert "cut off" in told[1][0]
    assert whole(mock_of(agent).requests[1].messages)


@pytest.mark.parametrize("leave", ["block", "bare"])
async def test_a_run_may_finish_without_its_reader(leave: str) -> None:
    provider, ended = Endless(), asyncio.Event()
    agent = Agent(provider, state=InMemoryState())
    agent.on(RunEnded, lambda event: ended.set())
    before = others()
    run = agent.stream("Go.", identity=ME, on_disconnect="finish")
    async with asyncio.timeout(10):
        if leave == "block":
            async with run:
                async for event in run:
                    if isinstance(event, TextDelta):
                        break
        else:
            async for event in run:
                if isinstance(event, TextDelta):
                    break
        provider.enough = 3 * BUFFER_SIZE  # more than fits between the model and its reader
        await ended.wait()
        await ticks()
    assert completed(run.result).output == "x" * provider.written
    assert others() == before


async def test_an_unattended_run_that_fails_is_told_and_raises_nowhere_else() -> None:
    go = asyncio.Event()

    async def stream(request: LLMRequest) -> AsyncIterator[LLMChunk]:
        yield LLMChunk(text="x")
        await go.wait()
        raise Overloaded("busy", provider="test")

    seen = Events()
    run = Agent(Model(stream=stream), recorders=[seen]).stream("Go.", on_disconnect="finish")
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    async with run:
        async for event in run:
            if isinstance(event, TextDelta):
                break
    go.set()
    await ticks(20)
    assert [e.error for e in seen.of(RunFailed)] == ["overloaded"]
    with pytest.raises(Overloaded):
        run.result  # noqa: B018
    del run
    gc.collect()
    assert complaints == []


async def test_a_cancelled_reader_cancels_its_run() -> None:
    provider = Endless()
    agent = Agent(provider)
    reading = asyncio.Event()
    before = others()

    async def reader() -> None:
        async with agent.stream("Go.") as run:
            async for _ in run:
                reading.set()

    task = asyncio.create_task(reader())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert provider.closed.is_set()
    await ticks()
    assert others() == before


async def test_closing_twice_and_closing_what_never_started_do_nothing() -> None:
    unused = scripted("never").stream("Hi.")
    await unused.aclose()
    run = scripted("Hello.").stream("Hi.")
    async for _ in run:
        pass
    await run.aclose()
    await run.aclose()
    assert completed(run.result).output == "Hello."


async def test_nothing_runs_on_after_any_end_of_a_run() -> None:
    before = others()
    agent = scripted([call("echo", text="x")] * 3, "done", tools=[echo], state=InMemoryState())
    await agent.run("Go.", identity=ME)
    await ticks()
    assert others() == before
    await read(scripted([call("echo", text="x")] * 3, "done", tools=[echo]), "Go.")
    await ticks()
    assert others() == before
