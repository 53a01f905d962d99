"""An agent within a run asks a person: the run around it waits, and goes on anywhere, exactly once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity, ask_human, pause_here, tool
from agentfootprint.errors import (
    AnswerInvalid,
    AnswerRequired,
    CheckpointExpired,
    CheckpointMismatch,
    CheckpointUsed,
    FlowInvalid,
)
from agentfootprint.events import RunPaused, RunResumed
from agentfootprint.flow.codec import dumps
from agentfootprint.messages import ToolCall, Usage
from agentfootprint.providers import MockProvider
from agentfootprint.security import Verdict
from agentfootprint.state import InMemoryState
from tests.agent.pausing.support import go_on, must_pause, through_text
from tests.agent.support import Events, completed, mock_of, result_of

from .support import asks, billing, call, desk, says

ALICE = MemoryIdentity("acme", "alice", "t-1")


class Ledger:
    """What was done, and tools that do it."""

    def __init__(self) -> None:
        self.done: list[str] = []

        @tool(approval="Refund it?")
        async def refund(order: str) -> str:
            """Refunds an order."""
            self.done.append(order)
            return f"refunded {order}"

        @tool
        async def note(text: str) -> str:
            """Notes something."""
            self.done.append(text)
            return "noted"

        @tool
        async def ask_name() -> str:
            """Asks for a name."""
            return f"The name is {await ask_human('What name?', answer=str)}"

        @tool
        async def hand_over() -> str:
            """Leaves it to a person."""
            return str(pause_here(question="What now?"))

        self.refund, self.note, self.ask_name, self.hand_over = refund, note, ask_name, hand_over

    def agents(self, *replies: Any, state: Any = None, **options: Any) -> Agent[Any, Any]:
        """One that asks another, whose model says these things."""
        tools = [self.refund, self.note, self.ask_name, self.hand_over]
        return desk(billing(*replies, tools=tools, **options), state=state)


async def test_its_question_is_one_of_the_run_around_it() -> None:
    ledger = Ledger()
    paused = must_pause(await ledger.agents(call("refund", order="A-1"), "Done.").run("Refund A-1"))
    [ask] = paused.asks
    assert (ask.question, ask.tool, ask.arguments) == ("Refund it?", "refund", {"order": "A-1"})
    assert ledger.done == []
    assert "Within billing" in paused.footprint.narrative()


@pytest.mark.parametrize(
    ("answer", "done", "said"),
    [(True, ["A-1"], "refunded A-1"), ({"approved": False, "reason": "no"}, [], "declined this call")],
)
async def test_it_goes_on_in_another_process_where_it_waited(answer: Any, done: list[str], said: str) -> None:
    ledger, state = Ledger(), InMemoryState()
    first = ledger.agents(call("note", text="begun"), call("refund", order="A-1"), "Unused.", state=state)
    paused = must_pause(await first.run("Refund A-1", identity=ALICE))
    second = ledger.agents("It is done.", state=state)
    # The one around it has answered once; what is asked again is only what comes after.
    second = second.replace(provider=MockProvider(replies=["Over."]))
    result = completed(await go_on(second, paused, answer, by="bob"))
    assert result.output == "Over."
    assert result_of(result.messages).text == "It is done."
    assert ledger.done == ["begun", *done]
    inner = result.footprint.nested["call_tools#0[0]"]
    assert said in inner.narrative()
    assert "Answered by bob" in inner.narrative()


async def test_a_checkpoint_is_gone_on_with_once() -> None:
    ledger = Ledger()
    agent = ledger.agents(call("refund", order="A-1"), "Done.")
    paused = must_pause(await agent.run("Refund A-1"))
    completed(await go_on(agent, paused, True))
    with pytest.raises(CheckpointUsed):
        await go_on(agent, paused, True)
    assert ledger.done == ["A-1"]


async def test_several_questions_are_asked_at_once_and_answered_together() -> None:
    ledger = Ledger()
    both = [call("refund", order="A-1"), call("refund", order="A-2")]
    agent = ledger.agents(both, "Done.")
    paused = must_pause(await agent.run("Refund both"))
    one, two = paused.asks
    with pytest.raises(AnswerRequired):
        await agent.resume(through_text(paused), answers={one.id: True})
    answers = {one.id: True, two.id: False}
    result = completed(await agent.resume(through_text(paused), answers=answers))
    assert ledger.done == ["A-1"]
    assert result.output == "That is all."


async def test_two_agents_that_wait_at_once_each_get_their_answer() -> None:
    ledger = Ledger()
    one = billing(call("ask_name"), "One.", tools=[ledger.ask_name])
    two = billing(call("ask_name"), "Two.", tools=[ledger.ask_name], name="stock")
    agent = desk(one, two)
    paused = must_pause(await agent.run("Who?"))
    answers = {ask.id: name for ask, name in zip(paused.asks, ["Ada", "Bob"], strict=True)}
    result = completed(await agent.resume(through_text(paused), answers=answers))
    found = [mock_of(each).requests[1].messages[-1].text for each in (one, two)]
    assert found == ["The name is Ada", "The name is Bob"]
    assert result.output == "That is all."


async def test_one_that_is_asked_twice_at_once_waits_twice_each_for_its_own_answer() -> None:
    @tool(approval=True)
    async def pay(amount: int) -> str:
        """Pays."""
        return f"paid {amount}"

    def respond(request: Any) -> Any:
        last = request.messages[-1]
        return call("pay", amount=int(last.text)) if last.role == "user" else says(last.text)

    inner = Agent(MockProvider(respond=respond), name="billing", tools=[pay])
    both = [ToolCall(name, "billing", {"input": amount}) for name, amount in (("a", "1"), ("b", "2"))]
    agent = desk(inner, replies=[asks(*both), says("All.")])
    paused = must_pause(await agent.run("Go"))
    first, second = paused.asks
    assert (first.arguments, second.arguments) == ({"amount": 1}, {"amount": 2})
    result = completed(await agent.resume(through_text(paused), answers={first.id: True, second.id: False}))
    assert result_of(result.messages, "a").text == "paid 1"
    assert "declined" in result_of(result.messages, "b").text


async def test_asked_again_and_again_it_waits_again_and_again() -> None:
    ledger = Ledger()
    replies = [call("refund", order="A-1"), call("ask_name"), call("refund", order="A-2"), "Done."]
    agent = ledger.agents(*replies)
    result: Any = await agent.run("Go")
    for answer in (True, "Ada", True):
        result = await go_on(agent, result, answer)
    assert completed(result).output == "That is all."
    assert ledger.done == ["A-1", "A-2"]
    story = result.footprint.narrative()
    assert story.count("Refund it?") == 4  # Twice asked; told of the run, and of the one within it.


async def test_what_a_person_says_may_be_the_result_of_a_tool_within() -> None:
    agent = Ledger().agents(call("hand_over"), "Fine.")
    paused = must_pause(await agent.run("Go"))
    result = completed(await go_on(agent, paused, "leave it"))
    assert "hand_over returned: “leave it”" in result.footprint.narrative()


async def test_deep_within_it_is_the_same() -> None:
    ledger = Ledger()
    innermost = billing(call("refund", order="A-1"), "Done.", tools=[ledger.refund])
    agent = desk(desk(innermost, name="middle"))
    paused = must_pause(await agent.run("Refund A-1"))
    assert [ask.tool for ask in paused.asks] == ["refund"]
    result = completed(await go_on(agent, paused, True, by="bob"))
    assert ledger.done == ["A-1"]
    inner = result.footprint.nested["call_tools#0[0]"].nested["call_tools#0[0]"]
    assert "Answered by bob" in inner.narrative()


async def test_a_run_that_waited_is_run_again_from_its_record() -> None:
    ledger = Ledger()
    agent = ledger.agents(call("refund", order="A-1"), "Done.")
    result = completed(await go_on(agent, await agent.run("Refund A-1"), True))
    assert (await agent.replay(result.footprint))["output"] == "That is all."
    assert ledger.done == ["A-1"]


async def test_an_answer_of_the_wrong_kind_is_refused_before_anything_runs() -> None:
    ledger = Ledger()
    agent = ledger.agents(call("refund", order="A-1"), "Done.")
    paused = must_pause(await agent.run("Refund A-1"))
    with pytest.raises(AnswerInvalid):
        await go_on(agent, paused, "certainly")
    completed(await go_on(agent, paused, True))


async def test_a_second_person_is_wanted_around_it_too() -> None:
    ledger = Ledger()
    agent = ledger.agents(call("refund", order="A-1"), "Done.", approver_differs=True)
    paused = must_pause(await agent.run("Refund A-1", identity=ALICE))
    for by in (None, "alice"):
        with pytest.raises(AnswerInvalid, match="somebody else"):
            await go_on(agent, paused, True, by=by)
    completed(await go_on(agent, paused, True, by="bob"))
    assert ledger.done == ["A-1"]


async def test_a_question_that_expires_expires_around_it() -> None:
    @tool
    async def ask_now() -> str:
        """Asks."""
        return str(await ask_human("Now?", expires_in=1e-6))

    agent = desk(billing(call("ask_now"), "Done.", tools=[ask_now]))
    with pytest.raises(CheckpointExpired):
        await go_on(agent, await agent.run("Go"), "yes")


async def test_what_nobody_approved_in_time_within_is_not_run() -> None:
    done: list[str] = []

    @tool(approval=True, approval_expires_in=1e-6)
    async def pay() -> str:
        """Pays."""
        done.append("paid")
        return "paid"

    agent = desk(billing(call("pay"), "Not paid.", tools=[pay]))
    result = completed(await go_on(agent, await agent.run("Pay")))
    assert done == []
    assert result_of(result.messages).text == "Not paid."
    assert "nobody answered in time" in result.footprint.narrative()


async def test_beside_a_question_that_is_late_the_other_is_answered() -> None:
    @tool(approval=True, approval_expires_in=1e-6)
    async def soon() -> str:
        """Is to be approved soon."""
        return "too late"

    @tool(approval=True)
    async def ever() -> str:
        """Is approved at any time."""
        return "in time"

    one = billing(call("soon"), "One.", tools=[soon], approver_differs=True)
    two = billing(call("ever"), "Two.", tools=[ever], name="stock")
    agent = desk(one, two)
    paused = must_pause(await agent.run("Go", identity=ALICE))
    [open_still] = {ask.id for ask in paused.asks} - {ask.id for ask in paused.checkpoint.unanswerable()}
    result = completed(await agent.resume(through_text(paused), answers={open_still: True}, by="bob"))
    assert "nobody answered in time" in mock_of(one).requests[1].messages[-1].text
    assert mock_of(two).requests[1].messages[-1].text == "in time"
    await agent.replay(result.footprint)


async def test_an_approval_to_ask_it_may_have_a_time_of_its_own() -> None:
    inner = billing("Never.")
    asked = inner.as_tool(description="Asks.", approval=True, approval_expires_in=1e-6)
    agent = Agent(MockProvider(replies=[call("billing", input="?"), "Done."]), tools=[asked])
    result = completed(await go_on(agent, await agent.run("Go")))
    assert "nobody answered in time" in result_of(result.messages).text
    assert not mock_of(inner).requests


async def test_without_the_agent_that_asked_nothing_goes_on() -> None:
    ledger, state = Ledger(), InMemoryState()
    agent = ledger.agents(call("refund", order="A-1"), "Done.", state=state)
    paused = must_pause(await agent.run("Refund A-1", identity=ALICE))
    with pytest.raises(CheckpointMismatch, match="'billing' waits"):
        await go_on(desk(replies=["Over."], state=state), paused, True)
    completed(await go_on(agent, paused, True))


async def test_with_another_tool_than_was_approved_nothing_runs() -> None:
    ledger, state = Ledger(), InMemoryState()
    agent = ledger.agents(call("refund", order="A-1"), "Done.", state=state)
    paused = must_pause(await agent.run("Refund A-1", identity=ALICE))

    @tool(approval="Refund it?")
    async def refund(order: str, amount: int = 1_000_000) -> str:
        """Refunds an order."""
        ledger.done.append("something else")
        return "refunded"

    other = desk(billing("Done.", tools=[refund]), replies=["Over."], state=state)
    result = completed(await go_on(other, paused, True))
    assert ledger.done == []
    message = result_of(result.messages)
    assert message.is_error
    assert "another schema" in message.text


async def test_what_is_permitted_is_asked_again_when_it_goes_on() -> None:
    ledger, state = Ledger(), InMemoryState()
    allowed = {"billing": True}

    def may(request: Any) -> Verdict:
        return Verdict("allow" if allowed["billing"] else "deny", "switch")

    inner = billing(call("refund", order="A-1"), "Done.", tools=[ledger.refund])
    agent = desk(inner, permissions=may, state=state)
    paused = must_pause(await agent.run("Refund A-1", identity=ALICE))
    allowed["billing"] = False
    result = completed(await go_on(agent, paused, True))
    assert ledger.done == []
    assert result_of(result.messages).is_error
    assert result.footprint.nested  # What it had done before stays in the record.


async def test_each_agent_tells_its_own_pauses() -> None:
    inside, outside = Events(), Events()
    ledger = Ledger()
    inner = billing(call("refund", order="A-1"), "Done.", tools=[ledger.refund], recorders=[inside])
    agent = desk(inner, recorders=[outside])
    paused = must_pause(await agent.run("Refund A-1"))
    result = completed(await go_on(agent, paused, True, by="bob"))
    for seen in (inside, outside):
        assert len(seen.of(RunPaused)) == len(seen.of(RunResumed)) == 1
        assert seen.of(RunResumed)[0].by == "bob"
    assert inside.of(RunResumed)[0].within == result.run_id
    assert outside.of(RunResumed)[0].within is None
    assert len({event.run_id for event in inside.seen}) == 1


async def test_what_waits_again_and_again_is_not_kept_once_for_each_time() -> None:
    ledger = Ledger()
    sizes = []
    for times in (4, 8):
        replies = [call("refund", order=f"A-{number}") for number in range(times)]
        agent = ledger.agents(*replies, "Done.")
        result: Any = await agent.run("Go")
        for _ in range(times - 1):
            result = await go_on(agent, result, True)
        sizes.append(len(dumps(must_pause(result).checkpoint.run)))
    assert sizes[1] < 2 * sizes[0]


async def test_a_call_that_may_be_made_again_is_and_both_are_paid() -> None:
    reached = asyncio.Event()

    @tool
    async def waits() -> str:
        """Never ends."""
        reached.set()
        await asyncio.Event().wait()
        return "never"

    @tool
    async def breaks() -> str:
        """Breaks the run off, the first time."""
        await reached.wait()
        try:
            return str(await ask_human("Sure?"))
        except BaseException:
            return "never mind"

    inner = billing(asks(ToolCall("t", "waits")), says("Yes."), tools=[waits])
    both = asks(ToolCall("b", "billing", {"input": "Well?"}), ToolCall("h", "breaks"))
    tools = [inner.as_tool(description="Asks.", idempotent=True), breaks]
    agent = Agent(MockProvider(replies=[both, says("All.")]), tools=tools)
    with pytest.raises(FlowInvalid) as raised:
        await agent.run("Go")
    assert raised.value.checkpoint is not None
    result = completed(await go_on(agent, raised.value.checkpoint, "yes"))
    assert result_of(result.messages, "b").text == "Yes."
    # Two answers of the one around it, one of the run within that was cut off, one of the run after it.
    assert result.usage == Usage(4, 4)
