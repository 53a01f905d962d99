"""What runs within runs may spend: no budget is overdrawn, and nothing is counted twice or lost."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentfootprint import MemoryIdentity
from agentfootprint.agent.account import Account, Reservation
from agentfootprint.cost import CostBudget, SpendingWindow
from agentfootprint.cost.ledger import Ledger
from agentfootprint.errors import StoreUnavailable
from agentfootprint.state import InMemoryState

ACME = MemoryIdentity("acme", "alice", "t-1")
NANO = 1_000_000_000


class Slow(InMemoryState):
    """Lets others go first at each call, so that reservations meet."""

    async def increment(self, *arguments: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        return await super().increment(*arguments, **options)


class Silent(InMemoryState):
    """Counts nothing from some call on."""

    calls_left = 1

    async def increment(self, *arguments: Any, **options: Any) -> Any:
        self.calls_left -= 1
        if self.calls_left < 0:
            raise StoreUnavailable("no route")
        return await super().increment(*arguments, **options)


Shape = list[tuple[int | None, int | None, str]]
"""For each account from the outermost inwards: the limit of its run and of its window, and its name."""

shapes = st.lists(
    st.tuples(
        st.none() | st.integers(1, 60), st.none() | st.integers(1, 60), st.sampled_from(["one", "shared"])
    ),
    min_size=1,
    max_size=4,
)
calls = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 20), st.none() | st.integers(0, 20)), min_size=1, max_size=12
)


def built(shape: Shape, state: InMemoryState) -> tuple[list[Account], list[Ledger | None]]:
    accounts: list[Account] = []
    ledgers: list[Ledger | None] = []
    for number, (limit, window, name) in enumerate(shape):
        windows = () if window is None else (SpendingWindow(window),)
        budget = None if limit is None and not windows else CostBudget(usd=limit, windows=windows)
        named = name if name == "shared" else f"{name}-{number}"
        ledgers.append(Ledger(state, named, windows, ACME) if windows else None)
        accounts.append(Account(budget, ledgers[-1], accounts[-1] if accounts else None))
    return accounts, ledgers


@given(shapes, calls)
async def test_no_budget_is_overdrawn_and_all_that_was_spent_is_counted_once(
    shape: Shape, wanted: list[tuple[int, int, int | None]]
) -> None:
    accounts, ledgers = built(shape, Slow())
    spent = [0] * len(shape)

    async def pay(place: int, worst: int, cost: int | None) -> None:
        place %= len(accounts)
        reservation = await accounts[place].reserve(worst * NANO)
        if reservation is None:
            return
        await asyncio.sleep(0)
        if cost is None:
            accounts[place].keep(reservation)
            cost = worst
        else:
            cost = min(cost, worst)
            await accounts[place].settle(reservation, cost * NANO)
        for above in range(place + 1):
            spent[above] += cost

    await asyncio.gather(*(pay(*each) for each in wanted))
    for account, (limit, _, _), total in zip(accounts, shape, spent, strict=True):
        assert account._reserved == 0
        assert account._spent == total * NANO
        assert limit is None or total <= limit
    shared = [at for at, (_, _, name) in enumerate(shape) if name == "shared" and ledgers[at] is not None]
    for at, ledger in enumerate(ledgers):
        if ledger is None:
            continue
        window = shape[at][1]
        assert window is not None
        # Windows of one name are one counter: it has what the outermost of them counts.
        whole = spent[min(shared)] if at in shared else spent[at]
        assert whole <= window
        assert await ledger.left() == (window - whole) * NANO


@given(st.integers(0, 3))
async def test_a_store_that_falls_silent_leaves_nothing_reserved(calls_left: int) -> None:
    state = Silent()
    shape: Shape = [(50, 50, "one"), (50, 50, "one")]
    accounts, _ = built(shape, state)
    state.calls_left = calls_left
    reservation: Reservation | None = None
    try:
        reservation = await accounts[1].reserve(5 * NANO)
    except StoreUnavailable:
        pass
    if reservation is not None:
        await accounts[1].settle(reservation, NANO)
    assert [account._reserved for account in accounts] == [0, 0]
    assert [account._spent for account in accounts] == [NANO if reservation else 0] * 2
