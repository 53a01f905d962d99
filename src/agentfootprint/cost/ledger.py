"""What was spent in windows of time, counted by all instances together."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from ..identity import MemoryIdentity
from .budget import SpendingWindow

if TYPE_CHECKING:
    from ..state.base import StateKey, StateStore

__all__ = ["Counted", "Ledger"]

Counted = tuple["StateKey", float]
"""A counter and how long it is kept, in seconds."""


class Ledger:
    """The windows that one identity's calls count into; amounts are nano-USD.

    A window's number is part of its key, so that what expires late is never counted again; a call
    settles in the window it was reserved in.

    Args:
        enforced: whether a reservation beyond a limit is refused.
    """

    __slots__ = ("_clock", "_enforced", "_identity", "_name", "_seen", "_state", "_window_of", "_windows")

    def __init__(
        self,
        state: StateStore,
        name: str,
        windows: Sequence[SpendingWindow],
        identity: MemoryIdentity | None,
        *,
        enforced: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._name = name
        self._windows = windows
        self._identity = identity or MemoryIdentity()
        self._enforced = enforced
        self._clock = clock
        self._window_of: dict[StateKey, SpendingWindow] = {}
        self._seen: dict[SpendingWindow, float] = {}

    @property
    def used(self) -> float | None:
        """The share of the tightest window that was used when it was last looked at; None: nobody did."""
        return max(self._seen.values(), default=None)

    @property
    def state(self) -> StateStore:
        """Where it counts."""
        return self._state

    async def reserve(
        self, amount: int, *, besides: Collection[StateKey] = frozenset()
    ) -> list[Counted] | None:
        """Counts an amount as spent in every window; None, and nothing is counted, when it goes beyond
        one of them. Returns where it was counted.

        Args:
            besides: counters that have it already: they are looked at, and not counted into.

        Raises:
            StoreError: the state store could not say; what was counted before stays counted.
        """
        counted: list[Counted] = []
        for window in self._windows:
            key, ttl = self._counter(window)
            limit = window.limit if self._enforced else None
            if key in besides:
                fits = limit is None or await self._total(key, ttl) <= limit
            else:
                fits = await self._add(key, amount, ttl, limit) is not None
            if not fits:
                await self.settle(counted, -amount)
                return None
            if key not in besides:
                counted.append((key, ttl))
        return counted

    async def settle(self, counted: Sequence[Counted], difference: int) -> None:
        """Adds the difference between what a call cost and what was reserved for it."""
        if difference:
            for key, ttl in counted:
                await self._add(key, difference, ttl)

    async def count(self, amount: int, *, besides: Collection[StateKey] = frozenset()) -> list[Counted]:
        """Counts what was spent already, whether or not it goes beyond a limit. Returns where it was counted.

        Args:
            besides: counters that have it already.

        Raises:
            StoreError: the state store could not count it in every window.
        """
        counters = [self._counter(window) for window in self._windows]
        counted = [(key, ttl) for key, ttl in counters if key not in besides]
        for key, ttl in counted:
            await self._add(key, amount, ttl)
        return counted

    async def left(self) -> int | None:
        """What the tightest window has left; None without windows."""
        found = [window.limit - (await self._spent(window)) for window in self._windows]
        return min(found, default=None)

    async def _spent(self, window: SpendingWindow) -> int:
        return await self._total(*self._counter(window))

    async def _total(self, key: StateKey, ttl: float) -> int:
        total = await self._add(key, 0, ttl)
        assert total is not None  # Without a limit nothing is refused.
        return total

    async def _add(self, key: StateKey, amount: int, ttl: float, limit: int | None = None) -> int | None:
        total = await self._state.increment(key, amount, limit=limit, ttl=ttl)
        window = self._window_of.get(key)
        if total is not None and window is not None and window.limit:
            self._seen[window] = total / window.limit
        return total

    def _counter(self, window: SpendingWindow) -> Counted:
        from ..state.base import StateKey

        number = int(self._clock() // window.seconds)
        identity = None if window.per is None else self._identity.scoped(window.per)
        # Whose it is stands in the name too: a tenant's window is not that of a person nobody named.
        name = f"{self._name}/{window.per or 'all'}/{float(window.seconds)!r}/{number}"
        key = StateKey(identity, "spent", name)
        self._window_of[key] = window
        # Kept for a whole further window: a call may settle after the end of its own.
        return key, 2 * window.seconds
