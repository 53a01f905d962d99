"""What a run within a run uses and costs counts there too, and is held to what is left there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from agentfootprint import MemoryIdentity, Stopped, StopReason, ask_human, tool
from agentfootprint.cost import CostBudget, Price, PriceList, SpendingWindow
from agentfootprint.cost.ledger import Ledger
from agentfootprint.embedders import Embedding, EmbeddingUsage, MockEmbedder, Purpose
from agentfootprint.embedders.usage import tell
from agentfootprint.errors import ConfigurationError, RateLimited
from agentfootprint.events import CostTicked, LimitReached, RunEnded
from agentfootprint.memory import InMemoryStore
from agentfootprint.messages import LLMResponse, ToolCall, Usage
from agentfootprint.providers import MockProvider
from agentfootprint.retrieval import RAG, Document
from agentfootprint.state import InMemoryState
from tests.agent.pausing.support import go_on, must_pause
from tests.agent.support import Events, completed, mock_of, result_of, results

from .support import asks, asks_for, billing, desk, says

ALICE = MemoryIdentity("acme", "alice", "t-1")
PRICES = PriceList({"mock": Price(input=1_000_000, output=10_000_000)})
"""One USD for a token in, ten for a token out."""
ANSWERS_PRICE = Price(input=0, output=10_000_000)
ANSWERS = PriceList({"mock": ANSWERS_PRICE})
"""Nothing for a token in, so that the worst case of a call is known: ten USD a token that it may say."""


@tool(approval=True)
async def refund() -> str:
    """Refunds."""
    return "refunded"


@tool
async def look() -> str:
    """Looks."""
    return "seen"


async def test_its_tokens_and_its_cost_are_part_of_the_runs_around_it() -> None:
    seen = Events()
    inner = billing(says("Yes.", (5, 7)))
    agent = desk(inner, replies=[asks_for("billing"), says("All.")], pricing_table=PRICES, recorders=[seen])
    result = completed(await agent.run("Well?"))
    assert result.usage == Usage(7, 9)
    assert result.cost == 11 + 75 + 11
    assert seen.of(RunEnded)[0].cost == 97
    assert result.footprint.nested["call_tools#0[0]"].state["cost"].total == 75


async def test_each_call_is_told_once_by_the_run_that_made_it() -> None:
    seen = Events()
    inner = billing(says("Yes.", (5, 7)), recorders=[seen], pricing_table=PRICES)
    replies = [asks_for("billing"), says("All.")]
    agent = desk(inner, replies=replies, pricing_table=PRICES, recorders=[seen])
    await agent.run("Well?")
    assert [(event.kind, event.cost) for event in seen.of(CostTicked)] == [
        ("model", "11"),
        ("model", "75"),
        ("model", "11"),
    ]
    assert [event.total for event in seen.of(CostTicked)] == ["11", "75", "97"]


async def test_without_prices_around_it_the_cost_there_is_unknown() -> None:
    inner = billing(says("Yes."), pricing_table=PRICES)
    result = completed(await desk(inner, replies=[asks_for("billing"), says("All.")]).run("Well?"))
    assert result.cost is None
    assert result.usage == Usage(3, 3)
    assert result.footprint.nested["call_tools#0[0]"].state["cost"].total == 11


async def test_a_cost_within_that_nobody_knows_makes_the_whole_unknown() -> None:
    unknown = LLMResponse("Yes.", usage=None, model="mock", provider="mock")
    agent = desk(billing(unknown), replies=[asks_for("billing"), says("All.")], pricing_table=PRICES)
    result = completed(await agent.run("Well?"))
    assert result.cost is None
    assert result.usage.unreported == 1


async def test_what_failed_within_is_paid_for_all_the_same() -> None:
    inner = billing(asks(ToolCall("t", "look")), MockProvider.fail(RateLimited("busy")), tools=[look])
    agent = desk(inner, replies=[asks_for("billing"), says("All.")], pricing_table=PRICES)
    result = completed(await agent.run("Well?"))
    assert result_of(result.messages, "c0").is_error
    assert result.usage == Usage(3, 3)
    # What the vendor declined is not charged; what it answered before is.
    assert result.cost == 33


async def test_what_the_tools_time_cut_off_is_held() -> None:
    @tool
    async def waits() -> str:
        """Waits."""
        await asyncio.Event().wait()
        return "never"

    inner = billing(asks(ToolCall("t", "waits")), tools=[waits])
    agent = desk(inner, replies=[asks_for("billing"), says("All.")], pricing_table=PRICES, tool_timeout=0.5)
    result = completed(await agent.run("Well?"))
    assert result.usage == Usage(3, 3)
    assert result.cost == 33


async def test_while_it_waits_its_cost_is_known_and_afterwards_counted_once() -> None:
    inner = billing(asks(ToolCall("t", "refund")), says("Done."), tools=[refund])
    agent = desk(inner, replies=[asks_for("billing"), says("All.")], pricing_table=PRICES)
    paused = must_pause(await agent.run("Refund it"))
    assert paused.cost == 22
    assert paused.usage == Usage(2, 2)
    assert paused.checkpoint.usage == Usage(2, 2)
    result = completed(await go_on(agent, paused, True))
    assert result.cost == 44
    assert result.usage == Usage(4, 4)


async def test_beside_one_that_waits_the_others_are_counted() -> None:
    one = billing(says("One.", (2, 2)))
    two = billing(asks(ToolCall("t", "refund")), says("Two."), tools=[refund], name="stock")
    agent = desk(one, two, replies=[asks_for("billing", "stock"), says("All.")], pricing_table=PRICES)
    paused = must_pause(await agent.run("Go"))
    assert paused.cost == 11 + 22 + 11
    assert paused.usage == Usage(4, 4)
    result = completed(await go_on(agent, paused, True))
    assert result.cost == 44 + 22
    assert result.usage == Usage(6, 6)


# ── budgets ─────────────────────────────────────────────────────────────────────────────────────


def budget(usd: Any, **more: Any) -> CostBudget:
    return CostBudget(usd=usd, max_output_tokens=1, **more)


async def test_a_budget_around_it_refuses_what_goes_beyond() -> None:
    asked = Events()
    # The first call costs ten, which leaves less than one within could.
    inner = billing(says("Never."), recorders=[asked])
    replies = [asks_for("billing"), says("All.")]
    agent = desk(inner, replies=replies, pricing_table=ANSWERS, cost_budget=budget(15, on_exceed="halt"))
    result = await agent.run("?")
    assert isinstance(result, Stopped)
    assert result.reason is StopReason.COST_BUDGET
    assert not mock_of(inner).requests
    assert result.cost == 10
    assert asked.of(LimitReached)[0].limit == "cost_budget"
    text = result_of(result.messages, "c0").text
    assert text == "billing gave no answer: it was stopped by cost_budget."


@pytest.mark.parametrize("own", [None, ANSWERS])
async def test_several_at_once_stay_within_it_together(own: PriceList | None) -> None:
    names = [f"agent-{number}" for number in range(8)]
    inner = [billing(says("Yes."), name=name, pricing_table=own) for name in names]
    limit = 10 + 3 * 10
    agent = desk(
        *inner,
        replies=[asks_for(*names), says("All.")],
        pricing_table=ANSWERS,
        cost_budget=budget(limit),
    )
    result = await agent.run("?")
    assert result.cost == limit
    asked = [each for each in inner if mock_of(each).requests]
    assert len(asked) == 3
    refused = [message for message in results(result.messages).values() if message.is_error]
    assert len(refused) == len(inner) - len(asked)


async def test_its_own_budget_holds_beside_that_around_it() -> None:
    inner = billing(says("Never."), pricing_table=ANSWERS, cost_budget=budget(5))
    agent = desk(
        inner, replies=[asks_for("billing"), says("All.")], pricing_table=ANSWERS, cost_budget=budget(1000)
    )
    result = completed(await agent.run("?"))
    assert not mock_of(inner).requests
    assert result.cost == 20


async def test_a_tenants_window_counts_what_runs_within() -> None:
    state = InMemoryState()
    window = SpendingWindow(1000)
    inner = billing(says("Yes.", (5, 7)))
    agent = desk(
        inner,
        replies=[asks_for("billing"), says("All.")],
        pricing_table=PRICES,
        state=state,
        cost_budget=CostBudget(windows=(window,), max_output_tokens=8),
    )
    completed(await agent.run("?", identity=ALICE))
    left = await Ledger(state, "desk", (window,), ALICE).left()
    assert left == (1000 - 97) * 10**9


@pytest.mark.parametrize("one_name", [True, False])
async def test_budgets_of_one_name_count_once(one_name: bool) -> None:
    state = InMemoryState()
    window = SpendingWindow(1000)

    def limits(name: str) -> CostBudget:
        name = "shop" if one_name else name
        return CostBudget(windows=(window,), max_output_tokens=8, name=name)

    inner = billing(says("Yes.", (5, 7)), pricing_table=PRICES, state=state, cost_budget=limits("inner"))
    agent = desk(
        inner,
        replies=[asks_for("billing"), says("All.")],
        pricing_table=PRICES,
        state=state,
        cost_budget=limits("outer"),
    )
    completed(await agent.run("?", identity=ALICE))

    async def left(name: str) -> Any:
        return await Ledger(state, name, (window,), ALICE).left()

    if one_name:
        assert await left("shop") == (1000 - 97) * 10**9
    else:
        assert await left("inner") == (1000 - 75) * 10**9
        assert await left("outer") == (1000 - 97) * 10**9


async def test_the_tighter_limit_of_a_shared_window_holds() -> None:
    state = InMemoryState()
    wide = CostBudget(windows=(SpendingWindow(10_000),), max_output_tokens=1, name="shop")
    tight = CostBudget(windows=(SpendingWindow(15),), max_output_tokens=1, name="shop")
    inner = billing(says("Never."), pricing_table=ANSWERS, state=state, cost_budget=wide)
    replies = [asks_for("billing"), says("All.")]
    agent = desk(inner, replies=replies, pricing_table=ANSWERS, state=state, cost_budget=tight)
    result = await agent.run("?", identity=ALICE)
    assert isinstance(result, Stopped)
    assert not mock_of(inner).requests
    # What was reserved on the way to the refusal is not counted.
    left = await Ledger(state, "shop", (SpendingWindow(15),), ALICE).left()
    assert left == 5 * 10**9


async def test_resumed_it_is_held_to_what_was_left_before() -> None:
    inner = billing(asks(ToolCall("t", "refund"), tokens=(1, 4)), says("Never."), tools=[refund])
    agent = desk(
        inner,
        replies=[asks_for("billing"), says("All.")],
        pricing_table=ANSWERS,
        cost_budget=CostBudget(usd=70, max_output_tokens=4),
        max_tokens=1,
    )
    paused = must_pause(await agent.run("?"))
    assert paused.cost == 10 + 40
    # Left are 20 USD: not enough for a further call of four tokens within.
    result = await go_on(agent, paused, True)
    assert result.cost == 60
    assert len(mock_of(inner).requests) == 1


async def test_a_budget_that_only_warns_warns_around_it_and_goes_on() -> None:
    seen = Events()
    inner = billing(says("Yes."), recorders=[seen])
    agent = desk(
        inner,
        replies=[asks_for("billing"), says("All.")],
        pricing_table=PRICES,
        cost_budget=budget(12, on_exceed="warn"),
        recorders=[seen],
    )
    result = completed(await agent.run("?"))
    assert result.cost == 33
    assert {event.limit for event in seen.of(LimitReached)} == {"cost_budget"}


def test_models_within_that_have_no_price_are_refused_when_it_is_built() -> None:
    dear = MockProvider(reply="Yes.", model="dear")
    inner = billing().replace(provider=dear)
    with pytest.raises(ConfigurationError, match="mock:dear"):
        desk(inner, pricing_table=PRICES, cost_budget=budget(5))
    priced = inner.replace(pricing_table=PriceList({"dear": Price(input=1, output=1)}))
    desk(priced, pricing_table=PRICES, cost_budget=budget(5))


# ── tokens ──────────────────────────────────────────────────────────────────────────────────────


async def test_it_has_no_more_tokens_than_are_left_around_it() -> None:
    replies = [asks(ToolCall(f"t{number}", "look"), tokens=(5, 5)) for number in range(9)]
    inner = billing(*replies, says("Enough."), tools=[look], max_iterations=None)
    agent = desk(inner, replies=[asks_for("billing", tokens=(5, 5)), says("All.")], max_total_tokens=40)
    result = completed(await agent.run("?"))
    story = result.footprint.nested["call_tools#0[0]"]
    assert story.state["stop"] == "max_tokens"
    # Three answers use the thirty that are left; a last one is asked for without tools.
    assert len(mock_of(inner).requests) == 4


async def test_what_it_used_counts_for_the_limit_around_it() -> None:
    inner = billing(says("Yes.", (30, 30)), says("Never."))
    replies = [asks_for("billing"), asks_for("billing"), says("All.")]
    agent = desk(inner, replies=replies, max_total_tokens=50)
    result = await agent.run("?")
    assert isinstance(result, Stopped)
    assert result.reason is StopReason.MAX_TOKENS
    assert len(mock_of(inner).requests) == 1


# ── what tools have embedded ────────────────────────────────────────────────────────────────────


class Charged(MockEmbedder):
    """A mock that says that each request costs one USD."""

    name, model = "vendor", "vectors"

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        tell(EmbeddingUsage(self.name, self.model, len(texts), Usage(1)))
        return await super().embed(texts, purpose=purpose)


BOTH = PriceList(
    {
        "mock": Price(input=1_000_000, output=10_000_000),
        "vectors": Price(input=1_000_000, output=0),
    }
)


@tool
async def embeds() -> str:
    """Embeds, asks, and embeds again."""
    await Charged().embed(["one"])
    said = await ask_human("Go on?")
    await Charged().embed(["two"])
    return str(said)


async def handbook() -> RAG:
    rag = RAG("handbook", embedder=Charged(), store=InMemoryStore())
    await rag.index([Document("returns.md", "Goods may be returned within 30 days.")])
    return rag


async def test_what_a_search_in_a_corpus_has_embedded_is_paid_by_the_run() -> None:
    seen = Events()
    search = (await handbook()).as_tool()
    replies = [asks(ToolCall("t", search.name, {"query": "returns"})), says("All.")]
    agent = desk(replies=replies, tools=[search], pricing_table=BOTH, recorders=[seen])
    result = completed(await agent.run("?"))
    assert result.cost == 23
    assert [(tick.kind, tick.cost, tick.total) for tick in seen.of(CostTicked)] == [
        ("model", "11", "11"),
        ("embedding", "1", "12"),
        ("model", "11", "23"),
    ]
    again = await agent.replay(result.footprint)
    assert again["cost"].total == 23


async def test_embedding_on_both_sides_of_a_pause_is_paid_once_each_time_it_is_done() -> None:
    replies = [asks(ToolCall("t", "embeds")), says("All.")]
    agent = desk(replies=replies, tools=[embeds], pricing_table=BOTH)
    paused = must_pause(await agent.run("?"))
    assert paused.cost == 12
    result = completed(await go_on(agent, paused, "yes"))
    # The body runs again from its first line: what it embeds outside of `ctx.call` is done again.
    assert result.cost == 11 + 1 + 2 + 11
    assert (await agent.replay(result.footprint))["cost"].total == 25


async def test_embedding_within_a_run_within_is_counted_once() -> None:
    search = (await handbook()).as_tool()
    inner = billing(asks(ToolCall("t", search.name, {"query": "returns"})), says("Yes."), tools=[search])
    agent = desk(inner, replies=[asks_for("billing"), says("All.")], pricing_table=BOTH)
    assert completed(await agent.run("?")).cost == 4 * 11 + 1


async def test_embedding_counts_for_the_budget() -> None:
    search = (await handbook()).as_tool()
    replies = [asks(ToolCall("t", search.name, {"query": "returns"})), says("Never.")]
    prices = PriceList({"mock": ANSWERS_PRICE, "vectors": Price(input=6_000_000, output=0)})
    agent = desk(replies=replies, tools=[search], pricing_table=prices, cost_budget=budget(25))
    result = await agent.run("?")
    assert isinstance(result, Stopped)
    assert result.cost == 16
