from __future__ import annotations

import asyncio
import threading

from agentfootprint.identity import MemoryIdentity
from agentfootprint.state import InMemoryState, StateKey, StateStore
from agentfootprint.testing import ManualClock

KEY = StateKey(MemoryIdentity("acme"), "test", "key")


def test_it_is_a_volatile_state_store() -> None:
    store = InMemoryState()
    assert isinstance(store, StateStore)
    assert not store.durable


async def test_what_expired_is_collected_by_later_writes() -> None:
    clock = ManualClock()
    store = InMemoryState(clock=clock)
    await store.compare_and_set(KEY, None, "kept")
    for number in range(5000):
        await store.compare_and_set(StateKey(KEY.identity, "lease", str(number)), None, 1, ttl=1.0)
        await store.append(StateKey(None, "log", "one"), number, ttl=1.0)
        clock.advance(0.1)
    keys = [slot for space in store._spaces.values() for slot in space.values()]
    assert len(keys) < 600
    assert sum(len(slot.log) for slot in keys) < 600
    assert await store.get(KEY) is not None


async def test_forgetting_leaves_nothing_behind() -> None:
    store = InMemoryState()
    await store.increment(KEY)
    assert await store.forget(MemoryIdentity("acme")) == 1
    assert store._spaces == {}


def test_threads_with_loops_of_their_own_lose_nothing() -> None:
    store = InMemoryState()

    async def count() -> None:
        for _ in range(500):
            await store.increment(KEY)
            await store.append(KEY, 1)

    threads = [threading.Thread(target=lambda: asyncio.run(count())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(store.increment(KEY, 0)) == 2000
    assert len(asyncio.run(store.read(KEY))) == 2000
