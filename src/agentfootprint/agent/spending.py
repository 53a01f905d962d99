"""What the model calls of a run cost: reserved before they are made, settled after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from ..cost.estimate import InputEstimate
from ..cost.ledger import Ledger
from ..cost.prices import usd_of
from ..embedders.usage import EmbeddingUsage
from ..errors import (
    AllProvidersFailed,
    CostBudgetExceeded,
    ProviderError,
)
from ..messages import LLMRequest, LLMResponse, Usage
from ..providers.attempts import gate, settle
from ..providers.base import LLMProvider, leaves
from ..vendors.failures import declined
from .account import Account, Reservation
from .pricing import Pricing

if TYPE_CHECKING:
    from ..identity import MemoryIdentity
    from ..state.base import StateStore

__all__ = ["Spending", "Spent"]

LEAST_OUTPUT = 64
"""An answer cut to fewer tokens is of no use: its call is not made."""

TRIES = 5
"""Reservations lost to other runs of the tenant before a call is refused."""

Ask = Callable[[LLMRequest], Awaitable[LLMResponse]]
Tick = Callable[[str, str, str, Usage | None, str | None, str | None, float | None, float | None], None]
"""Hears of a call: its kind, provider and model, its usage, its cost and the run's so far in USD, and which
shares of the run's budget and of its windows are used."""
Warned = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has cost so far, in nano-USD.

    `held` is the worst case of attempts whose outcome, and so whose price, nobody knows: it counts
    against budgets and is no part of the total. `unknown` counts calls without a known price; with
    one of them the total is unknown. `cut`: the budget left the last answer less room than asked for,
    and it ended for want of it, or refused the rest of it.
    """

    nano: int = 0
    held: int = 0
    unknown: int = 0
    cut: bool = False

    @property
    def total(self) -> Decimal | None:
        return None if self.unknown else usd_of(self.nano)

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.nano + other.nano, self.held + other.held, self.unknown + other.unknown)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.nano - other.nano, self.held - other.held, self.unknown - other.unknown)


class Spending:
    """One run's calls of models, one at a time, and what they cost. They go through `pay_for`."""

    __slots__ = (
        "_answering",
        "_capped",
        "_input",
        "_kind",
        "_of",
        "_pricing",
        "_reserved",
        "_spent",
        "_tick",
        "_tokens",
        "_under_way",
        "_warn",
        "_warned",
        "account",
    )

    def __init__(self, pricing: Pricing, account: Account) -> None:
        self.account = account
        self._pricing = pricing
        self._of: Spending | None = None
        self._spent = Spent()
        self._input = InputEstimate()
        self._tokens = 0
        self._reserved: Reservation | None = None
        self._answering = False
        self._capped = False
        self._under_way = False
        self._warned = False
        self._kind = "model"
        self._tick: Tick | None = None
        self._warn: Warned | None = None

    @staticmethod
    def of_run(
        pricing: Pricing,
        identity: MemoryIdentity | None,
        state: StateStore | None,
        above: Account | None = None,
    ) -> Spending:
        """That of a run: with a budget of its own, its windows in `state`, and the account of the run that
        it is nested in."""
        budget, ledger = pricing.budget, None
        if budget is not None and state is not None:
            enforced = budget.on_exceed == "halt"
            ledger = Ledger(state, pricing.name, pricing.windows, identity, enforced=enforced)
        return Spending(pricing, Account(budget, ledger, above))

    def begin(self, kind: str, spent: Spent, tick: Tick, warn: Warned) -> None:
        """Goes on from what the run has spent so far. `kind` says what its calls are for."""
        self.go_on(spent)
        self._kind, self._tick, self._warn = kind, tick, warn

    def go_on(self, spent: Spent) -> None:
        """So much has the run spent by its record."""
        self._spent = replace(spent, cut=False)
        self.account.knows_of(spent.nano + spent.held)

    def again(self, tick: Tick) -> Spending:
        """For what is still to be done when the run is over: another one, of the same budget."""
        other = Spending(self._pricing, self.account)
        other._of = self
        other.begin("memory", self._spent, tick, lambda limit, value: None)
        return other

    def so_far(self) -> Spent:
        """What the run has spent, the call under way included."""
        return self._spent

    def cut_short(self) -> None:
        """The budget refused the rest of the answer that was under way."""
        self._spent = replace(self._spent, cut=True)

    async def embedded(self, used: Sequence[EmbeddingUsage], tick: Tick) -> Spent:
        """Counts what embedding has cost; unlike calls of models it is not reserved before. What it was."""
        costs = [self._pricing.of_embedding(each) for each in used]
        known = sum(cost for cost in costs if cost is not None)
        await self.account.count(known)
        for each, cost in zip(used, costs, strict=True):
            self._add(Spent(cost or 0, unknown=int(cost is None)))
            self._tell(tick, "embedding", each.provider, each.model, each.usage, cost)
        return Spent(known, unknown=costs.count(None))

    async def pay_for(
        self, ask: Ask, request: LLMRequest, provider: LLMProvider | None = None
    ) -> LLMResponse:
        """Makes one call of a provider, the agent's own unless given: reserves its worst case, and that of
        every further attempt, and settles what the attempts cost.

        Raises:
            CostBudgetExceeded: it, or a further attempt, could go beyond the budget; it was not made.
            StoreError: the state store could not say what is left.
        """
        own, self._pricing = self._pricing, self._pricing.beside(provider)
        try:
            return await self._paid(ask, request)
        finally:
            self._pricing = own

    async def _paid(self, ask: Ask, request: LLMRequest) -> LLMResponse:
        request = await self._affordable(request)
        self._under_way, self._answering = True, False
        outer, around = gate.set(self._again), settle.set(self._over)
        try:
            reply = await ask(request)
        except Exception as error:
            # When a further attempt could not be reserved, the one before is settled and there is no other.
            await self._over(error)
            raise
        except BaseException:
            if self._under_way:
                self._keep()  # Cancelled, or out of time: nobody will know what it cost.
            raise
        finally:
            gate.reset(outer)
            settle.reset(around)
        await self._answered(reply)
        return reply

    # ── before ──────────────────────────────────────────────────────────────────────────────────

    async def _affordable(self, request: LLMRequest) -> LLMRequest:
        """Reserves a call, and limits its answer to what can be paid."""
        self._capped = False
        budgets = self.account.budgets
        if not budgets:
            return request
        self._tokens = self._input.of(request)
        provider = self._pricing.provider
        output = wanted = request.max_tokens or self._longest()
        for _ in range(TRIES):
            if await self._reserve(self._pricing.worst(provider, self._tokens, output)):
                self._capped = output < wanted
                if request.max_tokens == output or all(each.on_exceed == "warn" for each in budgets):
                    return request
                return replace(request, max_tokens=output)
            if request.max_tokens is not None:
                break  # Whoever asked for so many tokens is not given fewer.
            left = await self.account.left()
            output = wanted if left is None else min(wanted, self._fitting(provider, wanted, left))
            if output < min(LEAST_OUTPUT, wanted):
                break
        raise self._refusal(provider, wanted)

    def _longest(self) -> int:
        """The tokens of an answer that nobody has limited, by the nearest budget."""
        return self.account.budgets[0].max_output_tokens

    def _fitting(self, provider: LLMProvider, wanted: int, left: int) -> int:
        """How many tokens of an answer can be paid."""
        silent = self._pricing.worst(provider, self._tokens, 0)
        whole = self._pricing.worst(provider, self._tokens, wanted)
        return wanted if whole <= silent else wanted * (left - silent) // (whole - silent)

    async def _again(self, provider: LLMProvider, request: LLMRequest, failed: Exception) -> None:
        await self._over(failed)
        if self.account.budgets:
            output = request.max_tokens or self._longest()
            if not await self._reserve(self._pricing.worst(provider, self._tokens, output)):
                raise self._refusal(provider, output)
        self._under_way = True

    async def _reserve(self, worst: int) -> bool:
        """Whether there is enough for a call. Where a budget only warns, a warning takes the place of a
        refusal."""
        self._reserved = await self.account.reserve(worst)
        if self._reserved is None:
            return False
        if self._reserved.over and not self._warned and self._warn is not None:
            self._warned = True
            self._warn("cost_budget", float(usd_of(self._spent.nano + self._spent.held + worst)))
        return True

    def _refusal(self, provider: LLMProvider, output: int) -> CostBudgetExceeded:
        worst = usd_of(self._pricing.worst(provider, self._tokens, output))
        return CostBudgetExceeded(
            f"the next call of {provider.name}:{provider.model} could cost {worst} USD (about {self._tokens} "
            f"tokens in, up to {output} out), more than is left of the budget: it was not made"
        )

    # ── after ───────────────────────────────────────────────────────────────────────────────────

    async def _answered(self, reply: LLMResponse) -> None:
        cost = self._pricing.of(reply)
        if reply.usage is not None:
            self._input.correct(reply.usage)
        cut = self._capped and reply.stop_reason == "max_tokens"
        if cost is None:
            self._keep()
        else:
            await self._settle(cost)
        self._spent = replace(self._spent, cut=cut)
        provider, model = self._pricing.provider, reply.model
        self._told(reply.provider or provider.name, model or provider.model, reply.usage, cost)

    def begun(self) -> None:
        """The answer has begun to come: should it break off, it may be charged, whatever the error says."""
        self._answering = True

    async def _over(self, error: Exception) -> None:
        """The attempt that is under way failed."""
        if not self._under_way:
            return
        if declined(error) and not self._answering:
            await self._settle(0)
            return
        self._keep()
        while isinstance(error, AllProvidersFailed):
            error = error.errors[-1]  # Those before it were told when the next was asked.
        provider = self._pricing.provider
        name = (error.provider if isinstance(error, ProviderError) else None) or provider.name
        model = next((leaf.model for leaf in leaves(provider) if leaf.name == name), provider.model)
        self._told(name, model, None, None)

    def _keep(self) -> None:
        """An attempt of unknown cost keeps its reservation."""
        reserved, self._reserved = self._reserved, None
        self._under_way = False
        self._add(Spent(held=0 if reserved is None else reserved.amount, unknown=1))
        if reserved is not None:
            self.account.keep(reserved)

    async def _settle(self, cost: int) -> None:
        """An attempt's cost takes the place of its reservation."""
        reserved, self._reserved = self._reserved, None
        self._under_way = False
        self._add(Spent(cost))
        if reserved is not None:
            await self.account.settle(reserved, cost)

    def _add(self, spent: Spent) -> None:
        self._spent = replace(self._spent + spent, cut=self._spent.cut)
        if self._of is not None:
            self._of._add(spent)

    def _told(self, provider: str, model: str, usage: Usage | None, cost: int | None) -> None:
        if self._tick is not None:
            self._tell(self._tick, self._kind, provider, model, usage, cost)

    def _tell(
        self, tick: Tick, kind: str, provider: str, model: str, usage: Usage | None, cost: int | None
    ) -> None:
        total = (self._of or self)._spent.total
        told = None if cost is None else f"{usd_of(cost):f}"
        so_far = None if total is None else f"{total:f}"
        tick(kind, provider, model, usage, told, so_far, *self.account.shares)
