from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import anyio
import pytest

from agentfootprint import Agent
from agentfootprint.providers import MockProvider
from agentfootprint.tools import PrefixedToolset, RunContext, StaticToolset, Tool

context: ContextVar[str] = ContextVar("context", default="nobody's")


def find(city: str) -> str:
    """Finds."""
    return city


class Managed:
    """A toolset that is open between entering and leaving, with a scope that only its own task may leave."""

    def __init__(self, fails: int = 0) -> None:
        self.fails = fails
        self.log: list[str] = []
        self.seen: list[str] = []

    async def tools(self, ctx: RunContext) -> Sequence[Tool[..., Any]]:
        assert self.log, "not entered"
        assert self.log[-1] == "entered"
        return await StaticToolset([find]).tools(ctx)

    async def __aenter__(self) -> Managed:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("not now")
        self.seen.append(context.get())
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self.log.append("entered")
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self.log.append("left")
        await self._group.__aexit__(*raised)


def agent_of(toolset: Any) -> Agent[Any]:
    return Agent(MockProvider(reply="hi"), tools=[toolset])


async def test_a_toolset_is_entered_once_before_its_first_use_and_left_with_the_agent() -> None:
    toolset = Managed()
    agent = agent_of(toolset)
    assert not toolset.log, "building an agent connects to nothing"
    await asyncio.gather(*(agent.run("hello") for _ in range(5)))
    await agent.run("hello")
    await asyncio.create_task(agent.aclose())  # In another task than the one that ran.
    assert toolset.log == ["entered", "left"]


async def test_async_with_enters_it_at_once() -> None:
    toolset = Managed()
    async with agent_of(toolset) as agent:
        assert toolset.log == ["entered"]
        await agent.run("hello")
    assert toolset.log == ["entered", "left"]


async def test_it_is_entered_again_after_the_agent_was_closed() -> None:
    toolset = Managed()
    agent = agent_of(toolset)
    for _ in range(2):
        await agent.run("hello")
        await agent.aclose()
    assert toolset.log == ["entered", "left"] * 2


async def test_one_that_cannot_be_entered_fails_the_run_and_is_tried_again() -> None:
    toolset = Managed(fails=1)
    agent = agent_of(toolset)
    with pytest.raises(ConnectionError, match="not now"):
        await agent.run("hello")
    assert (await agent.run("hello")).output == "hi"
    await agent.aclose()


async def test_nothing_of_the_first_run_is_seen_by_what_outlives_it() -> None:
    toolset = Managed()
    agent = agent_of(toolset)
    token = context.set("the first run's")
    try:
        await agent.run("hello")
    finally:
        context.reset(token)
    assert toolset.seen == ["nobody's"]
    await agent.aclose()


async def test_a_wrapped_toolset_is_entered_and_left_too() -> None:
    toolset = Managed()
    async with agent_of(PrefixedToolset(toolset, "a_")) as agent:
        await agent.run("hello")
    assert toolset.log == ["entered", "left"]


def test_each_event_loop_enters_it_and_a_loop_that_ends_leaves_it() -> None:
    toolset = Managed()
    agent = agent_of(toolset)
    for _ in range(2):
        asyncio.run(_one(agent))
    assert toolset.log == ["entered", "left"] * 2


async def _one(agent: Agent[Any]) -> None:
    await agent.run("hello")
