"""What the models of an agent, and those that work for its memories, cost."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..cost.budget import CostBudget
from ..cost.prices import PricingTable, nano_usd
from ..embedders.usage import EmbeddingUsage
from ..errors import ConfigurationError
from ..messages import LLMResponse, Usage
from ..providers.base import LLMProvider, capabilities_of, leaves

__all__ = ["Pricing"]

_ONE = Usage(1, 1)

_log = logging.getLogger("agentfootprint.cost")


class Pricing:
    """What an agent was given to price and to limit its calls, shared by its runs.

    Args:
        strict: models without a price are refused, as by a budget that does not allow them.

    Raises:
        ConfigurationError: a model has no price, and that is refused.
    """

    __slots__ = ("_beside", "budget", "name", "provider", "strict", "table", "windows")

    def __init__(
        self,
        provider: LLMProvider,
        table: PricingTable,
        budget: CostBudget | None,
        name: str,
        *,
        strict: bool = False,
    ) -> None:
        self.provider = provider
        self.table = table
        self.budget = budget
        self.windows = () if budget is None else budget.all_windows
        self.name = name if budget is None or budget.name is None else budget.name
        self.strict = strict or (budget is not None and budget.unpriced == "refuse")
        self._beside: dict[int, Pricing] = {}
        self._refuse_unknown([(one.name, one.model) for one in leaves(provider)])

    def _refuse_unknown(self, models: Sequence[tuple[str, str]]) -> None:
        if not self.strict:
            return
        unknown = [f"{name}:{model}" for name, model in models if self.table.cost(name, model, _ONE) is None]
        if unknown:
            raise ConfigurationError(
                f"cost_budget= cannot be kept: pricing_table has no price for {', '.join(unknown)}. Give it "
                "one with PriceList({...: Price(input=..., output=...)}, otherwise=...), or allow totals "
                "that read as unknown with CostBudget(unpriced='allow')"
            )

    def beside(self, provider: LLMProvider | None) -> Pricing:
        """The same for another provider, which a memory asks; None is the agent's own.

        Raises:
            ConfigurationError: it has a model without a price, and the budget refuses these.
        """
        if provider is None or provider is self.provider:
            return self
        if id(provider) not in self._beside:
            beside = Pricing(provider, self.table, self.budget, self.name, strict=self.strict)
            self._beside[id(provider)] = beside
        return self._beside[id(provider)]

    def within(self, own: Pricing | None, provider: LLMProvider, name: str, *, strict: bool) -> Pricing:
        """What prices the calls of an agent within: its own, or this table where it has none.

        Raises:
            ConfigurationError: a model there has no price, and `strict` or its own budget refuses that.
        """
        if own is None:
            return Pricing(provider, self.table, None, name, strict=strict)
        if own.strict or not strict:
            return own
        return Pricing(provider, own.table, own.budget, name, strict=True)

    def check_embedder(self, embedder: object) -> None:
        """Refuses an embedder whose model has no price as the constructor refuses a provider.

        Raises:
            ConfigurationError: the budget could not be kept.
        """
        name, model = getattr(embedder, "name", None), getattr(embedder, "model", None)
        if isinstance(name, str) and isinstance(model, str) and getattr(embedder, "charged", True):
            self._refuse_unknown([(name, model)])

    def of_embedding(self, used: EmbeddingUsage) -> int | None:
        """What a request to an embedder cost, in nano-USD; None when that is not known."""
        if not used.charged:
            return 0
        if used.usage is None:
            return None
        try:
            found = self.table.cost(used.provider, used.model, used.usage)
        except Exception:
            _log.exception("the pricing table failed on %s:%s", used.provider, used.model)
            return None
        return None if found is None else nano_usd(found)

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
