"""What a tool may ask of the run it is called from."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agentfootprint import MemoryIdentity, ToolContext, ask_human, pause_here, tool
from agentfootprint.errors import ConfigurationError
from agentfootprint.messages import ToolCall
from tests.agent.support import asks_for, call, completed, result_of, scripted

ME = MemoryIdentity("acme", "alice", "t-1")


async def test_a_tool_knows_its_call_its_run_and_its_caller() -> None:
    seen: list[ToolContext[Any]] = []

    @tool
    async def look(ctx: ToolContext[dict[str, int]], order_id: str) -> str:
        """Looks."""
        seen.append(ctx)
        return ctx.run_id

    deps = {"n": 1}
    agent = scripted(asks_for(ToolCall("c1", "look", {"order_id": "A-1"})), "ok", tools=[look])
    result = await agent.run("Go.", identity=ME, deps=deps)
    (ctx,) = seen
    assert (ctx.tool, ctx.call_id, ctx.identity, ctx.deadline) == ("look", "c1", ME, None)
    assert ctx.deps is deps
    assert ctx.arguments == {"order_id": "A-1"}
    assert result_of(result.messages, "c1").text == result.run_id


async def test_arguments_are_as_the_model_sent_them_and_a_copy_each_time() -> None:
    @tool
    async def look(ctx: ToolContext[Any], n: int) -> str:
        """Looks."""
        ctx.arguments["n"] = "changed"
        return f"{ctx.arguments['n']!r} became {n!r}"

    result = await scripted(call("look", n="5"), "ok", tools=[look]).run("Go.")
    assert result_of(result.messages).text == "'5' became 5"


async def test_the_context_is_no_argument_of_the_model() -> None:
    @tool
    async def look(ctx: ToolContext[Any], n: int) -> str:
        """Looks."""
        return "seen"

    assert set(look.spec.schema["properties"]) == {"n"}
    agent = scripted(call("look", n=1, ctx="mine"), "ok", tools=[look])
    result = await agent.run("Go.")
    assert result_of(result.messages).is_error


async def test_without_identity_and_dependencies_there_are_none() -> None:
    @tool
    async def look(ctx: ToolContext[None]) -> str:
        """Looks."""
        return f"{ctx.identity} {ctx.deps}"

    result = await scripted(call("look"), "ok", tools=[look]).run("Go.")
    assert result_of(result.messages).text == "None None"


async def test_an_effect_of_a_tool_is_recorded_inside_its_call() -> None:
    @tool
    async def fetch(ctx: ToolContext[Any], n: int) -> str:
        """Fetches."""

        async def get(n: int) -> str:
            return f"got {n}"

        first = await ctx.call("get", get, n, key="first")
        second = await ctx.call("get", get, n + 1, key="second")
        return f"{second}{first}"

    result = completed(await scripted(call("fetch", n=1), "ok", tools=[fetch]).run("Go."))
    (step,) = [s for s in result.footprint.steps if s.id == "call_tools#0[0]"]
    assert [(c.name, c.key, c.within, c.result) for c in step.calls][1:] == [
        ("get", "call_1/first", "fetch:call_1", "got 1"),
        ("get", "call_1/second", "fetch:call_1", "got 2"),
    ]
    assert result.messages[2].text == "got 2got 1"


async def test_an_effect_of_a_tool_has_a_timeout_of_its_own() -> None:
    @tool
    async def fetch(ctx: ToolContext[Any]) -> str:
        """Fetches."""
        try:
            await ctx.call("hang", asyncio.Event().wait, timeout=0.01)
        except TimeoutError:
            return "gave up"
        return "never"

    result = await scripted(call("fetch"), "ok", tools=[fetch]).run("Go.")
    assert result_of(result.messages).text == "gave up"


async def test_each_call_has_its_own_context_also_side_by_side() -> None:
    together = asyncio.Barrier(3)

    @tool
    async def look(ctx: ToolContext[Any], n: int) -> str:
        """Looks."""
        await together.wait()
        from agentfootprint.tools.context import current_tool

        assert current_tool() is ctx
        return f"{ctx.call_id} {ctx.arguments['n']}"

    result = await scripted([call("look", n=n) for n in range(3)], "ok", tools=[look]).run("Go.")
    told = [m.text for m in result.messages if m.role == "tool"]
    assert told == ["call_1 0", "call_2 1", "call_3 2"]


async def test_a_thread_has_the_context_too() -> None:
    @tool
    def look(ctx: ToolContext[int]) -> str:
        """Looks."""
        from agentfootprint.tools.context import current_tool

        assert threading.current_thread() is not threading.main_thread()
        return f"{current_tool() is ctx} {ctx.deps}"

    result = await scripted(call("look"), "ok", tools=[look]).run("Go.", deps=5)
    assert result_of(result.messages).text == "True 5"


async def test_after_a_call_there_is_no_context() -> None:
    from agentfootprint.tools.context import current_tool

    @tool
    async def look() -> str:
        """Looks."""
        return "seen"

    await scripted(call("look"), "ok", tools=[look]).run("Go.")
    with pytest.raises(ConfigurationError, match="no run to pause"):
        current_tool()


async def test_people_are_asked_only_from_inside_a_tool() -> None:
    with pytest.raises(ConfigurationError, match="inside a tool"):
        await ask_human("Sure?")
    with pytest.raises(ConfigurationError, match="inside a tool"):
        pause_here()


async def test_a_context_that_is_kept_is_refused_after_its_call() -> None:
    from agentfootprint.errors import FlowInvalid

    kept: list[ToolContext[Any]] = []

    @tool
    async def keep(ctx: ToolContext[Any]) -> str:
        """Keeps its context."""
        kept.append(ctx)
        return "kept"

    result = await scripted(call("keep"), "ok", tools=[keep]).run("Go.")
    before = result.footprint.to_jsonl()
    with pytest.raises(FlowInvalid, match="has ended"):
        kept[0].emit("late")
    with pytest.raises(FlowInvalid, match="has ended"):
        await kept[0].call("late", asyncio.sleep, 0)
    assert result.footprint.to_jsonl() == before
