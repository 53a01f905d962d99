"""Conversations and tenants: nobody sees, holds up or continues that of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentfootprint import MemoryIdentity
from agentfootprint.errors import (
    IdentityRequired,
    InputInvalid,
)
from agentfootprint.memory import InMemoryStore, Memory, SQLiteStore
from agentfootprint.providers import MockProvider
from agentfootprint.state import InMemoryState, SQLiteState

from .conversing import Asking, agent_of, said
from .support import ALICE, must_pause, output_of

LOOK_ALIKES = [
    MemoryIdentity("acme", "alice", "t-1"),
    MemoryIdentity("globex", "alice", "t-1"),
    MemoryIdentity("acme", "bob", "t-1"),
    MemoryIdentity("acme", "alice", "t-2"),
    MemoryIdentity(None, "alice", "t-1"),
    MemoryIdentity("", "alice", "t-1"),
    MemoryIdentity("acme", None, "t-1"),
    MemoryIdentity("acme", "", "t-1"),
    MemoryIdentity("acme", "alice", ""),
    MemoryIdentity("acme/alice", "", "t-1"),
    MemoryIdentity("acme/alice", None, "t-1"),
    MemoryIdentity("~", "alice", "t-1"),
    MemoryIdentity("Acme", "alice", "t-1"),
    MemoryIdentity("acme ", "alice", "t-1"),
    MemoryIdentity("acme", "al%", "t-1"),
    MemoryIdentity("acme", "alic_", "t-1"),
    MemoryIdentity("acme", "alice*", "t-1"),
    MemoryIdentity("acme:alice", "t-1", "t-1"),
    MemoryIdentity("acme", "e\u0301", "t-1"),
    MemoryIdentity("acme", "é", "t-1"),
]


@pytest.mark.parametrize("durable", [False, True])
async def test_no_identity_ever_sees_the_conversation_of_another(durable: bool, tmp_path: Path) -> None:
    state: Any = SQLiteState(tmp_path / "state.db") if durable else InMemoryState()
    agent = agent_of(state, allow_anonymous=True)
    for n, identity in enumerate(LOOK_ALIKES):
        assert said(await agent.run(f"secret {n}", identity=identity)) == [f"secret {n}"]
    for n, identity in enumerate(LOOK_ALIKES):
        assert said(await agent.run("again", identity=identity)) == [f"secret {n}", "again"]
    await state.aclose()


async def test_a_pause_of_one_tenant_does_not_hold_up_another() -> None:
    desk = Asking()
    must_pause(await desk.agent.run("pay", identity=ALICE))
    other = MemoryIdentity("globex", "alice", "t-1")
    assert output_of(await desk.agent.run("hello", identity=other)) == "Yes, hello."


@pytest.mark.parametrize("kind", ["state", "memory"])
@pytest.mark.parametrize("identity", [None, MemoryIdentity(), MemoryIdentity(None, "alice", "t-1")])
async def test_a_store_that_outlives_the_process_requires_a_tenant(
    kind: str, identity: MemoryIdentity | None, tmp_path: Path
) -> None:
    store: Any = SQLiteState(tmp_path / "a.db") if kind == "state" else SQLiteStore(tmp_path / "a.db")
    kept: Any = (
        {"state": store} if kind == "state" else {"memory": [Memory("m", scope="principal", store=store)]}
    )
    agent = agent_of(kept.pop("state", None), **kept)
    with pytest.raises(IdentityRequired, match="allow_anonymous=True"):
        await agent.run("hello", identity=identity)
    assert isinstance(agent.provider, MockProvider)
    assert agent.provider.requests == []
    assert not (tmp_path / "a.db").exists(), "nothing was even opened"
    anonymous = agent.replace(allow_anonymous=True)
    assert output_of(await anonymous.run("hello", identity=identity)) == "You said hello."
    assert output_of(await agent.run("hello", identity=MemoryIdentity("", None, None))) == "You said hello."
    await store.aclose()


async def test_on_volatile_stores_nobody_needs_to_be_named_and_runs_share_nothing() -> None:
    memory = Memory("m", store=InMemoryStore())
    agent = agent_of(memory=[memory])
    assert output_of(await agent.run("one")) == "You said one."
    assert said(await agent.run("two")) == ["two"]
    state = agent_of(InMemoryState())
    assert output_of(await state.run("one")) == "You said one."
    assert said(await state.run("two")) == ["two"]


async def test_an_identity_of_another_type_is_refused() -> None:
    with pytest.raises(InputInvalid, match="MemoryIdentity"):
        await agent_of(InMemoryState()).run("hello", identity="acme")  # type: ignore[arg-type]
