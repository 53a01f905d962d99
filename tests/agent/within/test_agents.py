"""An agent as a tool of another: its answer, its record within that of the run around it, its failures."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, Completed, MemoryIdentity, Stopped, StopReason, ToolContext, tool
from agentfootprint.errors import ConfigurationError, IdentityRequired, PermissionHalted, Unavailable
from agentfootprint.events import RunEnded, RunStarted, ToolEnded, ToolProgress
from agentfootprint.flow import Footprint
from agentfootprint.memory import InMemoryStore, Memory
from agentfootprint.providers import MockProvider
from agentfootprint.security import PermissionPolicy, Verdict
from agentfootprint.state import InMemoryState, SQLiteState
from tests.agent.support import Events, completed, mock_of, result_of, whole

from .support import billing, call, desk

ALICE = MemoryIdentity("acme", "alice", "t-1")
STEP = "call_tools#0[0]"


@tool
async def look_up(order: str) -> str:
    """Looks an order up."""
    return f"{order}: paid, $299"


async def test_its_answer_is_the_result_of_the_call() -> None:
    agent = desk(billing("It was paid."))
    result = completed(await agent.run("Was it paid?"))
    assert result.output == "That is all."
    assert result_of(result.messages).text == "It was paid."
    assert not result_of(result.messages).is_error


async def test_the_model_is_shown_what_it_may_ask() -> None:
    agent = desk(billing("Yes."))
    await agent.run("Well?")
    [spec] = mock_of(agent).requests[0].tools
    assert (spec.name, spec.description) == ("billing", "Asks billing.")
    assert spec.schema["properties"] == {"input": {"type": "string"}}
    assert spec.schema["required"] == ["input"]


async def test_it_may_have_a_name_of_its_own_as_a_tool() -> None:
    inner = billing("Yes.")
    asked = inner.as_tool(name="ask_billing", description="Asks.")
    agent = Agent(MockProvider(replies=[call("ask_billing", input="Well?"), "Done."]), tools=[asked])
    assert completed(await agent.run("Well?")).output == "Done."


@pytest.mark.parametrize("description", ["", None, 7])
def test_without_a_description_it_is_no_tool(description: Any) -> None:
    with pytest.raises(ConfigurationError, match="description="):
        billing().as_tool(description=description)


async def test_it_runs_for_the_same_person_with_the_same_deps() -> None:
    seen: list[Any] = []

    @tool
    async def who(ctx: ToolContext[Any]) -> str:
        """Says for whom it runs."""
        seen.append((ctx.identity, ctx.deps))
        return "known"

    deps = object()
    agent = desk(billing(call("who"), "Known.", tools=[who]))
    await agent.run("Who am I?", identity=ALICE, deps=deps)
    assert seen == [(ALICE, deps)]


async def test_its_memories_are_those_of_the_same_person() -> None:
    store = InMemoryStore()

    def remembering(*replies: Any) -> Agent[Any, Any]:
        return billing(*replies, memory=[Memory("notes", scope="principal", store=store)])

    await desk(remembering("Noted.")).run("My order is A-1.", identity=ALICE)
    again, other = remembering("A-1."), remembering("Nothing.")
    await desk(again).run("Which one was it?", identity=ALICE)
    await desk(other).run("Which one was it?", identity=MemoryIdentity("umbrella", "alice", "t-1"))
    assert any("Noted." in message.text for message in mock_of(again).requests[0].messages)
    assert not any("Noted." in message.text for message in mock_of(other).requests[0].messages)


async def test_it_neither_joins_nor_blocks_the_conversation_around_it() -> None:
    state = InMemoryState()
    inner = billing("One.", "Two.", state=state)
    replies = [call("billing", input="first"), "Done 1.", call("billing", input="second"), "Done 2."]
    agent = desk(inner, replies=replies, state=state)
    await agent.run("Hello", identity=ALICE)
    result = completed(await agent.run("Again", identity=ALICE))
    assert [len(request.messages) for request in mock_of(inner).requests] == [1, 1]
    assert [m.text for m in result.messages if m.role == "user"] == ["Hello", "Again"]
    assert whole(result.messages)


async def test_its_record_stands_in_that_of_the_run_around_it(tmp_path: Path) -> None:
    agent = desk(billing(call("look_up", order="A-1"), "It was paid.", tools=[look_up]))
    result = completed(await agent.run("Was it paid?"))
    inner = result.footprint.nested[STEP]
    assert inner.status == "done"
    assert inner.state["output"] == "It was paid."
    path = tmp_path / "run.footprint.jsonl"
    result.footprint.save(path)
    read = Footprint.load(path, agent.flow).nested[STEP]
    assert read.narrative() == inner.narrative()
    assert read.why("output") == inner.why("output")
    assert Footprint.load(path).nested[STEP].state["output"] == "It was paid."


async def test_the_story_and_the_reasons_go_down_into_it() -> None:
    agent = desk(billing(call("look_up", order="A-1"), "It was paid: $299.", tools=[look_up]))
    footprint = completed(await agent.run("Was it paid?")).footprint
    story = footprint.narrative().splitlines()
    assert "  Within billing:" in story
    assert any(line.startswith("      look_up returned: “A-1: paid, $299”") for line in story)
    why = footprint.why("output").splitlines()
    assert f"Within billing ({STEP}):" in why
    assert "  - the result of look_up (call_1): “A-1: paid, $299”" in why


async def test_a_run_with_another_in_it_is_run_again_from_its_record(tmp_path: Path) -> None:
    inner = billing(call("look_up", order="A-1"), "It was paid.", tools=[look_up])
    agent = desk(inner)
    result = completed(await agent.run("Was it paid?"))
    result.footprint.save(tmp_path / "run.footprint.jsonl", redact=False)
    read = Footprint.load(tmp_path / "run.footprint.jsonl", agent.flow)
    assert (await agent.replay(read))["output"] == "That is all."
    # And the run within by its own agent.
    assert (await inner.replay(read.nested[STEP]))["output"] == "It was paid."
    assert len(mock_of(inner).requests) == 2


async def test_several_at_once_each_have_their_record() -> None:
    agent = desk(billing("One."), billing("Two.", name="stock"))
    result = completed(await agent.run("Well?"))
    records = {step: footprint.state["output"] for step, footprint in result.footprint.nested.items()}
    assert records == {"call_tools#0[0]": "One.", "call_tools#0[1]": "Two."}
    assert [m.text for m in result.messages if m.role == "tool"] == ["One.", "Two."]


async def test_one_within_another_within_another() -> None:
    innermost = billing("Forty-two.", name="oracle")
    middle = desk(innermost, name="middle")
    agent = desk(middle)
    result = completed(await agent.run("Well?"))
    inner = result.footprint.nested[STEP].nested[STEP]
    assert inner.state["output"] == "Forty-two."
    assert "Within oracle" in result.footprint.narrative()
    assert result.usage.total_tokens == sum(
        footprint.state["usage"].total_tokens - (below.state["usage"].total_tokens if below else 0)
        for footprint, below in [
            (result.footprint, result.footprint.nested[STEP]),
            (result.footprint.nested[STEP], inner),
            (inner, None),
        ]
    )


async def test_what_it_fails_with_is_told_to_the_model_that_asked() -> None:
    agent = desk(billing(MockProvider.fail(Unavailable("down", provider="mock"))))
    result = completed(await agent.run("Well?"))
    message = result_of(result.messages)
    assert message.is_error
    assert message.text == "billing failed with unavailable: down"
    assert result.footprint.nested[STEP].status == "failed"
    assert "failed with" in result.footprint.narrative()


async def test_an_empty_question_is_refused() -> None:
    agent = desk(billing(), replies=[call("billing", input=" "), "Done."])
    message = result_of(completed(await agent.run("Well?")).messages)
    assert message.is_error
    assert "empty" in message.text


async def test_stopped_by_a_limit_its_last_answer_counts() -> None:
    inner = billing(call("look_up", order="A-1"), "As far as I know.", tools=[look_up], max_iterations=1)
    result = completed(await desk(inner).run("Well?"))
    assert result_of(result.messages).text == "As far as I know."


async def test_stopped_without_an_answer_that_is_what_the_model_reads() -> None:
    inner = billing("Never.", input_guardrails=[lambda guarded: "not here"])
    result = completed(await desk(inner).run("Well?"))
    message = result_of(result.messages)
    assert (message.is_error, message.text) == (True, "billing gave no answer: it was stopped by guardrail.")


async def test_what_must_not_go_on_does_not_go_on_around_it_either() -> None:
    def halts(request: Any) -> Verdict:
        return Verdict("halt", "emergency")

    agent = desk(billing(call("look_up", order="A-1"), "Never.", tools=[look_up], permissions=halts))
    with pytest.raises(PermissionHalted) as raised:
        await agent.run("Well?")
    assert raised.value.footprint is not None
    assert raised.value.footprint.nested[STEP].status == "failed"


async def test_permissions_decide_whether_it_may_be_asked() -> None:
    inner = billing("Never.")
    policy = PermissionPolicy.from_roles({"guest": ["other"]}).with_active_role("guest")
    agent = desk(inner, permissions=policy)
    message = result_of(completed(await agent.run("Well?")).messages)
    assert message.is_error
    assert not mock_of(inner).requests


async def test_a_person_may_be_asked_before_it_is() -> None:
    inner = billing("Yes.")
    asked = inner.as_tool(description="Asks.", approval="May billing be asked?")
    agent = Agent(MockProvider(replies=[call("billing", input="Well?"), "Done."]), tools=[asked])
    paused = await agent.run("Well?")
    assert [ask.question for ask in paused.checkpoint.asks] == ["May billing be asked?"]  # type: ignore[union-attr]
    assert not mock_of(inner).requests
    assert completed(await agent.resume(paused.checkpoint, answer=True)).output == "Done."  # type: ignore[union-attr]


async def test_its_typed_answer_is_read_as_json() -> None:
    class_name = billing('{"amount": 3}', output=dict[str, int])
    result = completed(await desk(class_name).run("Well?"))
    assert result_of(result.messages).text == '{"amount":3}'


def test_what_outlives_the_process_needs_a_tenant_around_it_too(tmp_path: Path) -> None:
    inner = billing("Never.", state=SQLiteState(tmp_path / "state.db"))
    with pytest.raises(IdentityRequired, match="'billing'"):
        desk(inner).run_sync("Well?")


async def test_nobody_may_allow_that_for_the_agent_within(tmp_path: Path) -> None:
    inner = billing("Never.", state=SQLiteState(tmp_path / "state.db"))
    with pytest.raises(IdentityRequired, match="'billing'"):
        await desk(inner, allow_anonymous=True).run("Well?")


async def test_recorders_hear_the_agent_that_they_are_attached_to() -> None:
    inside, outside = Events(), Events()
    agent = desk(billing("Yes.", recorders=[inside]), recorders=[outside])
    result = completed(await agent.run("Well?"))
    [started] = inside.of(RunStarted)
    assert started.within == result.run_id != started.run_id
    assert [event.agent for event in outside.of(RunStarted)] == ["desk"]
    assert outside.of(RunStarted)[0].within is None
    assert {event.run_id for event in outside.seen} == {result.run_id}
    assert len(inside.of(RunEnded)) == len(outside.of(RunEnded)) == 1


async def test_who_reads_along_reads_the_answer_alone() -> None:
    agent = desk(billing("Yes.", tools=[look_up]))
    async with agent.stream("Well?") as run:
        seen = [event async for event in run]
    assert {event.run_id for event in seen} == {run.result.run_id}
    assert [event.tool for event in seen if isinstance(event, ToolEnded)] == ["billing"]


async def test_while_it_works_it_says_so() -> None:
    agent = desk(billing(call("look_up", order="A-1"), "Paid.", tools=[look_up]))
    async with agent.stream("Well?") as run:
        seen = [event async for event in run if isinstance(event, ToolProgress)]
    assert [(event.tool, event.message) for event in seen] == [("billing", "look_up")]


async def test_cancelled_it_leaves_what_it_did_in_the_record() -> None:
    reached = asyncio.Event()

    @tool
    async def waits() -> str:
        """Waits."""
        reached.set()
        await asyncio.Event().wait()
        return "never"

    outside = Events()
    footprints: list[Footprint] = []

    class Keeps:
        def on_event(self, event: Any) -> None: ...

        def on_footprint(self, footprint: Footprint, *rest: Any) -> None:
            footprints.append(footprint)

    agent = desk(billing(call("waits"), "Never.", tools=[waits]), recorders=[outside, Keeps()])
    running = asyncio.ensure_future(agent.run("Well?"))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    [footprint] = footprints
    assert footprint.nested[STEP].status == "cancelled"
    assert "waits" in footprint.nested[STEP].narrative()


async def test_it_has_no_more_time_than_the_run_around_it() -> None:
    @tool
    async def waits() -> str:
        """Waits."""
        await asyncio.Event().wait()
        return "never"

    agent = desk(billing(call("waits"), "Never.", tools=[waits]))
    result = await agent.run("Well?", timeout=0.5)
    assert isinstance(result, Stopped)
    assert result.reason is StopReason.DEADLINE
    assert result.footprint.nested[STEP].status == "cancelled"
    assert whole(result.messages)


async def test_its_own_time_ends_it_alone() -> None:
    @tool
    async def waits() -> str:
        """Waits."""
        await asyncio.Event().wait()
        return "never"

    agent = desk(billing(call("waits"), "Never.", tools=[waits], timeout=0.5))
    result = await agent.run("Well?")
    assert isinstance(result, Completed)
    assert result_of(result.messages).text == "billing gave no answer: it was stopped by deadline."


async def test_the_tools_time_ends_it_and_its_record_is_kept() -> None:
    @tool
    async def waits() -> str:
        """Waits."""
        await asyncio.Event().wait()
        return "never"

    inner = billing(call("waits"), "Never.", tools=[waits])
    asked = inner.as_tool(description="Asks.", timeout=0.5)
    agent = Agent(MockProvider(replies=[call("billing", input="Well?"), "Done."]), tools=[asked])
    result = completed(await agent.run("Well?"))
    assert "took longer than 0.5 s" in result_of(result.messages).text
    assert result.footprint.nested[STEP].status == "cancelled"
    assert result.usage.total_tokens > result.footprint.nested[STEP].state["usage"].total_tokens > 0
