"""What a guardrail stopped is in no messages that a run hands out, and stays in its record."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, Stopped, StopReason, tool
from agentfootprint.agent import Guarded
from agentfootprint.messages import LLMResponse, Text, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from tests.agent.support import call, completed, mock_of, scripted, whole
from tests.agent.typed import TOOLS_ONLY, Held

ME = MemoryIdentity("acme", "alice", "t-1")
WORDING = "This answer was withheld: a guardrail stopped it."


def no_secrets(guarded: Guarded) -> str | None:
    return "a secret" if "4111" in guarded.text else None


@tool
def look() -> str:
    """Looks."""
    return "seen"


def texts(messages: Any) -> list[str]:
    return [f"{message.role}: {message.text}" for message in messages]


async def stopped(agent: Agent[Any, Any], question: str = "What is it?", **options: Any) -> Stopped[Any]:
    result = await agent.run(question, **options)
    assert isinstance(result, Stopped), result
    assert (result.reason, result.output) == (StopReason.GUARDRAIL, None)
    assert whole(result.messages)
    return result


async def test_the_wording_stands_where_the_answer_would_and_the_record_has_it() -> None:
    agent = scripted("It is 4111.", "ok", output_guardrails=[no_secrets])
    result = await stopped(agent)
    assert texts(result.messages) == ["user: What is it?", f"assistant: {WORDING}"]
    assert "4111" in result.footprint.narrative()
    await agent.replay(result.footprint)
    completed(await agent.run("And now?", messages=result.messages))
    assert texts(mock_of(agent).requests[1].messages) == [*texts(result.messages), "user: And now?"]


async def test_what_tools_did_before_stays_and_so_does_what_was_said_earlier() -> None:
    agent = scripted("Hello.", call("look"), "It is 4111.", tools=[look], output_guardrails=[no_secrets])
    first = completed(await agent.run("Hi."))
    result = await stopped(agent, messages=first.messages)
    assert texts(result.messages) == [
        *("user: Hi.", "assistant: Hello.", "user: What is it?", "assistant: ", "tool: seen"),
        f"assistant: {WORDING}",
    ]


async def test_no_attempt_at_an_answer_is_left_whatever_came_between() -> None:
    agent = Agent(
        MockProvider(replies=["the number 4111", call("look"), "4111, as I said", '{"value": 4111}']),
        tools=[look],
        output=int,
        output_retries=3,
        output_guardrails=[no_secrets],
    )
    result = await stopped(agent)
    assert texts(result.messages) == [
        *("user: What is it?", "assistant: ", "tool: seen"),
        f"assistant: {WORDING}",
    ]


async def test_an_answer_given_by_a_tool_is_left_out_with_its_results() -> None:
    final = LLMResponse(
        tool_calls=[ToolCall("a", "final_answer", {"value": 4111}), ToolCall("b", "look", {})]
    )
    agent: Agent[Any, Any] = Agent(
        Held("4111?", final, can=TOOLS_ONLY), tools=[look], output=int, output_guardrails=[no_secrets]
    )
    result = await stopped(agent)
    assert texts(result.messages) == ["user: What is it?", f"assistant: {WORDING}"]


@pytest.mark.parametrize("stop", ["refusal", "content_filter"])
async def test_an_answer_beside_calls_that_did_not_run_is_left_out_too(stop: Any) -> None:
    cut = LLMResponse(parts=(Text("It is 4111"), ToolCall("a", "look", {})), stop_reason=stop)
    agent = scripted(cut, tools=[look], output_guardrails=[no_secrets])
    result = await stopped(agent)
    assert texts(result.messages) == ["user: What is it?", f"assistant: {WORDING}"]


async def test_an_answer_at_a_limit_that_asks_for_tools_all_the_same_is_left_out_too() -> None:
    more = LLMResponse(parts=(Text("It is 4111"), ToolCall("b", "look", {})))
    agent = scripted(call("look"), more, tools=[look], max_iterations=1, output_guardrails=[no_secrets])
    result = await stopped(agent)
    assert "4111" not in str(texts(result.messages))


async def test_a_question_that_must_not_be_asked_does_not_come_back_in_the_next_turn() -> None:
    agent = scripted("Hello.", "ok", input_guardrails=[no_secrets])
    first = completed(await agent.run("Hi."))
    result = await stopped(agent, "My card is 4111.", messages=first.messages)
    assert texts(result.messages) == ["user: Hi.", "assistant: Hello."]
    completed(await agent.run("And now?", messages=result.messages))
    assert "4111" not in str(texts(mock_of(agent).requests[1].messages))


async def never(guarded: Guarded) -> str | None:
    await asyncio.Event().wait()
    return None


@pytest.mark.parametrize("stage", ["input", "output"])
@pytest.mark.parametrize("kept", [False, True])
async def test_time_that_runs_out_while_guardrails_look_hands_nothing_out(stage: str, kept: bool) -> None:
    state = InMemoryState() if kept else None
    agent: Agent[Any, str] = scripted(
        "It is 4111.", timeout=0.1, state=state, **{f"{stage}_guardrails": [never]}
    )
    result = await agent.run("4111?" if stage == "input" else "What is it?", identity=ME)
    assert isinstance(result, Stopped)
    assert result.reason is StopReason.DEADLINE
    assert "4111" not in str(texts(result.messages))
    if state is not None:
        after = scripted("ok", state=state)
        await after.run("And now?", identity=ME)
        assert "4111" not in str(texts(mock_of(after).requests[0].messages))


async def test_time_that_runs_out_in_a_tool_leaves_out_earlier_attempts_alone() -> None:
    @tool
    async def waits() -> str:
        """Waits."""
        await asyncio.Event().wait()
        return "never"

    agent = Agent(
        MockProvider(replies=["the number 4111", call("waits")]),
        tools=[waits],
        output=int,
        timeout=0.2,
        output_guardrails=[no_secrets],
    )
    result = await agent.run("What is it?")
    assert isinstance(result, Stopped)
    assert [message.role for message in result.messages] == ["user", "assistant", "tool"]
    assert "4111" not in str(texts(result.messages))
