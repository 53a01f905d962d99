"""The loop: what is asked, what runs, and in which order it reaches the model."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agentfootprint import Agent, tool
from agentfootprint.messages import LLMRequest, LLMResponse, Message, Text, Usage
from agentfootprint.providers import MockProvider
from tests.agent.support import Model, call, completed, mock_of, result_of, scripted, whole


@tool
async def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


async def test_a_plain_answer_is_the_output_and_the_conversation() -> None:
    agent = scripted("It has shipped.", system="You are a support agent.")
    result = completed(await agent.run("Where is order A-1?"))
    assert result.output == "It has shipped."
    assert result.status == "completed"
    assert list(result.messages) == [
        Message.user("Where is order A-1?"),
        Message.assistant("It has shipped."),
    ]
    (request,) = mock_of(agent).requests
    assert (request.system, list(request.messages), request.tools) == (
        "You are a support agent.",
        [Message.user("Where is order A-1?")],
        (),
    )
    assert result.footprint.run_id == result.run_id


async def test_a_tool_runs_and_the_model_reads_its_result() -> None:
    agent = scripted(call("add", a=1, b=2), "It is 3.", tools=[add])
    result = completed(await agent.run("1 + 2?"))
    assert result.output == "It is 3."
    first, second = mock_of(agent).requests
    assert [spec.name for spec in first.tools] == ["add"]
    assert list(second.messages)[-1] == Message.tool("call_1", "add", "3")
    assert whole(result.messages)


async def test_what_is_passed_to_the_model_reaches_every_request() -> None:
    agent = scripted(call("add", a=1, b=2), "3", tools=[add], system="Count.", max_tokens=50, temperature=0.5)
    await agent.run("1 + 2?")
    for request in mock_of(agent).requests:
        assert (request.system, request.max_tokens, request.temperature) == ("Count.", 50, 0.5)
        assert [spec.name for spec in request.tools] == ["add"]


async def test_usage_is_the_sum_of_every_model_call() -> None:
    replies = [
        LLMResponse(tool_calls=(call_of("add", a=1, b=2),), usage=Usage(10, 2, cache_read_tokens=4)),
        LLMResponse("3", usage=Usage(20, 3, reasoning_tokens=1)),
    ]
    result = await scripted(*replies, tools=[add]).run("1 + 2?")
    assert result.usage == Usage(30, 5, cache_read_tokens=4, reasoning_tokens=1)


async def test_a_call_whose_vendor_reports_no_usage_is_counted_as_unreported() -> None:
    result = await scripted(LLMResponse("3")).run("1 + 2?")
    assert result.usage == Usage(unreported=1)


def call_of(name: str, /, **arguments: Any) -> Any:
    from agentfootprint.messages import ToolCall

    return ToolCall("c", name, arguments)


async def test_tools_asked_for_at_once_run_at_the_same_time() -> None:
    everybody = asyncio.Barrier(3)

    @tool
    async def meet(who: str) -> str:
        """Waits until all three are here."""
        await everybody.wait()
        return who

    agent = scripted([call("meet", who=one) for one in "abc"], "met", tools=[meet])
    async with asyncio.timeout(10):
        result = await agent.run("Meet.")
    assert [m.text for m in result.messages if m.role == "tool"] == ["a", "b", "c"]


async def test_results_are_in_the_order_asked_whatever_ends_first() -> None:
    turns = [asyncio.Event() for _ in range(4)]
    turns[3].set()

    @tool
    async def last_first(n: int) -> int:
        """The later the call, the earlier it ends."""
        await turns[n].wait()
        if n:
            turns[n - 1].set()
        return n

    agent = scripted([call("last_first", n=n) for n in range(4)], "done", tools=[last_first])
    async with asyncio.timeout(10):
        result = await agent.run("Go.")
    told = [(m.call_id, m.text) for m in mock_of(agent).requests[1].messages if m.role == "tool"]
    assert told == [(f"call_{n + 1}", str(n)) for n in range(4)]
    assert whole(result.messages)


async def test_a_plain_def_runs_in_a_thread_and_the_loop_goes_on() -> None:
    heard = threading.Event()
    loop, started = asyncio.get_running_loop(), asyncio.Event()
    threads: list[int] = []

    @tool
    def block() -> str:
        """Blocks its thread until the loop has done something."""
        threads.append(threading.get_ident())
        loop.call_soon_threadsafe(started.set)
        return "heard" if heard.wait(10) else "the loop stood still"

    agent = scripted(call("block"), "ok", tools=[block])
    run = asyncio.create_task(agent.run("Block."))
    await started.wait()
    heard.set()
    result = await run
    assert result_of(result.messages).text == "heard"
    assert threads != [threading.get_ident()]


async def test_plain_defs_asked_for_at_once_run_at_the_same_time() -> None:
    everybody = threading.Barrier(3, timeout=10)

    @tool
    def meet() -> str:
        """Waits for the others."""
        everybody.wait()
        return "met"

    agent = scripted([call("meet")] * 3, "ok", tools=[meet])
    result = await agent.run("Meet.")
    assert [m.text for m in result.messages if m.role == "tool"] == ["met"] * 3


async def test_the_model_is_told_what_was_wrong_with_its_arguments_and_corrects_them() -> None:
    def model(request: LLMRequest) -> Any:
        last = request.messages[-1]
        if last.role == "user":
            return call("add", a="one", b=2)
        if last.is_error:
            assert "- a: " in last.text
            assert '"one"' in last.text
            assert "Expected: add({a: integer, b: integer})" in last.text
            return call("add", a=1, b=2)
        return f"It is {last.text}."

    result = completed(await Agent(MockProvider(respond=model), tools=[add]).run("one + 2?"))
    assert result.output == "It is 3."
    assert [m.is_error for m in result.messages if m.role == "tool"] == [True, False]


async def test_an_unknown_tool_is_answered_with_the_one_that_was_meant() -> None:
    agent = scripted(call("ad", a=1, b=2), "Sorry.", tools=[add])
    result = await agent.run("1 + 2?")
    told = result_of(result.messages)
    assert told.is_error
    assert "no tool named 'ad'" in told.text
    assert "Did you mean add?" in told.text


async def test_an_empty_reply_is_an_empty_answer_and_leaves_no_empty_message() -> None:
    agent = scripted(LLMResponse())
    result = completed(await agent.run("Hello?"))
    assert result.output == ""
    assert list(result.messages) == [Message.user("Hello?")]


async def test_text_beside_calls_stays_in_the_conversation() -> None:
    agent = scripted(["Let me count.", call("add", a=1, b=2)], "3", tools=[add])
    result = completed(await agent.run("1 + 2?"))
    asked = result.messages[1]
    assert asked.text == "Let me count."
    assert [one.name for one in asked.tool_calls] == ["add"]
    assert result.output == "3"


async def test_parts_a_vendor_needs_back_travel_back_unchanged() -> None:
    from agentfootprint.messages import Opaque, Reasoning

    thought = Reasoning("hm", signature="sig==", provider="test")
    secret = Opaque("test", {"blob": [1, 2]})
    reply = LLMResponse(parts=[thought, secret, call_of("add", a=1, b=2)])
    agent = scripted(reply, "3", tools=[add])
    await agent.run("1 + 2?")
    assert mock_of(agent).requests[1].messages[1].parts[:2] == (thought, secret)


async def test_a_conversation_goes_on_from_the_messages_of_the_one_before() -> None:
    agent = scripted("Alice, hello.", "Your name is Alice.")
    first = await agent.run("I am Alice.")
    second = completed(await agent.run("Who am I?", messages=first.messages))
    assert [m.text for m in mock_of(agent).requests[1].messages] == [
        "I am Alice.",
        "Alice, hello.",
        "Who am I?",
    ]
    assert [m.text for m in second.messages][-1] == "Your name is Alice."


async def test_messages_that_end_with_the_question_need_no_input() -> None:
    agent = scripted("Your name is Alice.")
    asked = [Message.user("I am Alice."), Message.assistant("Hello."), Message.user("Who am I?")]
    result = await agent.run(messages=asked)
    assert list(mock_of(agent).requests[0].messages) == asked
    assert list(result.messages) == [*asked, Message.assistant("Your name is Alice.")]


async def test_the_messages_given_are_not_changed_and_not_kept() -> None:
    agent = scripted("b", "c")
    given = [Message.user("1"), Message.assistant("a")]
    result = await agent.run("2", messages=given)
    assert given == [Message.user("1"), Message.assistant("a")]
    given.clear()
    assert len(result.messages) == 4


async def test_an_error_of_the_model_carries_the_footprint_and_a_checkpoint_to_go_on_from() -> None:
    from agentfootprint.errors import Overloaded

    busy = MockProvider.fail(Overloaded("busy", provider="mock"))
    agent = scripted(call("add", a=1, b=2), busy, "3", tools=[add])
    with pytest.raises(Overloaded) as caught:
        await agent.run("1 + 2?")
    error = caught.value
    assert error.footprint is not None
    assert error.checkpoint is not None
    assert [s.node for s in error.footprint.steps if s.status == "failed"] == ["call_model"]
    result = completed(await agent.resume(error.checkpoint))
    assert result.output == "3"
    assert whole(result.messages)
    assert len([m for m in result.messages if m.role == "tool"]) == 1


async def test_an_error_of_another_kind_is_named_with_its_step_and_cause() -> None:
    from agentfootprint.errors import StepFailed

    def broken(request: LLMRequest) -> LLMResponse:
        raise KeyError("choices")

    with pytest.raises(StepFailed, match="call_model#0") as caught:
        await Agent(Model(broken)).run("Hello?")
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.footprint is not None


async def test_a_function_as_system_knows_the_run_and_is_called_once() -> None:
    from agentfootprint import MemoryIdentity

    asked: list[Any] = []

    async def instructions(run: Any) -> str:
        asked.append((run.identity, run.deps, run.run_id))
        return f"You help {run.identity.principal}, who likes {run.deps}."

    agent = scripted(call("add", a=1, b=2), "3", tools=[add], system=instructions)
    me = MemoryIdentity("acme", "alice")
    result = await agent.run("1 + 2?", identity=me, deps="tea")
    assert asked == [(me, "tea", result.run_id)]
    assert [r.system for r in mock_of(agent).requests] == ["You help alice, who likes tea."] * 2


async def test_a_plain_function_as_system_may_give_no_instructions() -> None:
    agent = scripted("hi", system=lambda run: None)
    await agent.run("Hello?")
    assert mock_of(agent).requests[0].system is None


async def test_instructions_that_are_no_text_are_refused_by_name() -> None:
    from agentfootprint.errors import ConfigurationError

    with pytest.raises(ConfigurationError, match="system= returned int"):
        await scripted("hi", system=lambda run: 5).run("Hello?")


async def test_a_user_may_send_pictures() -> None:
    from agentfootprint.messages import Image

    agent = scripted("A cat.")
    picture = Image(url="https://example.org/cat.png")
    await agent.run(["What is this?", picture])
    assert mock_of(agent).requests[0].messages[0].parts == (Text("What is this?"), picture)
