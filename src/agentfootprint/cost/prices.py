"""What tokens cost: a port, and a table of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Protocol, runtime_checkable

from ..errors import ConfigurationError
from ..messages import Usage

__all__ = ["Money", "Price", "PriceList", "PricingTable", "nano_usd", "usd", "usd_of"]

Money = Decimal | int | float | str
"""USD as a user writes them. A float is taken as it prints: 0.1 is a tenth."""

_NANO = Decimal(1_000_000_000)
_MILLION = Decimal(1_000_000)


def usd(what: str, value: Any) -> Decimal:
    """An amount of money as it was meant.

    Raises:
        ConfigurationError: it is no number, not finite, or below 0; `what` names it.
    """
    try:
        amount = Decimal(str(value)) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, TypeError, ValueError):
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise ConfigurationError(f"{what} must be USD, a number of at least 0, not {value!r}")
    return amount


def nano_usd(amount: Decimal) -> int:
    """Whole billionths of a USD, rounded up: what budgets count in."""
    return int((amount * _NANO).to_integral_value(ROUND_CEILING))


def usd_of(nano: int) -> Decimal:
    return (Decimal(nano) / _NANO).normalize() + 0


@runtime_checkable
class PricingTable(Protocol):
    """Anything that knows what calls cost."""

    def cost(self, provider: str, model: str, usage: Usage) -> Decimal | None:
        """USD of a call with this usage; None when the price is not known, which is not 0."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """USD per million tokens. What a vendor does not charge differently is charged as input."""

    input: Money
    output: Money
    cache_read: Money | None = None
    cache_write: Money | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.name in ("input", "output"):
                object.__setattr__(self, field.name, usd(field.name, value))

    def of(self, usage: Usage) -> Decimal:
        """USD for this usage, whose `input_tokens` hold the cached ones."""
        plain = Decimal(self.input)
        read = plain if self.cache_read is None else Decimal(self.cache_read)
        write = plain if self.cache_write is None else Decimal(self.cache_write)
        cached = usage.cache_read_tokens + usage.cache_write_tokens
        total = (
            max(usage.input_tokens - cached, 0) * plain
            + usage.cache_read_tokens * read
            + usage.cache_write_tokens * write
            + usage.output_tokens * Decimal(self.output)
        )
        return total / _MILLION


class PriceList:
    """A pricing table of one's own.

    Args:
        prices: by model (`"gpt-5.1"`), or by provider and model (`"openai:gpt-5.1"`), which goes first.
        otherwise: asked about models that are not in the list, such as `GenAIPrices()`.
    """

    def __init__(self, prices: Mapping[str, Price], otherwise: PricingTable | None = None) -> None:
        for name, price in prices.items():
            if not isinstance(price, Price):
                raise ConfigurationError(
                    f"the price of {name!r} must be a Price(input=..., output=...), "
                    f"not {type(price).__name__}"
                )
        self._prices = dict(prices)
        self._otherwise = otherwise

    def cost(self, provider: str, model: str, usage: Usage) -> Decimal | None:
        price = self._prices.get(f"{provider}:{model}") or self._prices.get(model)
        if price is not None:
            return price.of(usage)
        return None if self._otherwise is None else self._otherwise.cost(provider, model, usage)
