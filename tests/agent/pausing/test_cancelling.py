"""Runs that are cancelled: they raise, and leave a conversation that goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.errors import (
    CheckpointUsed,
)
from agentfootprint.messages import LLMRequest
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState

from .support import ALICE, assert_whole, call, cancelled, go_on, must_pause, output_of


async def test_a_cancelled_run_raises_and_leaves_a_conversation_that_goes_on() -> None:
    entered = asyncio.Event()

    @tool
    async def quick() -> str:
        return "quick is done"

    @tool
    async def endless() -> str:
        entered.set()
        await asyncio.sleep(3600)
        return "never"

    provider = MockProvider(replies=[[call("quick"), call("endless")], "Yes?"])
    agent: Agent[Any, Any] = Agent(provider, tools=[quick, endless], state=InMemoryState())
    running = asyncio.ensure_future(agent.run("Go", identity=ALICE))
    await entered.wait()
    await cancelled(running)
    result = await agent.run("Still there?", identity=ALICE)
    assert output_of(result) == "Yes?"
    assert_whole(provider.requests[-1].messages)
    told = [m.text for m in provider.requests[-1].messages if m.role == "tool"]
    assert told[0] == "quick is done"
    assert "cut off while it ran" in told[1]


async def test_a_run_cancelled_while_the_model_thinks_keeps_the_question() -> None:
    thinking = asyncio.Event()

    async def respond(request: LLMRequest) -> str:
        if len(request.messages) == 1:
            thinking.set()
            await asyncio.sleep(3600)
        return "done"

    provider = MockProvider(respond=respond)
    agent: Agent[Any, Any] = Agent(provider, state=InMemoryState())
    running = asyncio.ensure_future(agent.run("First", identity=ALICE))
    await thinking.wait()
    await cancelled(running)
    await agent.run("Second", identity=ALICE)
    assert [m.text for m in provider.requests[-1].messages] == ["First", "Second"]


async def test_a_resumed_run_that_is_cancelled_keeps_its_turn_and_is_not_resumed_again() -> None:
    entered = asyncio.Event()
    done: list[str] = []

    @tool(approval=True)
    async def pay() -> str:
        done.append("paid")
        entered.set()
        await asyncio.sleep(3600)
        return "never"

    provider = MockProvider(replies=[call("pay"), "Yes?"])
    agent: Agent[Any, Any] = Agent(provider, tools=[pay], state=InMemoryState())
    paused = must_pause(await agent.run("Pay", identity=ALICE))
    running = asyncio.ensure_future(go_on(agent, paused, True))
    await entered.wait()
    await cancelled(running)
    with pytest.raises(CheckpointUsed, match="outcome of its calls is unknown"):
        await go_on(agent, paused, True)
    await agent.run("And?", identity=ALICE)
    messages = provider.requests[-1].messages
    assert_whole(messages)
    assert [m.role for m in messages] == ["user", "assistant", "tool", "user"]
    assert "cut off while it ran" in messages[2].text
    assert done == ["paid"]


async def test_a_stream_that_nobody_reads_on_leaves_a_conversation_that_goes_on() -> None:
    done: list[str] = []

    @tool
    async def work() -> str:
        done.append("work")
        return "worked"

    provider = MockProvider(replies=[["One moment.", call("work")], "done", "Hello again"])
    agent: Agent[Any, Any] = Agent(provider, tools=[work], state=InMemoryState())
    async with agent.stream("Go", identity=ALICE) as run:
        async for _ in run:
            break
    result = await agent.run("Back", identity=ALICE)
    assert_whole(result.messages)
    assert [m.text for m in result.messages if m.role == "user"] == ["Go", "Back"]
