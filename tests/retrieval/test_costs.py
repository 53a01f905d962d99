"""What tools spend on embedding: part of the run's cost and budget, once, whatever becomes of the call."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest

from agentfootprint import Agent, Checkpoint, Paused, Stopped, StopReason, ToolContext, ask_human, tool
from agentfootprint.cost import CostBudget, Price, PriceList
from agentfootprint.embedders import Embedding, EmbeddingUsage, MockEmbedder, Purpose, metered
from agentfootprint.embedders.usage import tell
from agentfootprint.events import CostTicked
from agentfootprint.memory import InMemoryStore, Memory, TopK
from agentfootprint.messages import LLMResponse, ToolCall, Usage
from agentfootprint.providers import MockProvider
from agentfootprint.retrieval import RAG, Document
from agentfootprint.state import InMemoryState
from tests.agent.support import Events, completed
from tests.retrieval.support import ACME, DELIVERY, RETURNS, corpus

PRICES = PriceList({"mock": Price(input=0, output=1_000_000), "vectors": Price(input=1_000, output=0)})
"""A dollar for a token out, a thousandth for a text."""

ONE = Usage(1)


class Charged(MockEmbedder):
    name, model = "vendor", "vectors"

    def __init__(self, usage: Usage | None = ONE) -> None:
        super().__init__()
        self.usage = usage

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        tell(EmbeddingUsage(self.name, self.model, len(texts), self.usage))
        return await super().embed(texts, purpose=purpose)


def says(text: str = "30 days.", *calls: ToolCall) -> LLMResponse:
    return LLMResponse(text, tool_calls=list(calls), usage=Usage(1, 1), model="mock", provider="mock")


def searches(*queries: str) -> LLMResponse:
    return says(
        "", *(ToolCall(f"c{n}", "search_handbook", {"query": each}) for n, each in enumerate(queries))
    )


async def indexed(usage: Usage | None = ONE) -> RAG:
    rag = corpus(embedder=Charged(usage))
    await rag.index([RETURNS, DELIVERY], identity=ACME)
    return rag


def priced(*replies: Any, **options: Any) -> Agent[Any, str]:
    return Agent(MockProvider(replies=list(replies)), **{"pricing_table": PRICES, **options})


@pytest.fixture(params=["plain", "streamed"])
def run(request: pytest.FixtureRequest) -> Any:
    async def go(agent: Agent[Any, str], **options: Any) -> Any:
        if request.param == "plain":
            return await agent.run("Returns?", identity=ACME, **options)
        async with agent.stream("Returns?", identity=ACME, **options) as stream:
            async for _ in stream:
                pass
        return stream.result

    return go


async def test_what_a_tool_embeds_is_the_runs_cost_and_told_when_it_is_spent(run: Any) -> None:
    seen = Events()
    rag = await indexed()
    result = completed(await run(priced(searches("goods"), says(), tools=[rag.as_tool()], recorders=[seen])))
    assert result.cost == Decimal("2.001")
    assert result.usage == Usage(2, 2), "tokens of an embedder are none of a model"
    assert [(tick.kind, tick.cost, tick.total) for tick in seen.of(CostTicked)] == [
        ("model", "1", "1"),
        ("embedding", "0.001", "1.001"),
        ("model", "1", "2.001"),
    ]
    assert seen.of(CostTicked)[1].step == "call_tools#0[0]"


async def test_calls_at_once_are_added_up(run: Any) -> None:
    rag = await indexed()
    agent = priced(searches("goods", "parcels", "noon"), searches("label"), says(), tools=[rag.as_tool()])
    assert completed(await run(agent)).cost == Decimal("3.004")


async def test_any_tool_that_embeds_is_counted_also_one_that_indexes() -> None:
    rag = corpus(embedder=Charged())

    @tool
    async def learn(text: str) -> str:
        """Learns a text."""
        return str(await rag.index(Document("new.md", text), identity=ACME))

    asked = says("", ToolCall("c", "learn", {"text": "Goods may be kept."}))
    assert completed(await priced(asked, says(), tools=[learn]).run("Learn.")).cost == Decimal("2.001")


async def test_a_tool_that_waits_for_a_person_has_spent_what_it_spent_before() -> None:
    rag = await indexed()

    @tool
    async def look_and_ask(ctx: ToolContext[Any]) -> str:
        """Looks, and asks."""

        async def look() -> int:
            return len(await rag.search("goods", identity=ACME))

        found = await ctx.call("look", look, returns=int)
        return f"{found} {await ask_human('Well?')} {len(await rag.search('parcels', identity=ACME))}"

    state = InMemoryState()

    def agent(*replies: Any) -> Agent[Any, str]:
        return priced(*replies, tools=[look_and_ask], state=state)

    paused = await agent(says("", ToolCall("c", "look_and_ask"))).run("Look.", identity=ACME)
    assert isinstance(paused, Paused)
    assert paused.cost == Decimal("1.001")
    checkpoint = Checkpoint.from_json(paused.checkpoint.to_json())
    seen = Events()
    going_on = agent(says()).replace(recorders=[seen])
    result = completed(await going_on.resume(checkpoint, answer="yes", identity=ACME))
    assert result.cost == Decimal("2.002")
    assert [(tick.kind, tick.total) for tick in seen.of(CostTicked)] == [
        ("embedding", "1.002"),
        ("model", "2.002"),
    ]
    again = await going_on.replay(result.footprint)
    assert [step.id for step in again.footprint.steps] == [step.id for step in result.footprint.steps]


async def test_a_replay_shows_what_was_paid_then() -> None:
    rag = await indexed()
    agent = priced(searches("goods", "parcels"), says(), tools=[rag.as_tool()])
    result = await agent.run("Returns?", identity=ACME)
    again = await agent.replay(result.footprint)
    assert again["cost"].total == result.cost == Decimal("2.002")


async def test_what_a_tool_embeds_counts_against_the_budget() -> None:
    for usd, ends in (("2.001", False), ("2.000", True)):
        rag = await indexed()
        agent = priced(
            searches("goods"), says(), tools=[rag.as_tool()], max_tokens=1, cost_budget=CostBudget(usd=usd)
        )
        result = await agent.run("Returns?", identity=ACME)
        assert isinstance(result, Stopped) is ends
        if isinstance(result, Stopped):
            assert result.reason is StopReason.COST_BUDGET
            assert result.cost == Decimal("1.001")


async def test_what_nobody_counted_makes_the_total_unknown() -> None:
    rag = await indexed(None)
    result = await priced(searches("goods"), says(), tools=[rag.as_tool()]).run("Returns?", identity=ACME)
    assert completed(result).cost is None


async def test_an_agent_within_is_charged_for_what_it_embeds_and_the_one_around_it_once() -> None:
    rag = await indexed()
    memory = Memory("talk", scope="principal", store=InMemoryStore(), strategy=TopK(embedder=Charged()))
    inner = priced(searches("goods"), says("30"), name="clerk", tools=[rag.as_tool()], memory=[memory])
    asked = says("", ToolCall("c", "clerk", {"input": "Returns?"}))
    outer = priced(asked, says(), tools=[inner.as_tool(description="Knows the rules.")])
    heard: list[EmbeddingUsage] = []
    with metered(heard.append):
        result = completed(await outer.run("Returns?", identity=ACME))
    assert len(heard) == 3  # Recalling, searching, remembering.
    assert result.cost == Decimal("4.003")


async def test_without_prices_nothing_is_counted_and_nothing_breaks() -> None:
    rag = await indexed()
    agent = priced(searches("goods"), says(), tools=[rag.as_tool()], pricing_table=None)
    result = await agent.run("Returns?", identity=ACME)
    assert completed(result).cost is None
    assert "embedded" not in {call.name for step in result.footprint.steps for call in step.calls}
