"""What is left of tokens and money around a run holds within it: at any depth, beside others, after pauses,
and when it is run again from its record."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentfootprint import MemoryIdentity, tool
from agentfootprint.cost import CostBudget, Price, PriceList, SpendingWindow
from agentfootprint.errors import ConfigurationError
from agentfootprint.memory import Extract, InMemoryStore, Memory
from agentfootprint.messages import LLMResponse, ToolCall, Usage
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState
from tests.agent.pausing.support import go_on, must_pause, through_text
from tests.agent.support import completed, mock_of, result_of

from .support import asks, asks_for, billing, desk, says

ALICE = MemoryIdentity("acme", "alice", "t-1")
STEP = "call_tools#0[0]"
FACTS = json.dumps([{"about": "name", "fact": "is called Ada"}])
PRICES = PriceList({"mock": Price(input=1_000_000, output=10_000_000)})
"""One USD for a token in, ten for a token out."""
ANSWERS = PriceList({"mock": Price(input=0, output=10_000_000)})
"""Nothing for a token in, so that the worst case of a call is known: ten USD a token that it may say."""


def budget(usd: Any, tokens: int = 1) -> CostBudget:
    return CostBudget(usd=usd, max_output_tokens=tokens)


@tool(approval=True)
async def refund() -> str:
    """Refunds."""
    return "refunded"


@tool
async def look() -> str:
    """Looks."""
    return "seen"


def looking(*, times: int = 9, name: str = "billing") -> Any:
    """An agent that looks again and again, for ten tokens each time."""
    replies = [asks(ToolCall(f"t{number}", "look"), tokens=(5, 5)) for number in range(times)]
    return billing(*replies, says("Enough."), tools=[look], name=name)


# ── deep within ─────────────────────────────────────────────────────────────────────────────────


async def test_prices_around_it_are_those_of_agents_deep_within() -> None:
    innermost = billing(says("Forty-two.", (2, 2)), name="oracle")
    middle = desk(innermost, name="middle", replies=[asks_for("oracle"), says("Yes.")])
    agent = desk(middle, replies=[asks_for("middle"), says("All.")], pricing_table=PRICES)
    assert completed(await agent.run("?")).cost == 4 * 11 + 22


async def test_a_budget_around_it_holds_deep_within() -> None:
    innermost = billing(says("Never."), name="oracle")
    middle = desk(innermost, name="middle", replies=[asks_for("oracle"), says("Never.")])
    replies = [asks_for("middle"), says("Never.")]
    agent = desk(middle, replies=replies, pricing_table=ANSWERS, cost_budget=budget(25))
    result = await agent.run("?")
    assert result.cost == 20
    assert not mock_of(innermost).requests


async def test_its_tokens_around_it_hold_deep_within() -> None:
    innermost = looking(name="oracle")
    middle = desk(innermost, name="middle", replies=[asks_for("oracle"), says("Yes.")])
    agent = desk(middle, replies=[asks_for("middle"), says("All.")], max_total_tokens=24)
    await agent.run("?")
    # Two answers use the twenty that are left; a last one is asked for without tools.
    assert len(mock_of(innermost).requests) == 3


async def test_what_a_memory_within_asks_is_paid_around_it_and_must_have_a_price() -> None:
    def remembering(model: str) -> Any:
        facts = LLMResponse(FACTS, usage=Usage(3, 3), model=model, provider="mock")
        strategy = Extract(provider=MockProvider(replies=[facts], model=model))
        memory = Memory("facts", kind="semantic", store=InMemoryStore(), strategy=strategy)
        return billing(says("Yes."), memory=[memory])

    inner = remembering("mock")
    agent = desk(inner, replies=[asks_for("billing"), says("All.")], pricing_table=PRICES)
    result = completed(await agent.run("?", identity=ALICE))
    assert result.cost == 3 * 11 + 33
    assert result.usage == Usage(6, 6)
    await agent.replay(result.footprint)
    await inner.replay(result.footprint.nested[STEP])
    with pytest.raises(ConfigurationError, match="mock:dear"):
        desk(remembering("dear"), pricing_table=PRICES, cost_budget=budget(1000))


# ── beside others ───────────────────────────────────────────────────────────────────────────────


async def test_several_at_once_have_what_is_left_of_the_tokens_together() -> None:
    inner = [looking(name=f"agent-{number}") for number in range(4)]
    names = [each.name for each in inner]
    agent = desk(*inner, replies=[asks_for(*names, tokens=(5, 5)), says("All.")], max_total_tokens=40)
    result = await agent.run("?")
    # Those that come too late are not asked; whoever is at work gives its last answer.
    assert result.usage.total_tokens <= 40 + len(inner) * 10 + 2
    assert {footprint.state["stop"] for footprint in result.footprint.nested.values()} == {"max_tokens"}


async def test_where_no_tokens_are_left_it_is_not_asked() -> None:
    late = billing(says("Never."), name="late")
    agent = desk(looking(), late, replies=[asks_for("billing", "late"), says("All.")], max_total_tokens=12)
    result = await agent.run("?")
    assert not mock_of(late).requests
    assert result_of(result.messages, "c1").text == "late was not asked: no tokens are left for this run."


async def test_an_answer_that_does_not_fit_is_not_asked_for_again_without_tokens() -> None:
    inner = billing(says("no json", (30, 30)), says("Never."), output=dict[str, int], output_retries=5)
    agent = desk(inner, replies=[asks_for("billing"), says("All.")], max_total_tokens=40)
    await agent.run("?")
    assert len(mock_of(inner).requests) == 1


# ── after a pause ───────────────────────────────────────────────────────────────────────────────


async def test_after_a_pause_what_it_used_before_counts_once_against_the_tokens() -> None:
    replies = [asks(ToolCall("t", "refund"), tokens=(10, 10)), asks(ToolCall("u", "look")), says("Done.")]
    inner = billing(*replies, tools=[refund, look])
    agent = desk(inner, replies=[asks_for("billing", tokens=(5, 5)), says("All.")], max_total_tokens=40)
    result = completed(await go_on(agent, must_pause(await agent.run("?")), True))
    # Ten are left: enough for the rest.
    assert "stop" not in result.footprint.nested[STEP].state
    assert len(mock_of(inner).requests) == 3


async def test_those_that_go_on_at_once_know_what_the_others_spent_before() -> None:
    def one(name: str) -> Any:
        return billing(
            asks(ToolCall("t", "refund"), tokens=(1, 3)), says("Never."), tools=[refund], name=name
        )

    inner = [one("billing"), one("stock")]
    replies = [asks_for("billing", "stock"), says("All.")]
    agent = desk(*inner, replies=replies, pricing_table=ANSWERS, cost_budget=budget(75, tokens=3))
    paused = must_pause(await agent.run("?"))
    assert paused.cost == 10 + 30 + 30
    answers = {ask.id: True for ask in paused.asks}
    result = await agent.resume(through_text(paused), answers=answers)
    assert result.cost == 70
    assert [len(mock_of(each).requests) for each in inner] == [1, 1]


# ── run again ───────────────────────────────────────────────────────────────────────────────────


async def test_what_was_priced_around_it_is_run_again_from_its_record() -> None:
    inner = billing(asks(ToolCall("t", "look")), says("Yes."), tools=[look])
    agent = desk(inner, replies=[asks_for("billing"), says("All.")], pricing_table=PRICES)
    result = completed(await agent.run("?"))
    assert (await inner.replay(result.footprint.nested[STEP]))["cost"].total == 22


async def test_what_a_budget_around_it_refused_is_refused_again() -> None:
    inner = billing(says("Never."))
    replies = [asks_for("billing"), says("All.")]
    agent = desk(inner, replies=replies, pricing_table=ANSWERS, cost_budget=budget(15))
    result = await agent.run("?")
    assert (await inner.replay(result.footprint.nested[STEP]))["stop"] == "cost_budget"


async def test_what_a_window_of_its_own_refused_is_refused_again() -> None:
    tight = CostBudget(windows=(SpendingWindow(5),), max_output_tokens=1)
    inner = billing(says("Never."), pricing_table=ANSWERS, state=InMemoryState(), cost_budget=tight)
    agent = desk(inner, replies=[asks_for("billing"), says("All.")], pricing_table=ANSWERS)
    result = completed(await agent.run("?", identity=ALICE))
    assert (await inner.replay(result.footprint.nested[STEP]))["stop"] == "cost_budget"


async def test_where_tokens_around_it_ended_it_they_end_it_again() -> None:
    inner = looking()
    agent = desk(inner, replies=[asks_for("billing", tokens=(5, 5)), says("All.")], max_total_tokens=40)
    result = completed(await agent.run("?"))
    asked = len(mock_of(inner).requests)
    assert (await inner.replay(result.footprint.nested[STEP]))["stop"] == "max_tokens"
    assert len(mock_of(inner).requests) == asked
