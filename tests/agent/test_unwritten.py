"""What a memory cannot take now is written later, once, at its own time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from agentfootprint import Agent, MemoryIdentity
from agentfootprint.agent import unwritten
from agentfootprint.errors import InputInvalid, StoreUnavailable
from agentfootprint.events import MemoryFailed, MemoryWritten
from agentfootprint.memory import InMemoryStore, Memory, MemoryEntry
from agentfootprint.testing import ManualClock
from tests.agent.support import Events, mock_of, scripted

ALICE = MemoryIdentity("acme", "alice", "t-1")
BOB = MemoryIdentity("acme", "bob", "t-1")


class Flaky(InMemoryStore):
    """A store that takes nothing while `error` is set."""

    error: Exception | None = None
    tried = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.taken = asyncio.Condition()

    async def put(self, identity: MemoryIdentity, entry: MemoryEntry, **more: Any) -> MemoryEntry | None:
        self.tried += 1
        if self.error is not None:
            raise self.error
        stored = await super().put(identity, entry, **more)
        async with self.taken:
            self.taken.notify_all()
        return stored


def desk(store: Flaky, *replies: str, **options: Any) -> Agent[Any, str]:
    return scripted(*replies, memory=[Memory("m", scope="principal", store=store)], **options)


async def kept(store: Flaky, who: MemoryIdentity) -> list[str]:
    page = await store.list(who.scoped("principal"))
    return [entry.value["messages"][0]["parts"][0]["text"] for entry in page.entries]


async def test_the_next_turn_of_a_person_sees_what_could_not_be_written_before() -> None:
    seen, store = Events(), Flaky()
    agent = desk(store, "a1", "a2", recorders=[seen])
    store.error = StoreUnavailable("no route")
    first = await agent.run("q1", identity=ALICE)
    assert first.output == "a1"
    assert [event.memory for event in seen.of(MemoryFailed)] == ["m"]
    store.error = None
    second = await agent.run("q2", identity=ALICE)
    assert [message.text for message in mock_of(agent).requests[-1].messages] == ["q1", "a1", "q2"]
    assert await kept(store, ALICE) == ["q2", "q1"]
    assert [event.run_id for event in seen.of(MemoryWritten)] == [first.run_id, second.run_id]
    assert store.tried == 3


async def test_a_late_turn_stands_at_its_own_time() -> None:
    clock = ManualClock()
    store = Flaky(clock=clock)
    agent = desk(store, "a1", "a2", "b1", "a3")
    store.error = StoreUnavailable("no route")
    await agent.run("q1", identity=ALICE)
    store.error = None
    clock.advance(60)
    await agent.run("q2", identity=BOB)
    clock.advance(60)
    await agent.run("q3", identity=ALICE)
    times = {entry.value["messages"][0]["parts"][0]["text"]: entry.created for entry in await entries(store)}
    assert times["q3"] - times["q1"] == pytest.approx(120, abs=20)


async def entries(store: Flaky) -> Any:
    return (await store.list(ALICE.scoped("principal"))).entries


async def test_a_person_who_does_not_come_back_is_written_when_the_store_is_there_again() -> None:
    store = Flaky()
    agent = desk(store, "a1", "b1")
    store.error = StoreUnavailable("no route")
    await agent.run("q1", identity=ALICE)
    store.error = None
    await agent.run("q1 of bob", identity=BOB)
    async with store.taken:
        while await kept(store, ALICE) == []:
            await store.taken.wait()
    assert await kept(store, ALICE) == ["q1"]
    assert await kept(store, BOB) == ["q1 of bob"]


async def test_closing_the_agent_writes_what_it_can_and_tells_what_it_cannot(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Flaky()
    store.error = StoreUnavailable("no route")
    async with desk(store, "a1") as agent:
        await agent.run("q1", identity=ALICE)
        store.error = None
    assert await kept(store, ALICE) == ["q1"]
    store.error = StoreUnavailable("no route")
    with caplog.at_level(logging.ERROR):
        async with desk(store, "b1") as agent:
            result = await agent.run("q1", identity=BOB)
    assert f"run {result.run_id} was never written" in caplog.text


async def test_what_no_waiting_mends_is_told_and_not_tried_again() -> None:
    seen, store = Events(), Flaky()
    agent = desk(store, "a1", "a2", recorders=[seen])
    store.error = InputInvalid("no such thing")
    await agent.run("q1", identity=ALICE)
    store.error = None
    await agent.run("q2", identity=ALICE)
    assert len(seen.of(MemoryFailed)) == 1
    assert await kept(store, ALICE) == ["q2"]


async def test_so_many_are_kept_and_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unwritten, "MOST", 2)
    store = Flaky()
    store.error = StoreUnavailable("no route")
    agent = desk(store, "a1", "a2", "a3")
    with caplog.at_level(logging.ERROR):
        for n in (1, 2, 3):
            await agent.run(f"q{n}", identity=MemoryIdentity("acme", f"person-{n}", "t-1"))
    store.error = None
    await agent.aclose()
    assert [await kept(store, MemoryIdentity("acme", f"person-{n}", "t-1")) for n in (1, 2, 3)] == [
        [],
        ["q2"],
        ["q3"],
    ]
    assert caplog.text.count("never written") == 1


async def test_what_goes_wrong_later_in_any_way_does_not_stand_in_the_way_of_further_turns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Flaky()
    agent = desk(store, "a1", "a2", "a3")
    store.error = StoreUnavailable("no route")
    await agent.run("q1", identity=ALICE)
    store.error = KeyError("a bug of the driver")
    with caplog.at_level(logging.ERROR):
        assert (await agent.run("q2", identity=ALICE)).output == "a2"
    assert "cannot be written" in caplog.text
    store.error = None
    assert (await agent.run("q3", identity=ALICE)).output == "a3"
    assert await kept(store, ALICE) == ["q3"]


@pytest.mark.parametrize("who", [ALICE, MemoryIdentity("acme", "alice"), MemoryIdentity("acme")])
async def test_who_is_forgotten_is_not_written_afterwards(who: MemoryIdentity) -> None:
    store = Flaky()
    agent = desk(store, "a1", "b1")
    store.error = StoreUnavailable("no route")
    await agent.run("q1", identity=ALICE)
    await agent.run("q1", identity=MemoryIdentity("other", "alice", "t-1"))
    store.error = None
    await agent.forget(who)
    await agent.aclose()
    assert await kept(store, ALICE) == []
    assert await kept(store, MemoryIdentity("other", "alice", "t-1")) == ["q1"]


async def test_whoever_leaves_with_the_answer_does_not_cost_the_turn() -> None:
    begun = asyncio.Event()

    class Slow(Flaky):
        async def put(self, identity: MemoryIdentity, entry: MemoryEntry, **more: Any) -> MemoryEntry | None:
            if not begun.is_set():
                begun.set()
                await asyncio.Event().wait()
            return await super().put(identity, entry, **more)

    store = Slow()
    agent = desk(store, "a1")
    running = asyncio.ensure_future(agent.run("q1", identity=ALICE))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await agent.aclose()
    assert await kept(store, ALICE) == ["q1"]
