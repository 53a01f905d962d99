"""Decorators over a provider: each is a provider itself, for `complete` and `stream` alike."""

from __future__ import annotations

from ..retry import GiveUp, RetryPolicy
from .circuit_breaker import with_circuit_breaker
from .fallback import fallback_provider, with_fallback
from .rate_limit import with_rate_limit
from .report import Hook, report
from .retry import with_retry
from .retry_budget import RetryBudget
from .timeout import with_timeout

__all__ = [
    "GiveUp",
    "Hook",
    "RetryBudget",
    "RetryPolicy",
    "fallback_provider",
    "report",
    "with_circuit_breaker",
    "with_fallback",
    "with_rate_limit",
    "with_retry",
    "with_timeout",
]
