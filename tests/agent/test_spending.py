"""What runs cost: each call counted once, whatever happens around it, and unknown when it is not known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, MemoryIdentity, Paused, Stopped, StopReason, tool
from agentfootprint.cost import CostBudget, GenAIPrices, Price, PriceList
from agentfootprint.cost.ledger import Ledger
from agentfootprint.errors import (
    AllProvidersFailed,
    ConfigurationError,
    Overloaded,
    RateLimited,
    StoreUnavailable,
    StreamTruncated,
    TimedOut,
    Unavailable,
)
from agentfootprint.events import CostTicked, RunEnded
from agentfootprint.messages import LLMChunk, LLMRequest, LLMResponse, ToolCall, Usage
from agentfootprint.providers import LLMProvider, MockProvider
from agentfootprint.resilience import fallback_provider, with_retry
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, completed

PRICES = PriceList({"mock": Price(input=1_000_000, output=10_000_000), "other": Price(input=0, output=5)})
"""One USD for a token in, ten for a token out."""

ONE = LLMResponse("Yes.", usage=Usage(2, 3), model="mock", provider="mock")
ASKS = LLMResponse(tool_calls=[ToolCall("c", "look")], usage=Usage(1, 1), model="mock", provider="mock")


@tool
def look() -> str:
    """Looks."""
    return "seen"


@tool(approval=True)
def pay() -> str:
    """Pays."""
    return "paid"


def failing(*errors: Exception, then: Any = ONE) -> MockProvider:
    return MockProvider(replies=[*(MockProvider.fail(error) for error in errors), then])


def priced(provider: LLMProvider, **options: Any) -> Agent[Any, str]:
    return Agent(provider, tools=[look, pay], pricing_table=PRICES, **options)


@pytest.fixture(params=["plain", "streamed"])
def run(request: pytest.FixtureRequest) -> Any:
    """Runs an agent plainly or streamed: money does not know the difference."""

    async def plain(agent: Agent[Any, str], question: str, **options: Any) -> Any:
        return await agent.run(question, **options)

    async def streamed(agent: Agent[Any, str], question: str, **options: Any) -> Any:
        async with agent.stream(question, **options) as running:
            async for _ in running:
                pass
        return running.result

    return plain if request.param == "plain" else streamed


async def test_a_run_costs_what_its_calls_cost(run: Any) -> None:
    result = await run(priced(MockProvider(replies=[ASKS, ONE])), "Well?")
    assert result.cost == 11 + 32


async def test_without_prices_the_cost_is_unknown(run: Any) -> None:
    result = await run(Agent(MockProvider(reply=ONE)), "Well?")
    assert result.cost is None


async def test_every_call_is_told_with_its_cost_and_the_total(run: Any) -> None:
    seen = Events()
    await run(priced(MockProvider(replies=[ASKS, ONE]), recorders=[seen]), "Well?")
    ticks = [event for event in seen.seen if isinstance(event, CostTicked)]
    assert [(tick.kind, tick.provider, tick.model) for tick in ticks] == [("model", "mock", "mock")] * 2
    assert [(tick.cost, tick.total) for tick in ticks] == [("11", "11"), ("32", "43")]
    assert [tick.usage for tick in ticks] == [Usage(1, 1), Usage(2, 3)]
    assert [event.cost for event in seen.seen if isinstance(event, RunEnded)] == [43.0]


async def test_attempts_that_the_vendor_declined_cost_nothing(run: Any) -> None:
    model = with_retry(failing(Overloaded("busy"), Unavailable("down", status=503)), initial_delay=0)
    result = await run(priced(model), "Well?")
    assert result.cost == 32


@pytest.mark.parametrize("error", [TimedOut("slow"), StreamTruncated("cut"), Unavailable("reset")])
async def test_an_attempt_that_may_have_been_charged_makes_the_total_unknown(run: Any, error: Any) -> None:
    seen = Events()
    model = with_retry(failing(error), initial_delay=0)
    result = await run(priced(model, recorders=[seen]), "Well?")
    ticks = [event for event in seen.seen if isinstance(event, CostTicked)]
    assert [(tick.cost, tick.total) for tick in ticks] == [(None, None), ("32", None)]
    assert result.cost is None


async def test_who_answered_is_paid_not_who_was_asked_first(run: Any) -> None:
    spare_says = LLMResponse("Yes.", usage=Usage(9, 2_000_000), model="other", provider="spare")
    spare = MockProvider(reply=spare_says, name="spare", model="other")
    chain = fallback_provider(MockProvider(reply=MockProvider.fail(Overloaded("busy"))), spare)
    result = await run(priced(chain), "Well?")
    assert result.cost == 10


async def test_a_dated_name_in_the_answer_has_the_price_of_the_model_asked(run: Any) -> None:
    dated = LLMResponse("Yes.", usage=Usage(2, 3), model="mock-2026-01-01", provider="mock")
    assert (await run(priced(MockProvider(reply=dated)), "Well?")).cost == 32


async def test_without_usage_the_cost_is_unknown_and_not_zero(run: Any) -> None:
    silent = LLMResponse("Yes.", model="mock", provider="mock")
    assert (await run(priced(MockProvider(reply=silent)), "Well?")).cost is None


async def test_a_model_without_a_price_makes_the_total_unknown(run: Any) -> None:
    assert (await run(priced(MockProvider(reply=ONE, model="new")), "Well?")).cost == 32
    new = LLMResponse("Yes.", usage=Usage(2, 3), model="new", provider="mock")
    assert (await run(priced(MockProvider(reply=new, model="new")), "Well?")).cost is None


async def test_a_pricing_table_that_raises_loses_no_answer(run: Any) -> None:
    class Broken:
        def cost(self, provider: str, model: str, usage: Usage) -> Decimal | None:
            raise KeyError(model)

    result = await run(Agent(MockProvider(reply=ONE), pricing_table=Broken()), "Well?")
    assert (result.output, result.cost) == ("Yes.", None)


async def test_a_paused_run_goes_on_counting_where_it_stopped() -> None:
    asks = LLMResponse(tool_calls=[ToolCall("c", "pay")], usage=Usage(1, 1), model="mock", provider="mock")
    agent = priced(MockProvider(replies=[asks, ONE]))
    paused = await agent.run("Pay.")
    assert isinstance(paused, Paused)
    assert paused.cost == 11
    text = paused.checkpoint.to_json()
    ended = await agent.resume(Checkpoint.from_json(text), answer=True)
    assert ended.cost == 43


async def test_a_run_that_broke_off_goes_on_counting_where_it_stopped() -> None:
    agent = priced(MockProvider(replies=[ASKS, MockProvider.fail(Overloaded("busy")), ONE]))
    with pytest.raises(Overloaded) as caught:
        await agent.run("Well?")
    assert caught.value.checkpoint is not None
    assert (await agent.resume(caught.value.checkpoint)).cost == 43


async def test_an_attempt_of_unknown_cost_before_a_crash_is_not_forgotten_by_the_run_that_goes_on() -> None:
    agent = priced(failing(TimedOut("slow"), TimedOut("slow")))
    checkpoint = None
    for _ in range(2):
        with pytest.raises(TimedOut) as caught:
            await (agent.run("Well?") if checkpoint is None else agent.resume(checkpoint))
        assert caught.value.checkpoint is not None
        checkpoint = Checkpoint.from_json(caught.value.checkpoint.to_json())
    assert checkpoint is not None
    result = await agent.resume(checkpoint)
    assert (result.output, result.cost) == ("Yes.", None)


async def test_a_call_cut_off_by_the_deadline_has_an_unknown_cost() -> None:
    agent = priced(MockProvider(replies=[ASKS, ONE], latency=30), timeout=0.05)
    result = await agent.run("Well?")
    assert isinstance(result, Stopped)
    assert (result.reason, result.cost) == (StopReason.DEADLINE, None)


async def test_a_follow_up_turn_has_a_cost_of_its_own() -> None:
    me = MemoryIdentity("acme", "alice", "t-1")
    agent = priced(MockProvider(reply=ONE), state=InMemoryState())
    assert [(await agent.run("Well?", identity=me)).cost for _ in range(2)] == [32, 32]


async def test_runs_at_once_do_not_mix_their_costs() -> None:
    agent = priced(MockProvider(respond=lambda request: ONE, latency=0.001))
    found = await asyncio.gather(*(agent.run("Well?") for _ in range(20)))
    assert {result.cost for result in found} == {Decimal(32)}


async def test_replayed_a_run_costs_what_it_cost_then() -> None:
    agent = priced(MockProvider(replies=[ASKS, ONE]))
    result = completed(await agent.run("Well?"))
    dearer = agent.replace(pricing_table=PriceList({"mock": Price(input=9, output=9)}))
    again = await dearer.replay(result.footprint)
    assert again["cost"].total == 43


async def test_the_narrative_tells_what_was_spent() -> None:
    result = await priced(MockProvider(replies=[ASKS, ONE])).run("Well?")
    told = result.footprint.narrative().splitlines()
    assert "$11 so far" in told[1]
    assert "$43 so far" in told[-1]


def test_a_table_that_knows_no_prices_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="pricing_table"):
        Agent(MockProvider(reply=ONE), pricing_table={"mock": 1})  # type: ignore[arg-type]


async def test_a_mock_under_vendors_prices_is_free() -> None:
    result = await Agent(MockProvider(reply="hi"), pricing_table=GenAIPrices()).run("Well?")
    assert result.cost == 0


async def test_a_dated_name_has_the_price_of_the_longest_name_it_begins_with(run: Any) -> None:
    dated = LLMResponse("Yes.", usage=Usage(2, 3), model="nano-mini-2026-01-01", provider="mock")
    small, large = MockProvider(reply=dated, model="nano-mini"), MockProvider(reply="No.", model="nano")
    table = PriceList(
        {"nano-mini": Price(input=0, output=1_000_000), "nano": Price(input=0, output=9_000_000)}
    )
    for chain in (fallback_provider(small, large), fallback_provider(small, large, small)):
        result = await run(Agent(chain, pricing_table=table), "Well?")
        assert result.cost == 3


async def test_an_attempt_that_could_not_be_reserved_is_no_call(run: Any) -> None:
    class DownForOne(InMemoryState):
        calls = 0

        async def increment(self, *arguments: Any, **options: Any) -> Any:
            DownForOne.calls += 1
            if DownForOne.calls == 3:  # After the first attempt was reserved, and settled.
                raise StoreUnavailable("the state store cannot be reached")
            return await super().increment(*arguments, **options)

    provider = with_retry(failing(Overloaded("busy")), initial_delay=0)
    agent = priced(provider, state=DownForOne(), cost_budget=CostBudget(per_tenant_daily_usd=10**6))
    ticks = Events()
    agent.attach(ticks)
    with pytest.raises(StoreUnavailable) as caught:
        await run(agent, "Well?", identity=MemoryIdentity("acme"))
    assert ticks.of(CostTicked) == []
    assert caught.value.checkpoint is not None
    assert (await agent.resume(caught.value.checkpoint)).cost == 32


def test_a_table_is_an_object_and_not_its_class() -> None:
    table: Any = GenAIPrices
    with pytest.raises(ConfigurationError, match=r"GenAIPrices\(\.\.\.\)"):
        Agent(MockProvider(reply="x"), pricing_table=table)


async def test_half_an_answer_may_be_charged_whatever_ended_it() -> None:
    half = LLMChunk(text="Ye")

    class BreaksOff(MockProvider):
        async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
            yield half
            raise Overloaded("busy")

    agent = priced(with_retry(BreaksOff(reply=ONE)))
    async with agent.stream("Well?") as running:
        with pytest.raises(Overloaded) as caught:
            _ = [event async for event in running]
    assert caught.value.checkpoint is not None
    assert (await agent.resume(caught.value.checkpoint)).cost is None


async def test_an_attempt_that_was_declined_costs_nothing_also_when_the_wait_after_it_is_cut_off() -> None:
    state = InMemoryState()
    provider = with_retry(failing(RateLimited("busy")), initial_delay=30)
    budget = CostBudget(per_tenant_daily_usd=10**6)
    agent = priced(provider, state=state, cost_budget=budget, timeout=0.05)
    ann = MemoryIdentity("acme")
    result = await agent.run("Well?", identity=ann)
    assert isinstance(result, Stopped)
    assert result.cost == 0
    assert await Ledger(state, "agent", budget.all_windows, ann).left() == budget.all_windows[0].limit


async def test_a_failed_attempt_is_told_by_the_name_of_who_was_asked(run: Any) -> None:
    one = MockProvider(reply=MockProvider.fail(TimedOut("late", provider="one")), name="one", model="a")
    two = MockProvider(reply=MockProvider.fail(TimedOut("late", provider="two")), name="two", model="b")
    agent, events = priced(fallback_provider(one, two)), Events()
    agent.attach(events)
    with pytest.raises(AllProvidersFailed):
        await run(agent, "Well?")
    assert [(tick.provider, tick.model) for tick in events.of(CostTicked)] == [("one", "a"), ("two", "b")]


async def test_a_fork_that_asks_the_model_anew_costs_what_that_costs() -> None:
    footprint = (await priced(MockProvider(replies=[ASKS, ONE])).run("Well?")).footprint
    dear = LLMResponse("No.", usage=Usage(5, 5), model="mock", provider="mock")
    other = priced(MockProvider(reply=dear))
    run = await other.fork(footprint, at="call_model#1", set={"system": "Say no."}, effects="live")
    assert run["cost"].total == 11 + 55
    unchanged = await other.fork(footprint, at="call_model#1", set={"iteration": 1})
    assert unchanged["cost"].total == 11 + 32
