"""What memories ask of models and embedders: in the record, priced, within the budget, paid for once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.cost import CostBudget, Price, PriceList, SpendingWindow
from agentfootprint.cost.ledger import Ledger
from agentfootprint.cost.prices import usd_of
from agentfootprint.embedders import Embedding, EmbeddingUsage, MockEmbedder, Purpose
from agentfootprint.embedders.usage import tell
from agentfootprint.errors import ConfigurationError, Overloaded, RateLimited, StoreUnavailable
from agentfootprint.events import (
    CostTicked,
    MemoryFailed,
    MemoryFolded,
    MemoryWritten,
    ModelEnded,
    ModelStarted,
    RunEnded,
    TextDelta,
)
from agentfootprint.flow import Footprint
from agentfootprint.flow.rows import canonical_rows
from agentfootprint.memory import Extract, Fact, InMemoryStore, Memory, Summarize, TopK
from agentfootprint.memory.asking import Ask
from agentfootprint.messages import LLMRequest, LLMResponse, Message, Usage
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState, StateKey
from tests.agent.support import Events, completed

ALICE = MemoryIdentity("acme", "alice", "t-1")
PRICES = PriceList(
    {
        "mock": Price(input=1_000_000, output=10_000_000),
        "helper": Price(input=100_000, output=100_000),
        "vectors": Price(input=1_000, output=0),
    }
)
ONE_TOKEN = Usage(1)
FACTS = json.dumps([{"about": "name", "fact": "is called Ada"}])


class Charged(MockEmbedder):
    """A mock that says that it wants a thousandth of a dollar a text."""

    name, model = "vendor", "vectors"

    def __init__(self, *, usage: Usage | None = ONE_TOKEN, charged: bool = True) -> None:
        super().__init__()
        self.usage = usage
        self.charged = charged

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        tell(EmbeddingUsage(self.name, self.model, len(texts), self.usage, self.charged))
        return await super().embed(texts, purpose=purpose)


class Broken(InMemoryStore):
    """Takes nothing while it is down."""

    down = True

    async def put(self, *arguments: Any, **options: Any) -> Any:
        if self.down:
            raise StoreUnavailable("no route")
        return await super().put(*arguments, **options)


def says(text: str, tokens: tuple[int, int] = (1, 1), model: str = "mock") -> LLMResponse:
    return LLMResponse(text, usage=Usage(*tokens), model=model, provider="mock")


def model(*replies: Any, name: str = "mock") -> MockProvider:
    provider = MockProvider(replies=list(replies))
    provider.model = name
    return provider


def facts(provider: Any = None, **options: Any) -> Memory:
    strategy = options.pop("strategy", None) or Extract(provider=provider)
    return Memory(
        "facts",
        scope="principal",
        kind="semantic",
        strategy=strategy,
        **{"store": InMemoryStore(), **options},
    )


def agent(provider: Any, *memories: Memory, **options: Any) -> Agent[Any, str]:
    return Agent(provider, memory=memories, **{"pricing_table": PRICES, **options})


@pytest.fixture(params=["plain", "streamed"])
def run(request: pytest.FixtureRequest) -> Any:
    async def go(asked: Agent[Any, str], question: str, **options: Any) -> Any:
        if request.param == "plain":
            return completed(await asked.run(question, **options))
        async with asked.stream(question, **options) as stream:
            async for _ in stream:
                pass
        return completed(stream.result)

    return go


async def test_the_agents_own_model_is_asked_and_its_cost_is_the_runs(run: Any) -> None:
    seen = Events()
    asked = agent(model(says("Hello Ada."), says(FACTS, (2, 1))), facts(), recorders=[seen])
    result = await run(asked, "I am Ada.", identity=ALICE)
    assert result.output == "Hello Ada."
    assert result.cost == Decimal(1 + 10 + 2 + 10)
    assert result.usage == Usage(3, 2)
    ticks = seen.of(CostTicked)
    assert [(tick.kind, tick.cost, tick.total) for tick in ticks] == [
        ("model", "11", "11"),
        ("memory", "12", "23"),
    ]
    assert ticks[1].step == "remember#0"
    assert seen.of(RunEnded)[0].cost == 23
    assert not seen.of(ModelStarted)[1].streamed
    assert "".join(delta.text for delta in seen.of(TextDelta)) in ("", "Hello Ada.")
    assert len(seen.of(ModelEnded)) == 2
    story = result.footprint.narrative()
    assert "Memory 'facts' was written, by 1 question to a model." in story


async def test_another_model_has_its_own_price() -> None:
    seen = Events()
    helper = model(says(FACTS, (1, 1), "helper"), name="helper")
    result = await agent(model(says("Hi.")), facts(helper), recorders=[seen]).run("I am Ada.", identity=ALICE)
    assert result.cost == Decimal("11.2")
    assert [tick.model for tick in seen.of(CostTicked)] == ["mock", "helper"]
    assert len(helper.requests) == 1


async def test_embedding_is_counted_when_it_is_asked_for_and_when_it_is_written(run: Any) -> None:
    seen = Events()
    memory = Memory("talk", scope="principal", store=InMemoryStore(), strategy=TopK(embedder=Charged()))
    result = await run(agent(model(says("Hi.")), memory, recorders=[seen]), "I am Ada.", identity=ALICE)
    assert result.cost == Decimal("11.002")
    ticks = [(tick.kind, tick.provider, tick.model, tick.cost, tick.total) for tick in seen.of(CostTicked)]
    assert ticks == [
        ("embedding", "vendor", "vectors", "0.001", "0.001"),
        ("model", "mock", "mock", "11", "11.001"),
        ("embedding", "vendor", "vectors", "0.001", "11.002"),
    ]
    assert result.usage == Usage(1, 1), "tokens of an embedder are none of a model"


async def test_what_several_memories_ask_at_once_is_added_up() -> None:
    memories = [
        Memory(name, scope="principal", store=InMemoryStore(), strategy=TopK(embedder=Charged()))
        for name in ("one", "two", "three")
    ]
    result = await agent(model(says("Hi.")), *memories).run("I am Ada.", identity=ALICE)
    assert result.cost == Decimal("11.006")


@pytest.mark.parametrize(
    ("embedder", "cost"),
    [
        (Charged(usage=None), None),
        (Charged(charged=False), Decimal(11)),
        (MockEmbedder(), Decimal(11)),
    ],
)
async def test_unknown_is_not_nothing_but_what_nobody_charges_is(embedder: Any, cost: Decimal | None) -> None:
    memory = Memory("talk", scope="principal", store=InMemoryStore(), strategy=TopK(embedder=embedder))
    assert (await agent(model(says("Hi.")), memory).run("I am Ada.", identity=ALICE)).cost == cost


async def test_a_budget_that_refuses_a_memorys_call_costs_no_answer() -> None:
    seen = Events()
    provider = model(says("Hello Ada."))
    asked = agent(provider, facts(), cost_budget=CostBudget(usd=100), max_tokens=5, recorders=[seen])
    result = completed(await asked.run("I am Ada.", identity=ALICE))
    assert result.output == "Hello Ada."
    [failed] = seen.of(MemoryFailed)
    assert "it was not made" in failed.message
    assert len(provider.requests) == 1
    assert result.cost == 11


async def test_windows_of_a_budget_count_what_memories_cost() -> None:
    state = InMemoryState()
    helper = model(says(FACTS, (1, 1), "helper"), name="helper")
    talk = Memory("talk", scope="principal", store=InMemoryStore(), strategy=TopK(embedder=Charged()))
    asked = agent(
        model(says("Hi.")),
        facts(helper),
        talk,
        state=state,
        cost_budget=CostBudget(per_tenant_daily_usd=1_000_000_000, max_output_tokens=10),
    )
    await asked.run("I am Ada.", identity=ALICE)
    assert await spent(state) == Decimal("11.202")


async def spent(state: InMemoryState) -> Decimal:
    [total] = [total for day in range(2) if (total := await state.increment(_today(day), 0))]
    return Decimal(total) / 1_000_000_000


def _today(back: int) -> StateKey:
    number = int(time.time() // 86_400) - back
    return StateKey(MemoryIdentity("acme"), "spent", f"agent/tenant/86400.0/{number}")


def test_a_budget_wants_a_price_for_all_that_memories_ask() -> None:
    unpriced = facts(model("x", name="mystery"))
    budget = CostBudget(usd=1)
    with pytest.raises(ConfigurationError, match="no price for mock:mystery"):
        agent(model("x"), unpriced, cost_budget=budget)
    agent(model("x"), unpriced)
    agent(model("x"), unpriced, cost_budget=CostBudget(usd=1, unpriced="allow"))
    embedder = Charged()
    embedder.model = "mystery"
    talk = Memory("talk", scope="principal", store=InMemoryStore(), strategy=TopK(embedder=embedder))
    with pytest.raises(ConfigurationError, match="no price for vendor:mystery"):
        agent(model("x"), talk, cost_budget=budget)
    embedder.charged = False
    agent(model("x"), talk, cost_budget=budget)


def story(*replies: Any, after: int = 2, **options: Any) -> Memory:
    helper = model(*replies, name="helper")
    strategy = Summarize(1, after, provider=helper)
    return Memory("story", kind="narrative", strategy=strategy, **{"store": InMemoryStore(), **options})


async def test_a_summary_is_written_after_the_answer_and_told() -> None:
    seen = Events()
    memory = story(says("They talked.", (3, 2), "helper"))
    asked = agent(model(says("a1"), says("a2"), says("a3"), says("a4")), memory, recorders=[seen])
    costs = [(await asked.run(f"q{n}", identity=ALICE)).cost for n in (1, 2, 3)]
    assert costs == [Decimal(11), Decimal(11), Decimal("11.5")]
    assert [(event.memory, event.turns) for event in seen.of(MemoryFolded)] == [("story", 2)]
    result = await asked.run("q4", identity=ALICE)
    provider = asked.provider
    assert isinstance(provider, MockProvider)
    texts = [message.text for message in provider.requests[-1].messages]
    assert texts[0].endswith("They talked.")
    assert texts[1:] == ["q3", "a3", "q4"]
    assert "The summary" not in result.footprint.narrative()


async def test_a_summary_that_fails_is_told_and_its_turn_is_there() -> None:
    seen = Events()
    memory = story("", says("Told.", (0, 0), "helper"))
    asked = agent(model(*(says(f"a{n}") for n in range(4))), memory, recorders=[seen])
    told = [(await asked.run(f"q{n}", identity=ALICE)).footprint.narrative() for n in range(4)]
    assert [event.operation for event in seen.of(MemoryFailed)] == ["fold"]
    assert "The summary of memory 'story' could not be written anew" in told[2]
    assert len(seen.of(MemoryWritten)) == 4
    assert [event.turns for event in seen.of(MemoryFolded)] == [3]
    assert "was written anew, by 1 question to a model" in told[3]


async def test_what_memories_asked_is_replayed_from_the_record(tmp_path: Path) -> None:
    helper = model(*[says(FACTS, (1, 1), "helper")] * 3, name="helper")
    talk = Memory("talk", scope="principal", store=InMemoryStore(), strategy=TopK(embedder=Charged()))
    memories = [facts(helper), talk, story(says("Told.", (1, 1), "helper"))]
    asked = agent(model(says("a1"), says("a2"), says("a3")), *memories)
    for question in ("q1", "q2"):
        await asked.run(question, identity=ALICE)
    result = completed(await asked.run("q3", identity=ALICE))
    assert result.cost == Decimal("11.402")
    path = tmp_path / "run.footprint.jsonl"
    result.footprint.save(path)
    stored = Footprint.load(path, asked.flow)
    again = await asked.replay(stored)
    assert canonical_rows(again.footprint.steps) == canonical_rows(result.footprint.steps)
    assert stored.narrative() == result.footprint.narrative()
    assert len(helper.requests) == 3


async def test_facts_that_were_paid_for_are_written_when_the_store_is_there_again() -> None:
    seen, store = Events(), Broken()
    helper = model(says(FACTS, (1, 1), "helper"), name="helper")
    asked = agent(model(says("a1")), facts(helper, store=store), recorders=[seen])
    result = await asked.run("I am Ada.", identity=ALICE)
    assert result.cost == Decimal("11.2")
    assert [event.operation for event in seen.of(MemoryFailed)] == ["remember"]
    store.down = False
    await asked.aclose()
    assert len(helper.requests) == 1
    [entry] = (await store.list(ALICE.scoped("principal"))).entries
    assert entry.value["fact"] == "is called Ada"
    assert [event.run_id for event in seen.of(MemoryWritten)] == [result.run_id]


async def test_a_model_that_is_busy_finds_the_facts_later_at_its_price() -> None:
    seen = Events()
    helper = model(MockProvider.fail(Overloaded("busy")), says(FACTS, (1, 1), "helper"), name="helper")
    memory = facts(helper)
    asked = agent(model(says("a1")), memory, recorders=[seen])
    result = await asked.run("I am Ada.", identity=ALICE)
    assert result.cost == Decimal(11)
    await asked.aclose()
    assert [(tick.kind, tick.cost, tick.total) for tick in seen.of(CostTicked)][1:] == [
        ("memory", "0.2", "11.2")
    ]
    assert len((await memory.store.list(ALICE.scoped("principal"))).entries) == 1


async def test_turns_that_are_kept_late_stay_within_the_budget_of_their_run_together() -> None:
    seen = Events()
    answers = PriceList({"mock": Price(input=0, output=10_000_000)})
    busy = MockProvider.fail(RateLimited("busy"))
    memories = [
        Memory(
            name,
            scope="principal",
            kind="semantic",
            strategy=Extract(provider=model(busy, says(FACTS))),
            store=InMemoryStore(),
        )
        for name in ("one", "two", "three")
    ]
    asked = agent(
        model(says("a1")),
        *memories,
        pricing_table=answers,
        cost_budget=CostBudget(usd=35, max_output_tokens=1),
        recorders=[seen],
    )
    result = await asked.run("I am Ada.", identity=ALICE)
    assert result.cost == Decimal(10)
    await asked.aclose()
    ticks = [(tick.kind, tick.cost, tick.total) for tick in seen.of(CostTicked)]
    # Of the 25 USD that are left two calls can be paid, and each total holds those before it.
    assert [tick for tick in ticks if tick[1]][1:] == [("memory", "10", "20"), ("memory", "10", "30")]


async def test_time_that_runs_out_after_the_answer_costs_neither_the_answer_nor_the_turn() -> None:
    class Slow(MockProvider):
        """Takes for ever, once."""

        asked = 0

        async def complete(self, request: LLMRequest) -> LLMResponse:
            self.asked += 1
            if self.asked == 1:
                await asyncio.Event().wait()
            return await super().complete(request)

    helper = Slow(replies=[says(FACTS, (1, 1), "helper")])
    helper.model = "helper"
    memory = facts(helper)
    asked = agent(model(says("a1")), memory, timeout=0.2)
    result = completed(await asked.run("I am Ada.", identity=ALICE))
    assert result.output == "a1"
    assert result.cost is None, "nobody knows whether the call that was cut off is charged"
    await asked.aclose()
    assert len((await memory.store.list(ALICE.scoped("principal"))).entries) == 1


async def test_what_a_strategy_asks_at_the_same_time_is_counted_as_one_after_the_other() -> None:
    class Slow(MockProvider):
        def __init__(self, turns: int) -> None:
            super().__init__(replies=[says("x", (1, 0))])
            self.turns = turns

        async def complete(self, request: LLMRequest) -> LLMResponse:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            return await super().complete(request)

    one, other = Slow(9), Slow(3)
    one.model, other.model = "helper", "mock"

    class Both(Extract):
        providers = (one, other)

        async def extract(self, memory: Memory, question: Message, answer: Message, ask: Ask) -> list[Fact]:
            request = LLMRequest((question,))
            said = await asyncio.gather(ask(request, one), ask(request, other))
            return [Fact(" ".join(each.text for each in said))]

    state, window = InMemoryState(), SpendingWindow(10_000, 3600)
    asked = agent(
        model(says("Hello.")),
        facts(strategy=Both()),
        state=state,
        cost_budget=CostBudget(usd=10_000, max_output_tokens=10, windows=(window,)),
    )
    result = completed(await asked.run("I am Ada.", identity=ALICE))
    left = await Ledger(state, "agent", (window,), ALICE).left()
    assert left is not None
    assert usd_of(window.limit - left) == result.cost
