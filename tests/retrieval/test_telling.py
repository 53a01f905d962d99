"""What is told of searching and of embedding: to whoever watches, as spans, as metrics; and what it used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry
from pytest_genai_semconv import assert_genai_span_compliant

from agentfootprint import Agent, tool
from agentfootprint.cost import Price, PriceList
from agentfootprint.embedders import Embedding, EmbeddingUsage, MockEmbedder, Purpose
from agentfootprint.embedders.usage import tell
from agentfootprint.errors import Overloaded, StoreUnavailable
from agentfootprint.events import EmbeddingEnded, RetrievalEnded
from agentfootprint.memory import InMemoryStore, Memory, TopK
from agentfootprint.messages import Usage
from agentfootprint.observe import prometheus_observability
from agentfootprint.retrieval import RAG, Document
from tests.agent.support import Events, call, scripted
from tests.observe.otel.seen import Telemetry, attributes, id_of, parent_of
from tests.retrieval.support import ACME, DELIVERY, RETURNS, corpus

QUESTION = "Within how many days may goods be returned?"
PRICES = PriceList({"vectors": Price(input=1_000, output=0)})


class Counting(MockEmbedder):
    """A vendor's, whose every text has three tokens; `usage=None`: it does not say."""

    name, model = "openai", "vectors"

    def __init__(self, usage: Usage | None = Usage(3)) -> None:  # noqa: B008
        super().__init__()
        self.usage = usage

    async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
        for _ in texts:
            tell(EmbeddingUsage(self.name, self.model, 1, self.usage))
        return await super().embed(texts, purpose=purpose)


async def indexed(**options: Any) -> RAG:
    rag = corpus(**{"embedder": Counting(), **options})
    await rag.index([RETURNS, DELIVERY], identity=ACME)
    return rag


def searching(rag: RAG, *recorders: Any, **options: Any) -> Agent[Any, str]:
    query = call("search_handbook", query="goods returned")
    return scripted(query, "30 days.", tools=[rag.as_tool()], recorders=recorders, **options)


# ── events ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("as_tool", [False, True])
async def test_a_search_tells_itself_and_its_embedding_beside_memories_and_as_a_tool(as_tool: bool) -> None:
    seen = Events()
    rag = await indexed(k=1)
    agent = searching(rag, seen) if as_tool else scripted("30 days.", memory=[rag], recorders=[seen])
    result = await agent.run(QUESTION, identity=ACME)
    [searched], [embedded] = seen.of(RetrievalEnded), seen.of(EmbeddingEnded)
    assert (searched.corpus, searched.passages, searched.top_k, searched.error) == ("handbook", 1, 1, None)
    assert (embedded.provider, embedded.model, embedded.texts) == ("openai", "vectors", 1)
    assert (embedded.dimensions, embedded.usage, embedded.error) == (256, Usage(3), None)
    assert 0 < embedded.duration < searched.duration
    assert searched.step == embedded.step == ("call_tools#0[0]" if as_tool else "recall#0[0]")
    # Telling is a fold over the record.
    told = [event.name for step in result.footprint.steps for event in step.events]
    assert told == ["embedding.ended", "retrieval.ended"]


async def test_a_memory_that_embeds_tells_it_when_it_recalls_and_when_it_remembers() -> None:
    seen = Events()
    memory = Memory("talk", scope="principal", store=InMemoryStore(), strategy=TopK(embedder=Counting()))
    await scripted("Hi.", memory=[memory], recorders=[seen]).run("Hello", identity=ACME)
    assert [event.step for event in seen.of(EmbeddingEnded)] == ["recall#0[0]", "remember#0"]
    assert seen.of(RetrievalEnded) == []


async def test_a_turn_that_is_written_late_tells_its_embedding_as_its_own_runs() -> None:
    class Moody(Counting):
        documents = 0

        async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
            self.documents += purpose == "document"
            if purpose == "document" and self.documents == 1:
                raise Overloaded("busy")
            return await super().embed(texts, purpose=purpose)

    seen = Events()
    memory = Memory("talk", scope="principal", store=InMemoryStore(), strategy=TopK(embedder=Moody()))
    agent = scripted("a1", "a2", memory=[memory], recorders=[seen])
    first = await agent.run("Hello", identity=ACME)
    second = await agent.run("Hello again", identity=ACME)
    told = [(event.run_id, event.step, event.error) for event in seen.of(EmbeddingEnded)]
    assert told == [
        (first.run_id, "recall#0[0]", None),
        (first.run_id, "remember#0", "overloaded"),
        (first.run_id, None, None),  # While the second run recalls.
        (second.run_id, "recall#0[0]", None),
        (second.run_id, "remember#0", None),
    ]


async def test_an_embedder_without_names_is_told_by_its_fingerprint_and_without_tokens() -> None:
    seen = Events()
    rag = await indexed(embedder=MockEmbedder())
    await searching(rag, seen).run(QUESTION, identity=ACME)
    [embedded] = seen.of(EmbeddingEnded)
    assert (embedded.provider, embedded.model, embedded.usage) == ("mock", "mock", None)


async def test_what_fails_is_told_with_its_code() -> None:
    class Away(Counting):
        async def embed(self, texts: Sequence[str], *, purpose: Purpose = "document") -> Sequence[Embedding]:
            raise Overloaded("busy")

    seen = Events()
    with pytest.raises(Overloaded):
        await scripted("x", memory=[corpus(embedder=Away())], recorders=[seen]).run(QUESTION, identity=ACME)
    assert [event.error for event in seen.of(RetrievalEnded, EmbeddingEnded)] == ["overloaded"] * 2


async def test_a_plain_tool_that_searches_in_its_thread_tells_it_from_the_runs_loop() -> None:
    loops: list[Any] = []

    class Loops(Events):
        def on_event(self, event: Any) -> None:
            super().on_event(event)
            loops.append(asyncio.get_running_loop())

    rag = await indexed()

    @tool
    def search_in_a_thread() -> str:
        """Searches."""
        return str(len(asyncio.run(rag.search("goods returned", identity=ACME))))

    seen = Loops()
    agent = scripted(call("search_in_a_thread"), "30 days.", tools=[search_in_a_thread], recorders=[seen])
    result = await agent.run(QUESTION, identity=ACME)
    [searched] = seen.of(RetrievalEnded)
    assert searched.run_id == result.run_id
    assert set(loops) == {asyncio.get_running_loop()}


async def test_a_replay_is_the_same_also_of_what_was_told_within_an_effect_of_a_tool() -> None:
    rag = await indexed()
    agent = searching(rag)
    result = await agent.run(QUESTION, identity=ACME)
    again = await agent.replay(result.footprint)
    assert again["output"] == "30 days."
    told = [[event.name for event in step.events] for step in result.footprint.steps]
    assert [[event.name for event in step.events] for step in again.footprint.steps] == told


async def test_outside_a_run_nobody_is_told_and_nothing_breaks() -> None:
    rag = await indexed()
    assert await rag.search(QUESTION, identity=ACME)


# ── spans and metrics ───────────────────────────────────────────────────────────────────────────


async def test_a_recalled_corpus_is_a_span_of_the_conventions_with_its_embedding() -> None:
    telemetry = Telemetry()
    rag = await indexed(k=2)
    agent = scripted("30 days.", memory=[rag], name="support", recorders=[telemetry.recorder])
    await agent.run(QUESTION, identity=ACME)
    spans = await telemetry.spans()
    assert [span.name for span in spans if span.name.startswith(("search", "retr", "embed"))] == [
        "embeddings vectors",
        "retrieval handbook",
    ]
    for span in spans[:2]:
        assert_genai_span_compliant(span)
    root = await telemetry.one("invoke_agent support")
    searched, embedded = await telemetry.one("retrieval handbook"), await telemetry.one("embeddings vectors")
    assert parent_of(searched) == parent_of(embedded) == id_of(root)
    found = attributes(searched)
    assert found["gen_ai.operation.name"] == "retrieval"
    assert found["gen_ai.data_source.id"] == "handbook"
    assert found["gen_ai.retrieval.top_k"] == 2
    assert found["agentfootprint.retrieval.passages"] == 1
    found = attributes(embedded)
    assert found["gen_ai.operation.name"] == "embeddings"
    assert found["gen_ai.provider.name"] == "openai"
    assert found["gen_ai.request.model"] == "vectors"
    assert found["gen_ai.usage.input_tokens"] == 3
    assert found["gen_ai.embeddings.dimension.count"] == 256
    assert (searched.start_time or 0) <= (embedded.start_time or 0) <= (embedded.end_time or 0)


async def test_what_a_tool_searches_is_below_the_span_of_the_tool() -> None:
    telemetry = Telemetry()
    await searching(await indexed(), telemetry.recorder).run(QUESTION, identity=ACME)
    used = await telemetry.one("execute_tool search_handbook")
    for name in ("retrieval handbook", "embeddings vectors"):
        assert parent_of(await telemetry.one(name)) == id_of(used)


async def test_a_search_that_fails_is_an_error_of_its_span() -> None:
    class Away(InMemoryStore):
        async def search(self, *_: Any, **__: Any) -> Any:
            raise StoreUnavailable("away")

    telemetry = Telemetry()
    agent = scripted("x", memory=[corpus(store=Away())], recorders=[telemetry.recorder])
    with pytest.raises(StoreUnavailable):
        await agent.run(QUESTION, identity=ACME)
    span = await telemetry.one("retrieval handbook")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(span)["error.type"] == "store_unavailable"


async def test_searches_and_embeddings_are_metrics_without_any_price() -> None:
    telemetry, metrics = Telemetry(), prometheus_observability(CollectorRegistry())
    rag = await indexed()
    await scripted("30 days.", memory=[rag], recorders=[telemetry.recorder, metrics]).run(
        QUESTION, identity=ACME
    )
    await metrics.flush()

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"agentfootprint_{name}", labels)

    model = {"provider": "openai", "model": "vectors"}
    assert value("tokens_total", **model, type="embedding") == 3
    assert value("embeddings_total", **model, error="") == 1
    assert value("embedding_duration_seconds_count", **model) == 1
    assert value("retrievals_total", corpus="handbook", error="") == 1
    assert value("retrieval_duration_seconds_count", corpus="handbook") == 1
    assert value("retrieval_passages_sum", corpus="handbook") == 1
    [tokens] = [
        point
        for point in await telemetry.points("gen_ai.client.token.usage")
        if point.attributes["gen_ai.operation.name"] == "embeddings"
    ]
    assert tokens.sum == 3
    durations = await telemetry.points("gen_ai.client.operation.duration")
    assert {"retrieval", "embeddings"} <= {point.attributes["gen_ai.operation.name"] for point in durations}


# ── indexing ────────────────────────────────────────────────────────────────────────────────────


async def test_indexing_says_what_it_embedded_and_what_that_costs() -> None:
    rag = corpus(embedder=Counting())
    report = await rag.index([RETURNS, DELIVERY], identity=ACME, pricing_table=PRICES)
    assert report.usage == Usage(6)
    assert report.cost == Decimal("0.006")
    assert "embedded: 6 tokens, $0.006" in str(report)
    again = await rag.index([RETURNS, DELIVERY], identity=ACME, pricing_table=PRICES)
    assert (again.usage, again.cost) == (Usage(), Decimal(0))
    assert "embedded" not in str(again)


async def test_what_nobody_counted_or_priced_is_not_nothing() -> None:
    silent = await corpus(embedder=Counting(None)).index(RETURNS, identity=ACME, pricing_table=PRICES)
    assert (silent.usage, silent.cost) == (Usage(unreported=1), None)
    assert "embedded: 0 tokens + unreported" in str(silent)
    unknown = await corpus(embedder=Counting()).index(RETURNS, identity=ACME, pricing_table=PriceList({}))
    assert (unknown.usage, unknown.cost) == (Usage(3), None)
    assert (await corpus(embedder=Counting()).index(RETURNS, identity=ACME)).cost is None


async def test_a_pricing_table_that_fails_does_not_cost_the_report() -> None:
    class Broken:
        def cost(self, provider: str, model: str, usage: Usage) -> Decimal | None:
            raise RuntimeError("no")

    report = await corpus(embedder=Counting()).index(RETURNS, identity=ACME, pricing_table=Broken())
    assert (report.added, report.cost) == (1, None)


async def test_the_record_of_indexing_has_each_embedding_and_no_text() -> None:
    report = await corpus(embedder=Counting()).index(Document("a.md", "secret words"), identity=ACME)
    told = [event for step in report.footprint.steps for event in step.events]
    assert [event.name for event in told] == ["embedding.ended"]
    assert "secret words" not in report.footprint.to_jsonl()
