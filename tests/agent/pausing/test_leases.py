"""Holders of a conversation that vanish: the next turn gets in, and the late one disturbs nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agentfootprint.agent import conversation as conversation_module
from agentfootprint.agent.conversation import LEASE_SECONDS
from agentfootprint.errors import (
    ConversationBusy,
)
from agentfootprint.events import ConversationFailed
from agentfootprint.state import InMemoryState, SQLiteState, StateKey
from agentfootprint.testing.clock import ManualClock

from .conversing import PROCESS, Held, agent_of, said
from .support import ALICE, Other, output_of


async def test_after_a_crash_the_next_turn_gets_in_once_the_lease_is_over(clock: ManualClock) -> None:
    state = InMemoryState()
    await agent_of(state).run("one", identity=ALICE)
    crashed = agent_of(state)._conversation(ALICE, fresh=False)
    assert crashed is not None
    await crashed.begin("a run that dies")
    clock.advance(LEASE_SECONDS - 1)
    with pytest.raises(ConversationBusy):
        await agent_of(state).run("two", identity=ALICE)
    clock.advance(1)
    assert said(await agent_of(state).run("two", identity=ALICE)) == ["one", "two"]


async def test_a_killed_process_frees_its_conversation(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "die.py").write_text(
        PROCESS.replace(
            'MockProvider(reply="Yes.")',
            "MockProvider(respond=lambda asked: __import__('os').kill(__import__('os').getpid(), 9))",
        )
    )
    (tmp_path / "go").touch()
    await (await Other.start(tmp_path, "die.py", "killed", "1")).killed()
    async with SQLiteState(tmp_path / "state.db") as state:
        with pytest.raises(ConversationBusy):
            await agent_of(state).run("next", identity=ALICE)
        clock.advance(LEASE_SECONDS + 60)  # The process had a clock of its own, and took its time to start.
        assert said(await agent_of(state).run("next", identity=ALICE)) == ["next"]


async def test_a_holder_that_lost_its_lease_gives_its_answer_and_disturbs_nobody(clock: ManualClock) -> None:
    held, state = Held(), InMemoryState()
    await agent_of(state).run("zero", identity=ALICE)
    slow = agent_of(state, provider=held.provider)
    failed: list[str] = []
    slow.on(ConversationFailed, lambda event: failed.append(event.message))
    running = asyncio.ensure_future(slow.run("slow", identity=ALICE))
    await held.asked.wait()
    clock.advance(LEASE_SECONDS + 1)
    await agent_of(state).run("quick", identity=ALICE)
    held.go.set()
    assert output_of(await running) == "You said slow."
    assert len(failed) == 1
    assert "taken over by another turn" in failed[0]
    assert said(await agent_of(state).run("last", identity=ALICE)) == ["zero", "quick", "last"]


async def test_a_holder_that_lost_its_lease_does_not_end_the_turn_of_the_next_one(clock: ManualClock) -> None:
    state = InMemoryState()
    first, second = Held(), Held()
    one = asyncio.ensure_future(agent_of(state, provider=first.provider).run("one", identity=ALICE))
    await first.asked.wait()
    clock.advance(LEASE_SECONDS + 1)
    two = asyncio.ensure_future(agent_of(state, provider=second.provider).run("two", identity=ALICE))
    await second.asked.wait()
    first.go.set()
    await one
    with pytest.raises(ConversationBusy):
        await agent_of(state).run("three", identity=ALICE)
    second.go.set()
    await two
    assert said(await agent_of(state).run("three", identity=ALICE)) == ["two", "three"]


async def test_a_long_turn_keeps_its_lease(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(InMemoryState):
        renewed = asyncio.Event()

        async def compare_and_set(self, key: StateKey, expected: str | None, value: Any, **more: Any) -> Any:
            written = await super().compare_and_set(key, expected, value, **more)
            if value.get("lease") and value["lease"]["until"] > clock() + LEASE_SECONDS / 2:
                self.renewed.set()
            return written

    monkeypatch.setattr(conversation_module, "LEASE_SECONDS", 0.06)
    held, state = Held(), Watched()
    state.renewed.clear()
    running = asyncio.ensure_future(agent_of(state, provider=held.provider).run("long", identity=ALICE))
    await held.asked.wait()
    monkeypatch.setattr(conversation_module, "LEASE_SECONDS", LEASE_SECONDS)
    clock.advance(10)
    await state.renewed.wait()
    clock.advance(LEASE_SECONDS - 1)
    with pytest.raises(ConversationBusy):
        await agent_of(state).run("next", identity=ALICE)
    held.go.set()
    await running
    assert said(await agent_of(state).run("next", identity=ALICE)) == ["long", "next"]
