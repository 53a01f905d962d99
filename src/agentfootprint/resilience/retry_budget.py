"""How many attempts may be retries: what keeps an outage from multiplying the load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..numeric import is_number
from .report import Hook
from .shared import Shared, plain

if TYPE_CHECKING:
    from ..state.base import StateStore

__all__ = ["RetryBudget"]

TTL = 3600.0


class RetryBudget:
    """A bucket of tokens: every request that succeeds at once pays in, every retry takes one.

    While most requests succeed there is a token for those that do not; during an outage the bucket runs
    dry and requests fail at once instead of three times (Google SRE Book, ch. 21; gRPC proposal A6).

    Args:
        ratio: tokens paid in by a request that succeeds: 0.1 allows one retry for ten of them.
        capacity: tokens a full bucket holds; it starts full.
        state: shares the bucket between instances under `name`; goes on locally while it is down.
    """

    __slots__ = ("_full", "_shared", "capacity", "ratio")

    def __init__(
        self,
        *,
        ratio: float = 0.1,
        capacity: float = 10.0,
        state: StateStore | None = None,
        name: str = "default",
        hook: Hook | None = None,
    ) -> None:
        numbers = is_number(ratio) and is_number(capacity)
        if not (numbers and 0 <= ratio <= 1 and capacity >= 1):
            raise ConfigurationError(
                "a RetryBudget needs a ratio between 0 and 1 and a capacity of at least 1"
            )
        self.ratio = ratio
        self.capacity = float(capacity)
        self._full = True
        self._shared: Shared[float] = Shared(
            state, "retry-budget", name, empty=self.capacity, dump=plain, load=float, ttl=TTL, hook=hook
        )

    async def succeeded(self) -> None:
        """A request succeeded at its first attempt. A bucket known to be full is left alone."""
        if not self._full:
            self._full = bool(await self._shared.note(self._paid_in))

    async def take(self) -> bool:
        """Whether there is a token for a retry; it is taken."""
        self._full = False
        return await self._shared.decide(_taken)

    def _paid_in(self, tokens: float, now: float) -> tuple[float, bool]:
        after = min(self.capacity, tokens + self.ratio)
        return after, after >= self.capacity


def _taken(tokens: float, now: float) -> tuple[float, bool]:
    return (tokens - 1, True) if tokens >= 1 else (tokens, False)
