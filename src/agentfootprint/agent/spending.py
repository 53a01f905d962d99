"""What the model calls of a run cost: reserved before they are made, settled after."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from ..cost.budget import CostBudget
from ..cost.estimate import InputEstimate
from ..cost.ledger import Counted, Ledger
from ..cost.prices import PricingTable, nano_usd, usd_of
from ..errors import (
    AllProvidersFailed,
    ConfigurationError,
    CostBudgetExceeded,
    ProviderError,
)
from ..messages import LLMRequest, LLMResponse, Usage
from ..providers.attempts import gate, settle
from ..providers.base import LLMProvider, capabilities_of, leaves
from ..vendors.failures import declined

if TYPE_CHECKING:
    from ..identity import MemoryIdentity
    from ..state.base import StateStore

__all__ = ["Pricing", "Spending", "Spent"]

LEAST_OUTPUT = 64
"""An answer cut to fewer tokens is of no use: its call is not made."""

TRIES = 5
"""Reservations lost to other runs of the tenant before a call is refused."""

Ask = Callable[[LLMRequest], Awaitable[LLMResponse]]
Tick = Callable[[str, str, Usage | None, str | None, str | None], None]
Warned = Callable[[str, float], None]

_log = logging.getLogger("agentfootprint.cost")


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


class Pricing:
    """What an agent was given to price and to limit its calls, shared by its runs."""

    __slots__ = ("budget", "name", "provider", "table", "windows")

    def __init__(
        self, provider: LLMProvider, table: PricingTable, budget: CostBudget | None, name: str
    ) -> None:
        self.provider = provider
        self.table = table
        self.budget = budget
        self.windows = () if budget is None else budget.all_windows
        self.name = name if budget is None or budget.name is None else budget.name
        if budget is not None and budget.unpriced == "refuse":
            unknown = [
                one for one in leaves(provider) if table.cost(one.name, one.model, Usage(1, 1)) is None
            ]
            if unknown:
                models = ", ".join(f"{one.name}:{one.model}" for one in unknown)
                raise ConfigurationError(
                    f"cost_budget= cannot be kept: pricing_table has no price for {models}. Give it one "
                    "with PriceList({...: Price(input=..., output=...)}, otherwise=...), or allow totals "
                    "that read as unknown with CostBudget(unpriced='allow')"
                )

    @property
    def by_identity(self) -> bool:
        """Whether there are windows that tell tenants apart."""
        return any(window.per for window in self.windows)

    def worst(self, provider: LLMProvider, tokens: int, output: int) -> int:
        """The most that one attempt can cost, in nano-USD, whichever model of a chain answers."""
        most = 0
        for leaf in leaves(provider):
            found = self.table.cost(leaf.name, leaf.model, Usage(tokens, output))
            if found is not None and "prompt_cache" in capabilities_of(leaf):
                # Writing a prompt cache may cost more than reading the input plain.
                written = Usage(tokens, output, cache_write_tokens=tokens)
                found = max(found, self.table.cost(leaf.name, leaf.model, written) or found)
            most = max(most, 0 if found is None else nano_usd(found))
        return most

    def of(self, reply: LLMResponse) -> int | None:
        """What an answer cost, in nano-USD; None when that is not known."""
        if reply.usage is None or reply.usage.unreported:
            return None
        provider, model = reply.provider or self.provider.name, reply.model or self.provider.model
        try:
            found = self.table.cost(provider, model, reply.usage)
            if found is None:
                # Vendors answer with a dated name of the model that was asked. It may begin with a shorter
                # one of the chain too, as that of a mini model does with that of the large one.
                asked = [each.model for each in leaves(self.provider) if each.name == provider]
                fitting = [each for each in asked if model.startswith(each)]
                if fitting:
                    found = self.table.cost(provider, max(fitting, key=len), reply.usage)
        except Exception:
            # The answer is there and paid for: it is not thrown away for want of its price.
            _log.exception("the pricing table failed on %s:%s", provider, model)
            return None
        return None if found is None else nano_usd(found)


class Spending:
    """One run's money. Model calls go through `pay_for`."""

    __slots__ = (
        "_answering",
        "_capped",
        "_counted",
        "_input",
        "_ledger",
        "_pricing",
        "_reserved",
        "_spent",
        "_tick",
        "_tokens",
        "_under_way",
        "_warn",
        "_warned",
    )

    def __init__(self, pricing: Pricing, identity: MemoryIdentity | None, state: StateStore | None) -> None:
        self._pricing = pricing
        self._spent = Spent()
        self._input = InputEstimate()
        self._tokens = 0
        self._ledger: Ledger | None = None
        self._reserved = 0
        self._counted: list[Counted] = []
        self._answering = False
        self._capped = False
        self._under_way = False
        self._warned = False
        self._tick: Tick | None = None
        self._warn: Warned | None = None
        if pricing.budget is not None and state is not None:
            enforced = pricing.budget.on_exceed == "halt"
            self._ledger = Ledger(state, pricing.name, pricing.windows, identity, enforced=enforced)

    def begin(self, spent: Spent, tick: Tick, warn: Warned) -> None:
        """Goes on from what the run has spent so far."""
        self._spent = replace(spent, cut=False)
        self._tick, self._warn = tick, warn

    def so_far(self) -> Spent:
        """What the run has spent, the call under way included."""
        return self._spent

    def cut_short(self) -> None:
        """The budget refused the rest of the answer that was under way."""
        self._spent = replace(self._spent, cut=True)

    async def pay_for(self, ask: Ask, request: LLMRequest) -> LLMResponse:
        """Makes one call: reserves its worst case, and that of every further attempt, and settles what
        the attempts cost.

        Raises:
            CostBudgetExceeded: it, or a further attempt, could go beyond the budget; it was not made.
            StoreError: the state store could not say what is left.
        """
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
        budget = self._pricing.budget
        if budget is None:
            return request
        self._tokens = self._input.of(request)
        provider = self._pricing.provider
        wanted = request.max_tokens or budget.max_output_tokens
        if budget.on_exceed == "warn":
            await self._reserve(self._pricing.worst(provider, self._tokens, wanted))
            return request
        output = wanted
        for _ in range(TRIES):
            if await self._reserve(self._pricing.worst(provider, self._tokens, output)):
                self._capped = output < wanted
                return request if request.max_tokens == output else replace(request, max_tokens=output)
            if request.max_tokens is not None:
                break  # Whoever asked for so many tokens is not given fewer.
            output = min(wanted, self._fitting(provider, wanted, await self._left()))
            if output < min(LEAST_OUTPUT, wanted):
                break
        raise self._refusal(provider, wanted)

    def _fitting(self, provider: LLMProvider, wanted: int, left: int) -> int:
        """How many tokens of an answer can be paid."""
        silent = self._pricing.worst(provider, self._tokens, 0)
        whole = self._pricing.worst(provider, self._tokens, wanted)
        return wanted if whole <= silent else wanted * (left - silent) // (whole - silent)

    async def _again(self, provider: LLMProvider, request: LLMRequest, failed: Exception) -> None:
        await self._over(failed)
        budget = self._pricing.budget
        if budget is not None:
            output = request.max_tokens or budget.max_output_tokens
            worst = self._pricing.worst(provider, self._tokens, output)
            if not await self._reserve(worst) and budget.on_exceed == "halt":
                raise self._refusal(provider, output)
        self._under_way = True

    async def _reserve(self, worst: int) -> bool:
        """Reserves in the run and in every window. A warning takes the place of a refusal."""
        budget = self._pricing.budget
        assert budget is not None
        left = self._run_left()
        fits = left is None or worst <= left
        if not fits and budget.on_exceed == "halt":
            return False
        if self._ledger is not None:
            counted = await self._ledger.reserve(worst)
            if counted is None:
                return False
            self._counted = counted
            if budget.on_exceed == "warn":
                left = await self._ledger.left()
                fits = fits and (left is None or left >= 0)
        self._reserved = worst
        if not fits and not self._warned and self._warn is not None:
            self._warned = True
            self._warn("cost_budget", float(usd_of(self._spent.nano + self._spent.held + worst)))
        return fits

    def _run_left(self) -> int | None:
        budget = self._pricing.budget
        if budget is None or budget.limit is None:
            return None
        return budget.limit - self._spent.nano - self._spent.held

    async def _left(self) -> int:
        run = self._run_left()
        window = None if self._ledger is None else await self._ledger.left()
        return min(left for left in (run, window) if left is not None)

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
        spent, self._under_way = self._spent, False
        self._spent = replace(spent, held=spent.held + self._reserved, unknown=spent.unknown + 1)
        self._reserved, self._counted = 0, []

    async def _settle(self, cost: int) -> None:
        """An attempt's cost takes the place of its reservation."""
        reserved, counted = self._reserved, self._counted
        self._reserved, self._counted = 0, []
        spent, self._under_way = self._spent, False
        self._spent = replace(spent, nano=spent.nano + cost)
        if self._ledger is None or not counted:
            return
        try:
            await self._ledger.settle(counted, cost - reserved)
        except Exception as error:
            # The call is made: its reservation stays counted, which is on the safe side.
            _log.warning("a call's cost could not be settled (%s): its worst case stays counted", error)

    def _told(self, provider: str, model: str, usage: Usage | None, cost: int | None) -> None:
        if self._tick is not None:
            total = self._spent.total
            told = None if cost is None else f"{usd_of(cost):f}"
            self._tick(provider, model, usage, told, None if total is None else f"{total:f}")
