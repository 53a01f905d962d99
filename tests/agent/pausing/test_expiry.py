"""Questions with a time of their own: a late answer is refused, and the run goes on without it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, ask_human, pause_here, tool
from agentfootprint.agent import checkpoint as checkpoint_module
from agentfootprint.agent import resuming
from agentfootprint.errors import (
    AnswerInvalid,
    AnswerRequired,
    CheckpointExpired,
    CheckpointUsed,
    ConfigurationError,
    ConversationPaused,
    QuestionExpired,
)
from agentfootprint.messages import LLMResponse, ToolCall
from agentfootprint.providers import MockProvider
from agentfootprint.security import Ask, PermissionPolicy, Verdict
from agentfootprint.state import InMemoryState
from agentfootprint.testing.clock import ManualClock
from agentfootprint.tools import StaticToolset, ToolContext

from .support import ALICE, call, go_on, must_pause, output_of, results_of, through_text

PAID: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_paid() -> None:
    PAID.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The time as checkpoints and claims see it."""
    clock = ManualClock()
    for module in (checkpoint_module, resuming):
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock))
    return clock


@tool(approval=True, approval_expires_in=60)
async def refund(amount: int) -> str:
    """Pays back."""
    PAID.append(amount)
    return "paid"


def agent_of(*tools: Any, replies: Any = None, **options: Any) -> Agent[Any, Any]:
    return Agent(
        MockProvider(replies=replies or [call("refund", amount=5), "done"]),
        tools=tools or [refund],
        state=InMemoryState(),
        **options,
    )


async def paused(agent: Agent[Any, Any]) -> Checkpoint:
    return through_text(await agent.run("Go", identity=ALICE, fresh=True))


# ── an approval ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("answer", [True, False, {"approved": True}])
async def test_a_late_answer_is_refused_by_name_and_uses_nothing_up(clock: ManualClock, answer: Any) -> None:
    agent = agent_of()
    checkpoint = await paused(agent)
    [ask] = checkpoint.asks
    assert ask.expires_at == pytest.approx(clock() + 60, abs=30)
    clock.advance(120)
    assert checkpoint.unanswerable() == [ask]
    for given in ({"answer": answer}, {"answers": {ask.id: answer}}):
        with pytest.raises(CheckpointExpired, match=r"over for call_tools#0\[0\]\?0: Approve refund\?"):
            await agent.resume(checkpoint, **given)
    assert PAID == []
    clock.advance(-120)
    assert checkpoint.unanswerable() == []
    assert output_of(await agent.resume(checkpoint, answer=True)) == "done"
    assert PAID == [5]


async def test_without_an_answer_the_run_goes_on_as_not_approved_and_once(clock: ManualClock) -> None:
    agent = agent_of()
    checkpoint = await paused(agent)
    clock.advance(120)
    result = await agent.resume(checkpoint, by="dana")
    assert output_of(result) == "done"
    assert results_of(result.messages) == {
        "refund": "refund was not run: a person had to approve it, and nobody answered in time."
    }
    assert PAID == []
    clock.advance(-120)
    with pytest.raises(CheckpointUsed):
        await agent.resume(checkpoint, answer=True)
    assert PAID == []
    told = str(result.footprint.narrative())
    assert "nobody answered in time" in told
    assert "dana" not in told, "nobody answered, so nobody is named"
    await agent.replay(result.footprint)


async def test_a_conversation_goes_on_after_a_question_that_nobody_answered(clock: ManualClock) -> None:
    agent = agent_of(replies=[call("refund", amount=5), "done", "hello"])
    checkpoint = through_text(await agent.run("Go", identity=ALICE))
    with pytest.raises(ConversationPaused):
        await agent.run("And now?", identity=ALICE)
    clock.advance(120)
    await agent.resume(checkpoint)
    assert output_of(await agent.run("And now?", identity=ALICE)) == "hello"
    asked = agent.provider.requests[-1]  # type: ignore[attr-defined]
    assert [message.role for message in asked.messages] == ["user", "assistant", "tool", "assistant", "user"]
    assert PAID == []


async def test_before_its_time_is_over_the_question_wants_an_answer(clock: ManualClock) -> None:
    agent = agent_of()
    checkpoint = await paused(agent)
    with pytest.raises(AnswerRequired):
        await agent.resume(checkpoint)
    assert PAID == []


@pytest.mark.parametrize("answer", [{"expired": "nobody answered in time"}, {"expired": True}])
async def test_nobody_can_say_that_nobody_answered(clock: ManualClock, answer: Any) -> None:
    agent = agent_of()
    checkpoint = await paused(agent)
    with pytest.raises(AnswerInvalid):
        await agent.resume(checkpoint, answer=answer)


async def test_one_of_several_questions_may_be_over_and_the_others_are_answered(clock: ManualClock) -> None:
    @tool(approval=True)
    async def look(order: str) -> str:
        return f"seen {order}"

    both = LLMResponse(
        tool_calls=[ToolCall("c-1", "refund", {"amount": 5}), ToolCall("c-2", "look", {"order": "A"})]
    )
    agent = agent_of(refund, look, replies=[both, "done"])
    checkpoint = await paused(agent)
    first, second = checkpoint.asks
    clock.advance(120)
    with pytest.raises(AnswerRequired, match=r"look"):
        await agent.resume(checkpoint)
    with pytest.raises(CheckpointExpired):
        await agent.resume(checkpoint, answers={first.id: True, second.id: True})
    with pytest.raises(AnswerInvalid, match="one open question"):
        await agent.resume(checkpoint, answer=True)  # which of them is meant would be a guess
    result = await agent.resume(checkpoint, answers={second.id: True})
    assert results_of(result.messages)["look"] == "seen A"
    assert "nobody answered in time" in results_of(result.messages)["refund"]
    assert PAID == []


async def test_where_another_must_approve_nobody_need_to_say_that_nobody_did(clock: ManualClock) -> None:
    agent = agent_of(approver_differs=True)
    checkpoint = await paused(agent)
    with pytest.raises(AnswerInvalid, match="somebody else"):
        await agent.resume(checkpoint, answer=True)
    clock.advance(120)
    assert output_of(await agent.resume(checkpoint)) == "done"
    assert PAID == []


async def test_the_end_of_a_checkpoint_is_before_that_of_its_questions(clock: ManualClock) -> None:
    agent = agent_of(checkpoint_ttl=10)
    checkpoint = await paused(agent)
    clock.advance(30)
    for options in ({}, {"answer": True}):
        with pytest.raises(CheckpointExpired, match="start the run again"):
            await agent.resume(checkpoint, **options)  # type: ignore[arg-type]
    assert PAID == []


# ── who gives the time ──────────────────────────────────────────────────────────────────────────


@tool
async def send(amount: int) -> str:
    """Sends."""
    PAID.append(amount)
    return "sent"


def asking(*seconds: float | None, approval: float | None = None) -> Agent[Any, Any]:
    """`send` behind policies that ask for so long, the last of them the agent's, and an approval."""
    *inner, last = seconds
    toolset: Any = StaticToolset([send])
    for each in inner:
        toolset = toolset.gated(
            PermissionPolicy.from_roles({"desk": [Ask("send", expires_in=each)]}, role="desk")
        )
    if approval is not None:
        toolset = toolset.approval_required(expires_in=approval)
    replies: list[Any] = [call("send", amount=5), "done"]
    return Agent(
        MockProvider(replies=replies),
        tools=[toolset],
        permissions=lambda request: Verdict.ask(expires_in=last),
        state=InMemoryState(),
    )


@pytest.mark.parametrize(
    ("agent", "seconds"),
    [
        (asking(600), 600),
        (asking(None), None),
        (asking(600, None), 600),
        (asking(None, 600), 600),
        (asking(600, 900), 600),
        (asking(900, 600), 600),
        (asking(900, approval=600), 600),
        (asking(600, approval=900), 600),
    ],
)
async def test_of_several_times_the_shortest_holds(
    clock: ManualClock, agent: Agent[Any, Any], seconds: float | None
) -> None:
    checkpoint = await paused(agent)
    [ask] = checkpoint.asks
    if seconds is None:
        assert ask.expires_at is None
    else:
        assert ask.expires_at == pytest.approx(clock() + seconds, abs=30)
        clock.advance(seconds + 60)
        with pytest.raises(CheckpointExpired):
            await agent.resume(checkpoint, answer=True)
        clock.advance(-seconds - 60)
    result = await agent.resume(checkpoint, answer=True)
    assert output_of(result) == "done"
    assert PAID == [5]
    await agent.replay(result.footprint)


async def test_what_was_asked_stands_though_the_time_is_another_now(clock: ManualClock) -> None:
    agent = agent_of()
    checkpoint = await paused(agent)
    longer = agent.replace(tools=[StaticToolset([send]), longer_refund()])
    clock.advance(120)
    with pytest.raises(CheckpointExpired):
        await longer.resume(checkpoint, answer=True)
    clock.advance(-120)
    assert output_of(await longer.resume(checkpoint, answer=True)) == "done"
    assert PAID == [5]


def longer_refund() -> Any:
    @tool(name="refund", approval=True, approval_expires_in=3600)
    async def again(amount: int) -> str:
        """Pays back."""
        PAID.append(amount)
        return "paid"

    return again


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, "60", True])
def test_a_time_that_does_not_end_is_refused(seconds: Any) -> None:
    for make in (
        lambda: tool(name="x", approval=True, approval_expires_in=seconds)(lambda: None),
        lambda: StaticToolset([send]).approval_required(expires_in=seconds),
        lambda: Ask("send", expires_in=seconds),
        lambda: Verdict.ask(expires_in=seconds),
    ):
        with pytest.raises(ConfigurationError):
            make()


def test_a_time_without_an_approval_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="give approval="):
        tool(name="x", approval_expires_in=60)(lambda: None)


# ── what a tool itself asks ─────────────────────────────────────────────────────────────────────


@tool
async def quick(ctx: ToolContext[Any]) -> str:
    """Asks."""
    try:
        note = await ask_human("Note?", answer=str, expires_in=60)
    except QuestionExpired:
        note = "none"
    PAID.append(1)
    return f"note: {note}"


@tool
def plain(ctx: ToolContext[Any]) -> str:
    """Asks."""
    ctx.ask("Note?", expires_in=60)
    PAID.append(1)
    return "asked"


@tool
async def handed() -> Any:
    """Hands over."""
    return pause_here(expires_in=60)


@pytest.mark.parametrize(
    ("asks", "told", "paid"),
    [
        (quick, "note: none", [1]),
        (plain, "plain asked 'Note?', and nobody answered in time.", []),
        (handed, "handed waited for a person, and nobody answered in time.", []),
    ],
)
async def test_a_question_of_a_tool_that_nobody_answered_raises_in_it(
    clock: ManualClock, asks: Any, told: str, paid: list[int]
) -> None:
    agent = agent_of(asks, replies=[call(asks.name), "done"])
    checkpoint = await paused(agent)
    clock.advance(120)
    with pytest.raises(CheckpointExpired):
        await agent.resume(checkpoint, answer="yes")
    result = await agent.resume(checkpoint)
    assert output_of(result) == "done"
    assert results_of(result.messages) == {asks.name: told}
    assert paid == PAID
    await agent.replay(result.footprint)
    assert paid == PAID


@pytest.mark.parametrize("seconds", [0, -5, math.nan])
async def test_a_tool_cannot_ask_for_a_time_that_never_ends(seconds: float) -> None:
    @tool
    async def odd() -> str:
        """Asks."""
        return str(await ask_human("Note?", expires_in=seconds))

    agent = agent_of(odd, replies=[call("odd"), "done"])
    result = await agent.run("Go")
    assert "seconds above 0" in results_of(result.messages)["odd"]


async def test_an_approval_and_a_question_of_one_call_count_their_own_times(clock: ManualClock) -> None:
    @tool(approval=True, approval_expires_in=60)
    async def both() -> str:
        """Asks twice."""
        return f"note: {await ask_human('Note?', expires_in=600)}"

    agent = agent_of(both, replies=[call("both"), "done"])
    second = through_text(must_pause(await go_on(agent, await paused(agent), True)))
    assert second.asks[0].expires_at == pytest.approx(clock() + 600, abs=30)
    clock.advance(300)
    assert second.unanswerable() == []
    result = await agent.resume(second, answer="thanks")
    assert results_of(result.messages) == {"both": "note: thanks"}
    await agent.replay(result.footprint)


# ── within a call ───────────────────────────────────────────────────────────────────────────────


async def test_a_late_question_of_an_agent_within_is_late_for_the_run_around_it(clock: ManualClock) -> None:
    @tool(approval=True)
    async def look(order: str) -> str:
        return f"seen {order}"

    both = LLMResponse(
        tool_calls=[ToolCall("c-1", "look", {"order": "A"}), ToolCall("c-2", "refund", {"amount": 5})]
    )
    inner = agent_of(refund, look, replies=[both, "That is all."], name="billing", approver_differs=True)
    within = inner.as_tool(description="Asks billing.")
    agent = agent_of(within, replies=[call("billing", input="Go"), "done"])
    checkpoint = await paused(agent)
    seen, late = checkpoint.asks
    clock.advance(120)
    assert checkpoint.unanswerable() == [late]
    with pytest.raises(CheckpointExpired):
        await agent.resume(checkpoint, answers={seen.id: True, late.id: True}, by="bob")
    result = await agent.resume(checkpoint, answers={seen.id: True}, by="bob")
    assert output_of(result) == "done"
    told = result.footprint.nested["call_tools#0[0]"].narrative()
    assert "seen A" in told
    assert "a person had to approve it, and nobody answered in time" in told
    assert PAID == []
    await agent.replay(result.footprint)
