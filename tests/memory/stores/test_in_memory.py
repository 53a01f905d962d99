from __future__ import annotations

from agentfootprint.identity import MemoryIdentity
from agentfootprint.memory import InMemoryStore, MemoryEntry, MemoryStore
from agentfootprint.testing import ManualClock

ME = MemoryIdentity("acme", "alice")


def test_it_is_a_volatile_memory_store() -> None:
    store = InMemoryStore()
    assert isinstance(store, MemoryStore)
    assert not store.durable


async def test_what_expired_is_collected_by_later_writes() -> None:
    clock = ManualClock()
    store = InMemoryStore(clock=clock)
    await store.put(ME, MemoryEntry("kept", 1))
    for number in range(3000):
        await store.put(
            MemoryIdentity("t", str(number % 7)), MemoryEntry(str(number), 1, expires=clock.now + 1)
        )
        clock.advance(0.1)
    assert sum(len(space.rows) for space in store._spaces.values()) < 600
    assert [entry.id for entry in (await store.list(ME)).entries] == ["kept"]
    space = store._spaces[MemoryIdentity("t", "0")]
    assert len(space.rows) == len(space.order)


async def test_deleting_leaves_nothing_behind() -> None:
    store = InMemoryStore()
    await store.put(ME, MemoryEntry("one", 1))
    assert await store.delete(ME, "one")
    assert store._spaces == {}
