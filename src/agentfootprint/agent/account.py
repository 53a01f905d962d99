"""What a run may still spend: reserved before a call, settled after, also by several calls at once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from ..cost.ledger import Counted, Ledger

if TYPE_CHECKING:
    from ..cost.budget import CostBudget
    from ..state.base import StateKey

__all__ = ["Account", "Reservation"]

T = TypeVar("T")

_log = logging.getLogger("agentfootprint.cost")


Place = tuple["Account", Sequence[Counted]]
"""An account in which something is counted, and the counters of its windows that have it."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """The worst case of one call, as it is counted in an account and in all above it.

    `over` says that an account which only warns has less left than that.
    """

    amount: int
    places: Sequence[Place]
    over: bool = False


class Account:
    """The budget of one run, the windows it counts into, and the account of the run that has called it: what
    a nested run spends, those above it have spent too. Amounts are nano-USD.

    Args:
        budget: None sets no limit of its own.
        ledger: the windows of time that instances share.
        above: of the run that this one is nested in.
    """

    __slots__ = ("_ledger", "_limit", "_reserved", "_spent", "above", "budget")

    def __init__(
        self, budget: CostBudget | None, ledger: Ledger | None = None, above: Account | None = None
    ) -> None:
        self.budget = budget
        self.above = above
        self._ledger = ledger
        self._limit = None if budget is None else budget.limit
        self._spent = 0
        self._reserved = 0

    @property
    def budgets(self) -> list[CostBudget]:
        """Its own budget and those above it."""
        return [each.budget for each in self._upwards() if each.budget is not None]

    @property
    def shares(self) -> tuple[float | None, float | None]:
        """Which share of its own budget is used, and which of its tightest window when that was last looked
        at; None without any."""
        used = self._spent / self._limit if self._limit else None
        return used, None if self._ledger is None else self._ledger.used

    def knows_of(self, spent: int) -> None:
        """So much was spent by the record. What is counted here beyond that, others have spent meanwhile."""
        self._spent = max(self._spent, spent)

    async def reserve(self, amount: int) -> Reservation | None:
        """Counts an amount as spent here and above; None, and it is counted nowhere, when a budget that halts
        has less left.

        Raises:
            StoreError: the state store could not say what is left; windows may keep it counted.
        """
        places: list[Place] = []
        over = False
        try:
            for account in self._upwards():
                if not await account._took(amount, places):
                    break
                over = over or await account._overdrawn()
            else:
                return Reservation(amount, places, over)
        except BaseException:
            for account, _ in places:
                account._reserved -= amount
            raise
        for account, counted in places:
            account._reserved -= amount
            if account._ledger is not None:
                await account._ledger.settle(counted, -amount)
        return None

    async def settle(self, reservation: Reservation, cost: int) -> None:
        """What a call cost takes the place of what was reserved for it."""
        for account, _ in reservation.places:
            account._reserved -= reservation.amount
            account._spent += cost
        for account, counted in reservation.places:
            if account._ledger is not None:
                # Where it fails the reservation stays counted, which is on the safe side.
                await _said(account._ledger.settle(counted, cost - reservation.amount))

    def keep(self, reservation: Reservation) -> None:
        """Nobody knows what the call cost: all that was reserved counts as spent."""
        for account, _ in reservation.places:
            account._reserved -= reservation.amount
            account._spent += reservation.amount

    async def count(self, amount: int) -> None:
        """Counts what was spent without a reservation, whether or not it goes beyond a limit."""
        places: list[Place] = []
        for account in self._upwards():
            account._spent += amount
            if account._ledger is not None and amount:
                ledger = account._ledger
                counted = await _said(ledger.count(amount, besides=_counted_in(ledger, places)))
                places.append((account, counted or ()))

    async def left(self) -> int | None:
        """What the tightest budget that halts has left; None without any."""
        found: list[int] = []
        for account in self._upwards():
            if not account._halts:
                continue
            if account._limit is not None:
                found.append(account._limit - account._spent - account._reserved)
            if account._ledger is not None and (windows := await account._ledger.left()) is not None:
                found.append(windows)
        return min(found, default=None)

    @property
    def _halts(self) -> bool:
        return self.budget is not None and self.budget.on_exceed == "halt"

    async def _took(self, amount: int, places: list[Place]) -> bool:
        """Reserves here alone, and notes it in `places`; False when there is not so much left."""
        if self._halts and self._limit is not None and amount > self._limit - self._spent - self._reserved:
            return False
        self._reserved += amount
        places.append((self, ()))
        if self._ledger is None:
            return True
        counted = await self._ledger.reserve(amount, besides=_counted_in(self._ledger, places))
        if counted is None:
            self._reserved -= amount
            places.pop()
            return False
        places[-1] = (self, counted)
        return True

    async def _overdrawn(self) -> bool:
        """Whether more is reserved than a budget has that only warns."""
        if self.budget is None or self._halts:
            return False
        if self._limit is not None and self._spent + self._reserved > self._limit:
            return True
        left = None if self._ledger is None else await self._ledger.left()
        return left is not None and left < 0

    def _upwards(self) -> Iterator[Account]:
        account: Account | None = self
        while account is not None:
            yield account
            account = account.above


def _counted_in(ledger: Ledger, places: Sequence[Place]) -> frozenset[StateKey]:
    """The counters of a ledger's store that have an amount already: budgets of one name share them."""
    return frozenset(
        key
        for account, counted in places
        if account._ledger is not None and account._ledger.state is ledger.state
        for key, _ in counted
    )


async def _said(said: Awaitable[T]) -> T | None:
    """The call is made: that its cost cannot be counted is told, and changes nothing."""
    try:
        return await said
    except Exception as error:
        _log.warning("what a call cost could not be counted in windows of time: %s", error)
        return None
