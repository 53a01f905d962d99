"""All that is kept of a person is deleted, wherever it is, and nothing of anybody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.errors import IdentityRequired
from agentfootprint.memory import InMemoryStore, Memory, SQLiteStore
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState, SQLiteState

PEOPLE = [MemoryIdentity("acme", name, f"c-{number}") for name in ("alice", "bob") for number in (1, 2)]


async def desk(store: Any, state: Any) -> Agent[Any, str]:
    """An agent with a memory of every scope, after one turn of each conversation of two people."""
    other = InMemoryStore()
    memory = [
        Memory("mine", scope="principal", store=store),
        Memory("ours", scope="tenant", store=store),
        Memory("elsewhere", scope="tenant", store=other),
    ]
    agent = Agent(MockProvider(respond=lambda request: "Yes."), memory=memory, state=state)
    for who in PEOPLE:
        await agent.run(f"I am {who.principal} in {who.conversation_id}", identity=who)
    return agent


async def kept(agent: Agent[Any, str]) -> set[str]:
    """Whose conversations the memories still know, by memory."""
    return {
        f"{memory.id} {entry.metadata['principal']} {entry.metadata['conversation']}"
        for memory in agent.memories
        for who in PEOPLE
        async for entry in memory.entries(who)
    }


@pytest.mark.parametrize("durable", [False, True])
async def test_a_person_is_forgotten_everywhere_and_nobody_else(durable: bool, tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "m.db") if durable else InMemoryStore()
    state = SQLiteState(tmp_path / "s.db") if durable else InMemoryState()
    async with store, state:
        agent = await desk(store, state)
        report = await agent.forget(MemoryIdentity("acme", "alice"))
        assert await kept(agent) == {
            f"{memory} bob c-{number}" for memory in ("mine", "ours", "elsewhere") for number in (1, 2)
        }
        assert [(each.place, each.memories, each.deleted) for each in report[:2]] == [
            (type(store).__name__, ("mine", "ours"), 4),
            ("InMemoryStore", ("elsewhere",), 2),
        ]
        assert (report[2].place, report[2].memories) == (type(state).__name__, ())
        assert report[2].deleted > 0
        bob = await agent.run("And now?", identity=PEOPLE[2])
        assert len(bob.messages) > 2, "bob's conversation goes on"
        alice = await agent.run("And now?", identity=PEOPLE[0])
        assert [message.text for message in alice.messages] == ["And now?", "Yes."]


async def test_one_conversation_is_forgotten_also_where_it_is_shared() -> None:
    agent = await desk(InMemoryStore(), InMemoryState())
    await agent.forget(PEOPLE[0])
    assert await kept(agent) == {
        f"{memory} {who.principal} {who.conversation_id}"
        for memory in ("mine", "ours", "elsewhere")
        for who in PEOPLE[1:]
    }


async def test_a_tenant_is_forgotten_whole() -> None:
    agent = await desk(InMemoryStore(), InMemoryState())
    await agent.forget(MemoryIdentity("acme"))
    assert await kept(agent) == set()
    assert [each.deleted for each in await agent.forget(MemoryIdentity("acme"))] == [0, 0, 0]


async def test_whose_data_it_is_must_be_said() -> None:
    agent = await desk(InMemoryStore(), InMemoryState())
    for nobody in (MemoryIdentity(), MemoryIdentity(None, "alice")):
        with pytest.raises(IdentityRequired, match="tenant"):
            await agent.forget(nobody)
    assert len(await kept(agent)) == 12
