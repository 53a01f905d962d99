"""Tools that get in the way of a pause: what is not theirs to catch passes, or fails loudly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentfootprint import ToolContext, ask_human, tool
from agentfootprint.errors import FlowInvalid, ToolError

from .asking import agent_of, asked_of
from .support import assert_whole, go_on, must_pause, results_of


async def test_a_tool_that_catches_exceptions_lets_the_pause_pass() -> None:
    @tool
    async def careful() -> str:
        try:
            return str(await ask_human("Sure?"))
        except Exception:
            return "swallowed"

    agent = agent_of(careful)
    result = await go_on(agent, must_pause(await agent.run("Go")), "yes")
    assert results_of(result.messages) == {"careful": "yes"}


@pytest.mark.parametrize("then", ["return", "raise"])
async def test_an_async_tool_that_swallows_the_pause_fails_loudly(then: str) -> None:
    @tool
    async def greedy() -> str:
        try:
            return str(await ask_human("Sure?"))
        except BaseException:
            if then == "raise":
                raise ToolError("hidden") from None
            return "swallowed"

    agent = agent_of(greedy)
    with pytest.raises(FlowInvalid, match="went on without the answer"):
        await agent.run("Go")
    assert len(asked_of(agent)) == 1


async def test_a_plain_tool_that_swallows_the_pause_fails_loudly() -> None:
    @tool
    def greedy(ctx: ToolContext[Any]) -> str:
        try:
            return str(ctx.ask("Sure?"))
        except BaseException:
            return "swallowed"

    agent = agent_of(greedy)
    with pytest.raises(FlowInvalid, match="went on without the answer"):
        await agent.run("Go")


async def test_a_question_within_a_time_limit_pauses_all_the_same() -> None:
    @tool(timeout=30)
    async def slow() -> str:
        async with asyncio.timeout(20):
            return str(await ask_human("Sure?"))

    agent = agent_of(slow, timeout=60)
    result = await go_on(agent, must_pause(await agent.run("Go")), "yes")
    assert results_of(result.messages) == {"slow": "yes"}
    assert_whole(result.messages)
