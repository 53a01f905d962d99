"""Budgets halt before the call that would exceed them: per run and per tenant, over attempts."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentfootprint import Agent, MemoryIdentity, Paused, Stopped, StopReason, tool
from agentfootprint.cost import CostBudget, Price, PriceList, SpendingWindow
from agentfootprint.errors import (
    ConfigurationError,
    IdentityRequired,
    Overloaded,
    StoreUnavailable,
    TimedOut,
    Unavailable,
)
from agentfootprint.events import LimitReached
from agentfootprint.messages import LLMRequest, LLMResponse, Message, ToolCall, Usage
from agentfootprint.providers import LLMProvider, MockProvider
from agentfootprint.resilience import fallback_provider, with_retry
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, completed

ME = MemoryIdentity("acme", "alice", "t-1")

PRICES = PriceList({"mock": Price(input=0, output=10_000), "dear": Price(input=0, output=1_000_000)})
"""A cent for a token out, a dollar for one of the dear model."""


def says(text: str = "Yes.", cents: int = 100, **more: Any) -> LLMResponse:
    return LLMResponse(text, usage=Usage(1, cents), model="mock", provider="mock", **more)


def looks(cents: int = 100) -> LLMResponse:
    return LLMResponse(
        tool_calls=[ToolCall("c", "look")], usage=Usage(1, cents), model="mock", provider="mock"
    )


@tool
def look() -> str:
    """Looks."""
    return "seen"


@tool(approval=True)
def pay() -> str:
    """Pays."""
    return "paid"


def limited(provider: LLMProvider, budget: CostBudget, **options: Any) -> Agent[Any, str]:
    """Each call may answer with a hundred tokens, that is for a dollar."""
    options = {"max_tokens": 100, **options}
    return Agent(provider, tools=[look, pay], pricing_table=PRICES, cost_budget=budget, **options)


def stopped(result: Any) -> Stopped[str]:
    assert isinstance(result, Stopped), result
    assert result.reason is StopReason.COST_BUDGET
    return result


class TestOfARun:
    async def test_within_the_budget_nothing_is_different(self) -> None:
        result = await limited(MockProvider(replies=[looks(), says()]), CostBudget(usd=2)).run("Well?")
        assert completed(result).output == "Yes."
        assert result.cost == 2

    async def test_the_call_that_would_exceed_it_is_not_made(self) -> None:
        model = MockProvider(replies=[looks(), says()])
        seen = Events()
        result = stopped(await limited(model, CostBudget(usd="1.99"), recorders=[seen]).run("Well?"))
        assert len(model.requests) == 1
        assert result.cost == 1
        assert result.output is None
        assert [event.limit for event in seen.seen if isinstance(event, LimitReached)] == ["cost_budget"]

    async def test_streamed_it_halts_as_well(self) -> None:
        model = MockProvider(replies=[looks(), says()])
        async with limited(model, CostBudget(usd="1.99")).stream("Well?") as run:
            async for _ in run:
                pass
        assert stopped(run.result).cost == 1
        assert len(model.requests) == 1

    async def test_what_a_call_did_not_use_is_there_for_the_next(self) -> None:
        model = MockProvider(replies=[looks(cents=1), looks(cents=1), says(cents=1)])
        result = await limited(model, CostBudget(usd="1.02")).run("Well?")
        assert completed(result).cost == Decimal("0.03")

    async def test_not_even_the_first_call_is_made_when_it_could_exceed(self) -> None:
        model = MockProvider(reply=says())
        result = stopped(await limited(model, CostBudget(usd="0.99")).run("Well?"))
        assert model.requests == []
        assert result.cost == 0
        assert result.output is None
        assert list(result.messages) == [Message.user("Well?")]

    async def test_why_it_stopped_is_told(self) -> None:
        result = await limited(MockProvider(reply=says()), CostBudget(usd="0.99")).run("Well?")
        told = result.footprint.narrative()
        assert "The model was not asked" in told
        assert "could cost 1 USD" in told

    async def test_the_history_of_a_halted_run_can_be_continued(self) -> None:
        result = stopped(
            await limited(MockProvider(replies=[looks(), says()]), CostBudget(usd="1.99")).run("Well?")
        )
        richer = limited(MockProvider(reply=says()), CostBudget(usd=5))
        assert completed(await richer.run("And?", messages=result.messages)).output == "Yes."

    async def test_it_holds_across_a_pause(self) -> None:
        asks = LLMResponse(
            tool_calls=[ToolCall("c", "pay")], usage=Usage(1, 100), model="mock", provider="mock"
        )
        model = MockProvider(replies=[asks, says()])
        agent = limited(model, CostBudget(usd="1.99"))
        paused = await agent.run("Pay.")
        assert isinstance(paused, Paused)
        assert stopped(await agent.resume(paused.checkpoint, answer=True)).cost == 1
        assert len(model.requests) == 1

    async def test_the_last_answer_that_another_limit_asks_for_is_under_it_too(self) -> None:
        model = MockProvider(replies=[looks(), says()])
        agent = limited(model, CostBudget(usd="1.99"), max_iterations=1)
        assert stopped(await agent.run("Well?")).output is None

    async def test_replayed_it_stops_at_the_same_place(self) -> None:
        agent = limited(MockProvider(replies=[looks(), says()]), CostBudget(usd="1.99"))
        result = await agent.run("Well?")
        again = await agent.replay(result.footprint)
        assert again["stop"] == "cost_budget"


class TestOfAttempts:
    async def test_the_dearest_model_of_a_chain_is_reserved(self) -> None:
        dear = MockProvider(reply=says(), name="spare", model="dear")
        chain = fallback_provider(MockProvider(reply=says()), dear)
        stopped(await limited(chain, CostBudget(usd=99)).run("Well?"))
        completed(await limited(chain, CostBudget(usd=100)).run("Well?"))

    async def test_declined_attempts_give_their_reservation_back(self) -> None:
        model = MockProvider(replies=[MockProvider.fail(Overloaded("busy")), says()])
        result = await limited(with_retry(model, initial_delay=0), CostBudget(usd=1)).run("Well?")
        assert completed(result).cost == 1

    @pytest.mark.parametrize("error", [TimedOut("slow"), Unavailable("reset")])
    async def test_attempts_that_may_be_charged_count_as_spent(self, error: Exception) -> None:
        model = MockProvider(replies=[MockProvider.fail(error), says()])
        result = stopped(
            await limited(with_retry(model, initial_delay=0), CostBudget(usd="1.99")).run("Well?")
        )
        assert len(model.requests) == 1
        assert result.cost is None

    async def test_a_fallback_that_cannot_be_paid_is_not_asked(self) -> None:
        spare = MockProvider(reply=says(), name="spare")
        chain = fallback_provider(MockProvider(reply=MockProvider.fail(TimedOut("slow"))), spare)
        stopped(await limited(chain, CostBudget(usd="1.99")).run("Well?"))
        assert spare.requests == []


class TestWithoutMaxTokens:
    """The answer then gets as many tokens as can be paid."""

    async def test_the_call_is_limited_to_what_is_assumed_of_it(self) -> None:
        model = MockProvider(reply=says())
        await limited(model, CostBudget(usd=1000), max_tokens=None).run("Well?")
        await limited(model, CostBudget(usd=1000, max_output_tokens=7), max_tokens=None).run("Well?")
        assert [request.max_tokens for request in model.requests] == [4096, 7]

    async def test_it_is_limited_to_what_is_left(self) -> None:
        model = MockProvider(replies=[looks(), says(cents=90)])
        result = await limited(model, CostBudget(usd=2), max_tokens=None).run("Well?")
        assert [request.max_tokens for request in model.requests] == [200, 100]
        assert completed(result).cost == Decimal("1.9")

    async def test_too_few_tokens_for_an_answer_are_not_asked_for(self) -> None:
        model = MockProvider(reply=says())
        stopped(await limited(model, CostBudget(usd="0.63"), max_tokens=None).run("Well?"))
        assert model.requests == []

    async def test_an_answer_cut_for_want_of_money_is_not_passed_off_as_whole(self) -> None:
        model = MockProvider(reply=says("Half of", stop_reason="max_tokens"))
        result = stopped(await limited(model, CostBudget(usd=1), max_tokens=None).run("Well?"))
        assert result.output == "Half of"

    async def test_an_answer_cut_by_the_users_own_limit_is_none_of_the_budgets_business(self) -> None:
        model = MockProvider(reply=says("Half of", stop_reason="max_tokens"))
        completed(await limited(model, CostBudget(usd=1)).run("Well?"))

    async def test_tool_calls_of_a_cut_answer_do_not_run(self) -> None:
        cut = LLMResponse(
            tool_calls=[ToolCall("c", "look")],
            usage=Usage(1, 100),
            stop_reason="max_tokens",
            model="mock",
            provider="mock",
        )
        result = stopped(
            await limited(MockProvider(reply=cut), CostBudget(usd=1), max_tokens=None).run("Well?")
        )
        assert "cost_budget" in result.messages[-1].text


class TestOfATenant:
    async def test_runs_of_a_tenant_share_it(self) -> None:
        agent = limited(MockProvider(reply=says()), CostBudget(per_tenant_daily_usd=3))
        for _ in range(3):
            completed(await agent.run("Well?", identity=ME))
        stopped(await agent.run("Well?", identity=MemoryIdentity("acme", "bob")))
        completed(await agent.run("Well?", identity=MemoryIdentity("umbrella")))

    async def test_agents_of_one_budgets_name_share_it_over_one_state(self) -> None:
        state = InMemoryState()
        budget = CostBudget(per_tenant_daily_usd=1, name="everything")
        one, two = (
            limited(MockProvider(reply=says()), budget, name=name, state=state) for name in ("one", "two")
        )
        completed(await one.run("Well?", identity=ME))
        stopped(await two.run("Well?", identity=ME))

    async def test_agents_of_other_names_have_their_own(self) -> None:
        state = InMemoryState()
        budget = CostBudget(per_tenant_daily_usd=1)
        for name in ("one", "two"):
            agent = limited(MockProvider(reply=says()), budget, name=name, state=state)
            completed(await agent.run("Well?", identity=ME))

    async def test_a_copy_of_an_agent_shares_it(self) -> None:
        agent = limited(MockProvider(reply=says()), CostBudget(per_tenant_daily_usd=1))
        completed(await agent.run("Well?", identity=ME))
        stopped(await agent.replace(temperature=0.5).run("Well?", identity=ME))

    async def test_without_a_tenant_the_run_is_refused(self) -> None:
        agent = limited(MockProvider(reply=says()), CostBudget(per_tenant_daily_usd=1))
        for nobody in (None, MemoryIdentity(principal="alice")):
            with pytest.raises(IdentityRequired, match="budget for each tenant"):
                await agent.run("Well?", identity=nobody)

    async def test_anonymous_runs_share_one_when_they_are_allowed(self) -> None:
        agent = limited(MockProvider(reply=says()), CostBudget(per_tenant_daily_usd=1), allow_anonymous=True)
        completed(await agent.run("Well?"))
        stopped(await agent.run("Well?"))

    async def test_a_window_over_everybody_needs_no_tenant(self) -> None:
        agent = limited(MockProvider(reply=says()), CostBudget(windows=(SpendingWindow(1, per=None),)))
        completed(await agent.run("Well?"))
        stopped(await agent.run("Well?"))

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, 100), min_size=1, max_size=20), st.integers(0, 800))
    def test_runs_at_once_never_overspend_it(self, cents: list[int], limit: int) -> None:
        spent = 0

        async def answer(request: LLMRequest) -> LLMResponse:
            nonlocal spent
            await asyncio.sleep(0)
            cost = cents[int(request.messages[-1].text)]
            spent += cost
            return says(cents=cost)

        async def at_once() -> list[Any]:
            budget = CostBudget(per_tenant_daily_usd=Decimal(limit) / 100)
            agent = limited(MockProvider(respond=answer), budget)
            return await asyncio.gather(*(agent.run(str(n), identity=ME) for n in range(len(cents))))

        ends = asyncio.run(at_once())
        assert spent <= limit
        assert spent == sum(result.cost * 100 for result in ends)
        # As many as fit in at once at their worst do run.
        assert sum(isinstance(end, Stopped) for end in ends) <= max(0, len(cents) - limit // 100)

    async def test_when_the_state_cannot_say_what_is_left_no_call_is_made(self) -> None:
        class Down(InMemoryState):
            async def increment(self, *arguments: Any, **options: Any) -> int | None:
                raise StoreUnavailable("the state is away")

        model = MockProvider(reply=says())
        agent = limited(model, CostBudget(per_tenant_daily_usd=1), state=Down())
        with pytest.raises(StoreUnavailable):
            await agent.run("Well?", identity=ME, fresh=True)
        assert model.requests == []

    async def test_when_a_call_cannot_be_settled_its_answer_is_not_lost(self) -> None:
        class Failing(InMemoryState):
            async def increment(self, key: Any, by: int = 1, **options: Any) -> int | None:
                if by < 0:
                    raise StoreUnavailable("the state is away")
                return await super().increment(key, by, **options)

        agent = limited(
            MockProvider(reply=says(cents=1)), CostBudget(per_tenant_daily_usd="1.5"), state=Failing()
        )
        assert completed(await agent.run("Well?", identity=ME)).cost == Decimal("0.01")
        stopped(await agent.run("Well?", identity=ME))


class TestWarnings:
    async def test_a_warning_is_told_once_and_the_run_goes_on(self) -> None:
        seen = Events()
        model = MockProvider(replies=[looks(), looks(), says()])
        agent = limited(model, CostBudget(usd="1.5", on_exceed="warn"), recorders=[seen])
        assert completed(await agent.run("Well?")).cost == 3
        told = [event for event in seen.seen if isinstance(event, LimitReached)]
        assert [(event.limit, event.value) for event in told] == [("cost_budget", 2.0)]

    async def test_a_tenants_warning_too(self) -> None:
        seen = Events()
        budget = CostBudget(per_tenant_daily_usd=1, on_exceed="warn")
        agent = limited(MockProvider(reply=says()), budget, recorders=[seen])
        for _ in range(2):
            completed(await agent.run("Well?", identity=ME))
        assert len([event for event in seen.seen if isinstance(event, LimitReached)]) == 1

    async def test_a_warned_call_is_not_limited(self) -> None:
        model = MockProvider(reply=says())
        await limited(model, CostBudget(usd="0.5", on_exceed="warn"), max_tokens=None).run("Well?")
        assert model.requests[0].max_tokens is None


class TestPrices:
    def test_a_budget_without_prices_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="pricing_table"):
            Agent(MockProvider(reply="hi"), cost_budget=CostBudget(usd=1))

    def test_a_number_is_no_budget(self) -> None:
        with pytest.raises(ConfigurationError, match="CostBudget"):
            Agent(MockProvider(reply="hi"), pricing_table=PRICES, cost_budget=1)  # type: ignore[arg-type]

    def test_a_model_without_a_price_is_refused_and_named(self) -> None:
        chain = with_retry(fallback_provider(MockProvider(reply="hi"), MockProvider(reply="ho", model="new")))
        with pytest.raises(ConfigurationError, match="mock:new"):
            limited(chain, CostBudget(usd=1))

    async def test_it_may_be_allowed_and_its_total_is_unknown(self) -> None:
        new = LLMResponse("Yes.", usage=Usage(1, 1), model="new", provider="mock")
        budget = CostBudget(usd=1, unpriced="allow")
        result = await limited(MockProvider(reply=new, model="new"), budget).run("Well?")
        assert completed(result).cost is None


async def test_a_turn_whose_rest_the_budget_refuses_is_kept_as_far_as_it_was_paid() -> None:
    begun = LLMResponse("First ", usage=Usage(10, 10), stop_reason="paused", model="mock", provider="mock")
    agent = Agent(
        MockProvider(replies=[begun, "never"]),
        pricing_table=PriceList({"mock": Price(input=1, output=1)}),
        cost_budget=CostBudget(usd="0.00009"),
    )
    result = await agent.run("Hi")
    assert isinstance(result, Stopped)
    assert result.reason is StopReason.COST_BUDGET
    assert result.output == "First "
    assert result.cost == Decimal("0.00002")
