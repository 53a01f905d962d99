"""Windows of time, counted together: never beyond a limit, whoever reserves at once."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentfootprint import MemoryIdentity
from agentfootprint.cost import SpendingWindow
from agentfootprint.cost.ledger import Ledger
from agentfootprint.state import InMemoryState

ACME = MemoryIdentity("acme", "alice", "t-1")
USD = 1_000_000_000


def ledger(state: InMemoryState, *windows: SpendingWindow, who: Any = ACME, **more: Any) -> Ledger:
    return Ledger(state, "support", windows, who, **more)


async def test_what_is_reserved_is_spent_until_it_is_settled() -> None:
    state = InMemoryState()
    book = ledger(state, SpendingWindow(1))
    counted = await book.reserve(700_000_000)
    assert counted is not None
    assert await book.reserve(400_000_000) is None
    assert await book.left() == 300_000_000
    await book.settle(counted, 100_000_000 - 700_000_000)
    assert await book.left() == 900_000_000
    assert await book.reserve(900_000_000) is not None


async def test_the_share_of_the_tightest_window_is_known_without_asking_again() -> None:
    class Counting(InMemoryState):
        asked = 0

        async def increment(self, *arguments: Any, **options: Any) -> Any:
            self.asked += 1
            return await super().increment(*arguments, **options)

    state = Counting()
    book = ledger(state, SpendingWindow(10), SpendingWindow(2, per="principal"))
    assert book.used is None
    counted = await book.reserve(USD)
    assert book.used == 0.5
    assert counted is not None
    await book.settle(counted, -USD // 2)
    asked = state.asked
    assert book.used == 0.25
    assert state.asked == asked
    await ledger(state, SpendingWindow(10)).reserve(8 * USD)
    await book.reserve(0)
    assert book.used == 0.85


async def test_refused_by_one_window_nothing_stays_counted_in_the_others() -> None:
    state = InMemoryState()
    book = ledger(state, SpendingWindow(10), SpendingWindow(1, 3600, "principal"))
    assert await book.reserve(2 * USD) is None
    assert await ledger(state, SpendingWindow(10)).left() == 10 * USD


async def test_tenants_people_and_conversations_have_windows_of_their_own() -> None:
    state = InMemoryState()
    bob = MemoryIdentity("acme", "bob", "t-2")
    other = MemoryIdentity("umbrella", "alice", "t-1")
    by_tenant, by_person = SpendingWindow(1), SpendingWindow(1, per="principal")
    assert await ledger(state, by_tenant).reserve(USD) is not None
    assert await ledger(state, by_tenant, who=bob).reserve(1) is None
    assert await ledger(state, by_tenant, who=other).reserve(USD) is not None
    assert await ledger(state, by_person).reserve(USD) is not None
    assert await ledger(state, by_person, who=bob).reserve(USD) is not None


async def test_a_window_without_per_is_one_for_all() -> None:
    state = InMemoryState()
    everybody = SpendingWindow(1, per=None)
    assert await ledger(state, everybody).reserve(USD) is not None
    assert await ledger(state, everybody, who=MemoryIdentity("umbrella")).reserve(1) is None


async def test_a_new_window_begins_empty_and_a_late_settlement_counts_in_the_old_one() -> None:
    state, now = InMemoryState(), [86_400.0 * 20_000 - 1]
    book = ledger(state, SpendingWindow(1), clock=lambda: now[0])
    counted = await book.reserve(USD)
    assert counted is not None
    assert await book.reserve(1) is None
    now[0] += 2  # Past midnight UTC.
    assert await book.left() == USD
    await book.settle(counted, -USD)
    assert await book.left() == USD


async def test_what_is_not_enforced_is_counted_all_the_same() -> None:
    book = ledger(InMemoryState(), SpendingWindow(1), enforced=False)
    assert await book.reserve(3 * USD) is not None
    assert await book.left() == -2 * USD


async def test_forgetting_a_tenant_forgets_what_it_spent() -> None:
    state = InMemoryState()
    await ledger(state, SpendingWindow(1)).reserve(USD)
    assert await state.forget(MemoryIdentity("acme"), descendants=True) == 1


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 400)), max_size=30), st.integers(1, 1000))
def test_together_they_never_go_beyond_the_limit(calls: list[tuple[int, int]], limit: int) -> None:
    """Calls at once, each of which costs at most what it reserved."""
    state = InMemoryState()
    book = ledger(state, SpendingWindow(str(limit / 1_000_000_000)))

    async def one(worst: int, cost: int) -> int:
        counted = await book.reserve(worst)
        if counted is None:
            return 0
        await asyncio.sleep(0)
        await book.settle(counted, min(worst, cost) - worst)
        return min(worst, cost)

    async def all_at_once() -> tuple[int, int]:
        spent = sum(await asyncio.gather(*(one(*call) for call in calls)))
        left = await book.left()
        assert left is not None
        return spent, left

    spent, left = asyncio.run(all_at_once())
    assert spent <= limit
    assert left == limit - spent


async def test_windows_of_one_length_are_counted_apart_whoever_is_named() -> None:
    by_tenant, by_person = SpendingWindow(10, 3600), SpendingWindow(1, 3600, per="principal")
    everybody, longer = SpendingWindow(10, 3600, per=None), SpendingWindow(10, 2_592_001)
    for who in (MemoryIdentity("acme"), MemoryIdentity(), ACME):
        state = InMemoryState()
        windows = (by_tenant, by_person, everybody, longer, SpendingWindow(10, 2_592_000))
        assert await ledger(state, *windows, who=who).reserve(USD // 2) is not None
        for window in windows:
            assert await ledger(state, window, who=who).left() == window.limit - USD // 2
