"""One app, every store: the same conversation of two tenants, by changing one line."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.embedders import MockEmbedder
from agentfootprint.memory import (
    AgentCoreStore,
    Extract,
    InMemoryStore,
    Memory,
    PineconeStore,
    SearchableStore,
    Summarize,
    TopK,
    Window,
)
from agentfootprint.providers import MockProvider
from tests.servers.agentcore import MEMORY, AgentCore
from tests.servers.pinecone import KEY, PineconeIndex
from tests.servers.stores import memory_at, place

DIMENSIONS = 8
STORES = ("memory", "sqlite", "redis", "postgres", "pgvector", "dynamodb", "pinecone", "agentcore")

ANN, ANN_LATER = (MemoryIdentity("acme", "ann", conversation) for conversation in ("c-1", "c-2"))
BOB = MemoryIdentity("globex", "ann", "c-1")


@contextlib.asynccontextmanager
async def a_store(kind: str, folder: Path) -> AsyncIterator[Any]:
    async with contextlib.AsyncExitStack() as stack:
        if kind == "memory":
            made: Any = InMemoryStore()
        elif kind == "pinecone":
            made = PineconeStore((await stack.enter_async_context(PineconeIndex())).url, api_key=KEY)
        elif kind == "agentcore":
            made = AgentCoreStore(MEMORY, endpoint_url=(await stack.enter_async_context(AgentCore())).url)
        else:
            made = memory_at(*(await stack.enter_async_context(place(kind, folder))))
        yield await stack.enter_async_context(made)


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")


@pytest.mark.parametrize("kind", STORES)
async def test_two_tenants_talk_and_neither_hears_the_other(kind: str, tmp_path: Path) -> None:
    async with a_store(kind, tmp_path) as store:
        memories = [Memory("said", scope="principal", strategy=Window(5), store=store)]
        if isinstance(store, SearchableStore):
            like = TopK(1, embedder=MockEmbedder(DIMENSIONS), min_score=-1)
            memories.append(Memory("like", scope="principal", strategy=like, store=store))
        model = MockProvider(respond=lambda request: f"{len(request.messages)} messages")
        agent = Agent(model, memory=memories)
        for who, text in ((ANN, "my order is A-1"), (BOB, "my order is B-9"), (ANN, "and A-2")):
            await agent.run(text, identity=who)
        await agent.run("where is my order?", identity=ANN_LATER)
        shown = [message.text for message in model.requests[-1].messages]
        assert (shown[0], shown[2], shown[-1]) == ("my order is A-1", "and A-2", "where is my order?")
        assert not any("B-9" in text for text in shown)
        [forgotten] = await agent.forget(MemoryIdentity("acme", "ann"))
        assert forgotten.deleted == 3 * len(memories)
        await agent.run("where is my order?", identity=ANN_LATER)
        assert [message.text for message in model.requests[-1].messages] == ["where is my order?"]
        await agent.run("and mine?", identity=BOB)
        assert "my order is B-9" in [message.text for message in model.requests[-1].messages]


@pytest.mark.parametrize("kind", STORES)
async def test_facts_and_summaries_of_two_tenants_are_kept_apart(kind: str, tmp_path: Path) -> None:
    async with a_store(kind, tmp_path) as store:
        orders = Extract(patterns={"order": r"[A-Z]-\d+"})
        memories = [Memory("facts", kind="semantic", scope="tenant", strategy=orders, store=store)]
        if store.profile == "full":
            teller = MockProvider(respond=lambda request: f"summary {request.messages[0].text.count('user')}")
            story = Summarize(1, 2, provider=teller)
            memories.append(Memory("story", kind="narrative", scope="tenant", strategy=story, store=store))
        model = MockProvider(reply="I see.")
        agent = Agent(model, memory=memories)
        for who, text in ((ANN, "A-1 is late"), (BOB, "B-9 is late"), (ANN_LATER, "A-2 too"), (ANN, "Hm.")):
            await agent.run(text, identity=who)
        await agent.run("So?", identity=ANN)
        facts, *rest = (message.text.splitlines()[-1] for message in model.requests[-1].messages)
        assert facts.startswith("- order: A-2 (")
        assert rest == (["summary 2", "Hm.", "I see.", "So?"] if store.profile == "full" else ["So?"])
        assert "B-9" not in str(model.requests[-1])
        await agent.forget(MemoryIdentity("acme", "ann"))
        await agent.run("So?", identity=ANN)
        assert [message.text for message in model.requests[-1].messages] == ["So?"]
