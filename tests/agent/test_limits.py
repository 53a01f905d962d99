"""Limits: one last answer without tools, and the result says which limit it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, Stopped, StopReason, tool
from agentfootprint.events import LimitReached, RouteDecided, RunEnded
from agentfootprint.messages import LLMRequest, LLMResponse, ToolCall, Usage
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, Model, call, mock_of, results, scripted, whole


@tool
async def look() -> str:
    """Looks."""
    return "seen"


def looks_for_ever(request: LLMRequest) -> Any:
    return call("look") if request.tools else "That is what I saw."


def counted(request: LLMRequest) -> LLMResponse:
    reply = looks_for_ever(request)
    if isinstance(reply, str):
        return LLMResponse(reply, usage=Usage(10, 10))
    return LLMResponse(tool_calls=(ToolCall("c", "look"),), usage=Usage(10, 10))


@pytest.mark.parametrize(
    ("limits", "reason", "asked", "ran", "value"),
    [
        ({"max_iterations": 1}, StopReason.MAX_ITERATIONS, 2, 0, 1.0),
        ({"max_iterations": 3}, StopReason.MAX_ITERATIONS, 4, 2, 3.0),
        ({"max_tool_calls": 1}, StopReason.MAX_TOOL_CALLS, 3, 1, 2.0),
        ({"max_tool_calls": 2, "max_iterations": 9}, StopReason.MAX_TOOL_CALLS, 4, 2, 3.0),
        ({"max_total_tokens": 20}, StopReason.MAX_TOKENS, 2, 0, 20.0),
        ({"max_total_tokens": 41}, StopReason.MAX_TOKENS, 4, 2, 60.0),
    ],
    ids=str,
)
async def test_a_limit_ends_with_one_last_answer_without_tools(
    limits: dict[str, int], reason: StopReason, asked: int, ran: int, value: float
) -> None:
    seen = Events()
    provider = MockProvider(respond=counted)
    agent = Agent(provider, tools=[look], recorders=[seen], **{"max_iterations": None, **limits})  # type: ignore[arg-type]
    result = await agent.run("Look.")
    assert isinstance(result, Stopped)
    assert (result.reason, result.output, result.status) == (reason, "That is what I saw.", "stopped")
    assert len(provider.requests) == asked
    assert [bool(request.tools) for request in provider.requests] == [True] * (asked - 1) + [False]
    told = [m for m in result.messages if m.role == "tool"]
    assert [m.is_error for m in told] == [False] * ran + [True]
    assert f"limit {reason}" in told[-1].text
    assert whole(result.messages)
    (reached,) = seen.of(LimitReached)
    assert (reached.limit, reached.value) == (str(reason), value)
    (ended,) = seen.of(RunEnded)
    assert (ended.status, ended.reason) == ("stopped", str(reason))
    assert [e.choice for e in seen.of(RouteDecided)][-2:] == ["limit", "answer"]


async def test_tokens_that_are_not_reported_count_as_too_many() -> None:
    silent = [LLMResponse(tool_calls=(ToolCall("c", "look"),)), LLMResponse("That is what I saw.")]
    agent = scripted(*silent, tools=[look], max_total_tokens=1_000_000)
    result = await agent.run("Look.")
    assert isinstance(result, Stopped)
    assert (result.reason, result.output) == (StopReason.MAX_TOKENS, "That is what I saw.")
    assert result.usage == Usage(unreported=2)


async def test_a_batch_that_would_go_over_the_limit_is_not_run_in_part() -> None:
    agent = scripted([call("look")] * 3, "Enough.", tools=[look], max_tool_calls=2)
    result = await agent.run("Look.")
    assert isinstance(result, Stopped)
    assert [m.is_error for m in result.messages if m.role == "tool"] == [True] * 3


async def test_a_batch_that_just_fits_runs() -> None:
    result = await scripted([call("look")] * 2, "Enough.", tools=[look], max_tool_calls=2).run("Look.")
    assert result.status == "completed"


async def test_the_system_prompt_and_the_conversation_stand_at_the_last_answer() -> None:
    provider = MockProvider(respond=looks_for_ever)
    await Agent(provider, tools=[look], system="Be brief.", max_iterations=2).run("Look.")
    assert {request.system for request in provider.requests} == {"Be brief."}
    first, *_, last = provider.requests
    assert list(last.messages)[: len(first.messages)] == list(first.messages)


async def test_calls_closed_by_a_limit_are_told_as_skipped() -> None:
    from agentfootprint.events import ToolEnded, ToolStarted

    seen = Events()
    agent = scripted([call("look")] * 2, "Enough.", tools=[look], max_tool_calls=1, recorders=[seen])
    await agent.run("Look.")
    assert [(e.call_id, e.outcome) for e in seen.of(ToolEnded)] == [
        ("call_1", "skipped"),
        ("call_2", "skipped"),
    ]
    assert seen.of(ToolStarted) == []


async def test_no_limit_at_all_goes_on_until_the_model_is_done() -> None:
    agent = scripted(*[call("look")] * 50, "Done.", tools=[look], max_iterations=None)
    assert (await agent.run("Look.")).status == "completed"


async def test_an_answer_at_the_limit_is_an_answer() -> None:
    result = await scripted(call("look"), "Done.", tools=[look], max_iterations=2).run("Look.")
    assert result.status == "completed"


# ── the deadline ────────────────────────────────────────────────────────────────────────────────


def hanging() -> tuple[Any, asyncio.Event]:
    started = asyncio.Event()

    @tool
    async def hang() -> str:
        """Hangs."""
        started.set()
        await asyncio.Event().wait()
        return "never"

    return hang, started


async def test_the_deadline_stops_a_tool_and_the_result_says_so() -> None:
    hang, _ = hanging()
    seen = Events()
    agent = scripted([call("look"), call("hang")], tools=[look, hang], recorders=[seen])
    result = await agent.run("Look.", timeout=0.05)
    assert isinstance(result, Stopped)
    assert (result.reason, result.output) == (StopReason.DEADLINE, None)
    (ended,) = seen.of(RunEnded)
    assert (ended.status, ended.reason) == ("stopped", "deadline")


async def test_after_the_deadline_every_call_has_its_result_and_what_was_done_is_kept() -> None:
    hang, _ = hanging()
    agent = scripted([call("look"), call("hang")], "Go on.", tools=[look, hang])
    result = await agent.run("Look.", timeout=0.05)
    assert whole(result.messages)
    told = results(result.messages)
    assert (told["call_1"].text, told["call_1"].is_error) == ("seen", False)
    assert told["call_2"].is_error
    assert "cut off" in told["call_2"].text
    again = await agent.run("And now?", messages=result.messages)
    assert again.output == "Go on."
    assert whole(mock_of(agent).requests[1].messages)


async def test_the_deadline_stops_a_model_that_hangs() -> None:
    async def hang(request: LLMRequest) -> LLMResponse:
        await asyncio.Event().wait()
        raise AssertionError

    result = await Agent(Model(hang), timeout=0.02).run("Hello?")
    assert isinstance(result, Stopped)
    assert result.reason is StopReason.DEADLINE


@pytest.mark.parametrize("timeout", [0, -1.0])
async def test_a_time_that_is_over_before_it_begins_asks_nobody(timeout: float) -> None:
    agent = scripted("never")
    result = await agent.run("Hello?", timeout=timeout)
    assert isinstance(result, Stopped)
    assert result.reason is StopReason.DEADLINE
    assert mock_of(agent).requests == []


async def test_at_the_deadline_the_conversation_is_kept_whole_and_free() -> None:
    hang, _ = hanging()
    me = MemoryIdentity("acme", "alice", "t-1")
    agent = scripted([call("look"), call("hang")], "Go on.", tools=[look, hang], state=InMemoryState())
    first = await agent.run("Look.", identity=me, timeout=0.05)
    assert first.status == "stopped"
    second = await agent.run("And now?", identity=me)
    assert second.output == "Go on."
    request = mock_of(agent).requests[1]
    assert whole(request.messages)
    assert list(request.messages)[:-1] == list(first.messages)


async def test_a_deadline_after_the_answer_does_not_take_it_away() -> None:
    from agentfootprint.memory import InMemoryStore, Memory
    from agentfootprint.memory.base import MemoryEntry

    class Stuck(InMemoryStore):
        async def put(self, identity: Any, entry: MemoryEntry, *, expected: str | None = None) -> Any:
            await asyncio.Event().wait()

    memory = Memory("m", store=Stuck())
    result = await scripted("Paid for.", memory=[memory]).run("Hello?", timeout=0.05)
    assert result.output == "Paid for."
    assert result.messages[-1].text == "Paid for."


async def test_a_conversation_that_hangs_at_the_deadline_does_not_take_the_answer_away() -> None:
    class Slow(InMemoryState):
        appends = 0

        async def append(self, *arguments: Any, **options: Any) -> int:
            self.appends += 1
            if self.appends == 1:
                await asyncio.Event().wait()
            return await super().append(*arguments, **options)

    me = MemoryIdentity("acme", "alice", "t-1")
    agent = scripted("Paid for.", "Hi.", state=Slow())
    result = await agent.run("Hello?", identity=me, timeout=0.05)
    assert isinstance(result, Stopped)
    assert (result.reason, result.output) == (StopReason.DEADLINE, "Paid for.")
    await agent.run("Again.", identity=me)
    assert [m.text for m in mock_of(agent).requests[1].messages] == ["Hello?", "Paid for.", "Again."]


async def test_a_tool_knows_when_the_time_is_over() -> None:
    import time

    from agentfootprint import ToolContext

    left: list[float] = []

    @tool
    async def plan(ctx: ToolContext[Any]) -> str:
        """Plans by the clock."""
        assert ctx.deadline is not None
        left.append(ctx.deadline - time.monotonic())
        return "ok"

    await scripted(call("plan"), "done", tools=[plan], timeout=50).run("Plan.")
    assert 0 < left[0] <= 50
