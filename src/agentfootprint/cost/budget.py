"""How much may be spent: per run, and per tenant, person or conversation in a window of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from ..errors import ConfigurationError
from ..identity import Scope
from ..numeric import is_number
from .prices import Money, nano_usd, usd

__all__ = ["DAY", "CostBudget", "SpendingWindow"]

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class SpendingWindow:
    """At most `usd` in every `seconds`, for each tenant (or principal, or conversation).

    Windows are those of UTC: one of 86,400 seconds is a calendar day. `per=None` is one window for all
    runs together.

    Raises:
        ConfigurationError: a number that cannot be.
    """

    usd: Money
    seconds: float = DAY
    per: Scope | None = "tenant"

    def __post_init__(self) -> None:
        object.__setattr__(self, "usd", usd("usd", self.usd))
        if not (is_number(self.seconds) and 1 <= self.seconds < math.inf):
            raise ConfigurationError(f"seconds of a window must be at least 1, not {self.seconds!r}")
        if self.per not in (None, "tenant", "principal", "conversation"):
            raise ConfigurationError(
                f"per={self.per!r} is unknown: use 'tenant', 'principal', 'conversation' or None"
            )

    @property
    def limit(self) -> int:
        """The limit in nano-USD."""
        return nano_usd(Decimal(self.usd))


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBudget:
    """How much an agent may spend on models. Before each call its worst case is reserved, afterwards
    what it cost is settled: runs of a tenant on any number of machines stay within the limit together,
    by more than the error of one estimate of a call's input none goes beyond it.

    Args:
        usd: at most this much per run, across its pauses.
        on_exceed: "halt" ends the run before the call that could go beyond, as
            `Stopped(reason=StopReason.COST_BUDGET)`; "warn" tells `limit.reached` once and goes on.
        per_tenant_daily_usd: at most this much per tenant and UTC day, over all that share `state=`.
        windows: further limits.
        unpriced: "refuse" builds no agent on a model without a price; "allow" does, and the total of
            its runs reads as unknown.
        max_output_tokens: what is assumed, and asked for, when the agent has no `max_tokens`. When
            less is left than that costs, the call gets as many tokens as can be paid.
        name: budgets of one name share their windows; default: the agent's name.

    Raises:
        ConfigurationError: there is no limit in it, or one that cannot be.
    """

    usd: Money | None = None
    on_exceed: Literal["halt", "warn"] = "halt"
    per_tenant_daily_usd: Money | None = None
    windows: tuple[SpendingWindow, ...] = ()
    unpriced: Literal["refuse", "allow"] = "refuse"
    max_output_tokens: int = 4096
    name: str | None = None
    limit: int | None = field(init=False, default=None)
    all_windows: tuple[SpendingWindow, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.usd is not None:
            put(self, "usd", usd("usd", self.usd))
            put(self, "limit", nano_usd(Decimal(self.usd)))
        windows: Any = self.windows
        if not isinstance(windows, (tuple, list)) or not all(isinstance(w, SpendingWindow) for w in windows):
            raise ConfigurationError("windows= must be a tuple of SpendingWindow(usd, seconds, per=...)")
        windows = tuple(windows)
        if self.per_tenant_daily_usd is not None:
            put(self, "per_tenant_daily_usd", usd("per_tenant_daily_usd", self.per_tenant_daily_usd))
            windows = (SpendingWindow(self.per_tenant_daily_usd), *windows)
        put(self, "all_windows", windows)
        if len({(window.seconds, window.per) for window in windows}) < len(windows):
            raise ConfigurationError(
                "two windows of a CostBudget are of the same length and of the same `per`"
            )
        if self.limit is None and not windows:
            raise ConfigurationError("a CostBudget needs a limit: usd=, per_tenant_daily_usd= or windows=")
        if self.on_exceed not in ("halt", "warn"):
            raise ConfigurationError(f"on_exceed={self.on_exceed!r} is unknown: use 'halt' or 'warn'")
        if self.unpriced not in ("refuse", "allow"):
            raise ConfigurationError(f"unpriced={self.unpriced!r} is unknown: use 'refuse' or 'allow'")
        if type(self.max_output_tokens) is not int or self.max_output_tokens < 1:
            raise ConfigurationError(
                f"max_output_tokens must be a whole number of at least 1, not {self.max_output_tokens!r}"
            )
