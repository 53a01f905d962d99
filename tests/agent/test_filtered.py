"""An answer that a filter cut, or that the model declined to give, is not passed off as whole."""

from __future__ import annotations

from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, Stopped, StopReason, tool
from agentfootprint.agent import Result
from agentfootprint.events import RunEnded, ToolEnded, ToolStarted
from agentfootprint.messages import LLMRequest, LLMResponse, StopKind, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, call, scripted, whole


@tool
async def look() -> str:
    """Looks."""
    raise AssertionError("a call of a filtered answer was run")


both_reasons = pytest.mark.parametrize(
    ("stop", "reason"), [("content_filter", StopReason.CONTENT_FILTER), ("refusal", StopReason.REFUSAL)]
)


async def run(agent: Agent[Any, str], streamed: bool, **options: Any) -> Result[str]:
    if not streamed:
        return await agent.run("Well?", **options)
    async with agent.stream("Well?", **options) as live:
        async for _ in live:
            pass
    return live.result


@both_reasons
@pytest.mark.parametrize("streamed", [False, True])
async def test_the_run_is_stopped_and_says_why(stop: StopKind, reason: StopReason, streamed: bool) -> None:
    seen = Events()
    agent = scripted(LLMResponse("First, take", stop_reason=stop), recorders=[seen])
    result = await run(agent, streamed)
    assert isinstance(result, Stopped)
    assert (result.reason, result.output) == (reason, "First, take")
    [ended] = seen.of(RunEnded)
    assert (ended.status, ended.reason) == ("stopped", str(reason))
    story = result.footprint.narrative()
    assert "The model answered" not in story
    assert "declined" in story or "filter" in story


@both_reasons
async def test_what_says_nothing_at_all_is_no_answer(stop: StopKind, reason: StopReason) -> None:
    result = await scripted(LLMResponse("", stop_reason=stop)).run("Well?")
    assert isinstance(result, Stopped)
    assert (result.reason, result.output) == (reason, None)


@both_reasons
async def test_calls_of_a_filtered_answer_do_not_run(stop: StopKind, reason: StopReason) -> None:
    seen = Events()
    cut = LLMResponse("I will", [ToolCall("c", "look")], stop_reason=stop)
    agent = scripted(cut, "never", tools=[look], recorders=[seen])
    result = await agent.run("Well?")
    assert isinstance(result, Stopped)
    assert result.reason is reason
    assert whole(result.messages)
    assert "filtered or declined" in result.messages[-1].text
    assert [ended.outcome for ended in seen.of(ToolEnded)] == ["skipped"]
    assert seen.of(ToolStarted) == []


async def test_the_filter_of_a_last_answer_comes_before_the_limit_that_asked_for_it() -> None:
    def model(request: LLMRequest) -> Any:
        return call("look") if request.tools else LLMResponse("Half", stop_reason="content_filter")

    agent = Agent(MockProvider(respond=model), tools=[look], max_iterations=1)
    result = await agent.run("Well?")
    assert isinstance(result, Stopped)
    assert (result.reason, result.output) == (StopReason.CONTENT_FILTER, "Half")


async def test_the_conversation_goes_on() -> None:
    cut = LLMResponse("Half", [ToolCall("c", "look")], stop_reason="content_filter")
    agent = scripted(cut, "Whole.", tools=[look], state=InMemoryState())
    ann = MemoryIdentity("acme", "ann", "c-1")
    await agent.run("Well?", identity=ann)
    result = await agent.run("And now?", identity=ann)
    assert (result.status, result.output) == ("completed", "Whole.")
    assert whole(result.messages)


async def test_a_record_of_it_replays() -> None:
    agent = scripted(LLMResponse("Half", stop_reason="refusal"))
    result = await agent.run("Well?")
    replayed = await agent.replay(result.footprint)
    assert (replayed["output"], replayed["stop"]) == ("Half", "refusal")
