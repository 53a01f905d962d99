"""When to try again: one value that providers, embedders and stores share."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from .errors import ConfigurationError
from .numeric import is_number

__all__ = ["GiveUp", "RetryPolicy", "retryable"]

T = TypeVar("T")

LEAST = 0.2
"""The part of a wait that is not left to chance."""

GROWTH = 1.5
"""By how much a wait is longer than the one before it, whatever chance says."""

Reason = Literal["attempts", "time", "retry_budget", "retry_after"]


def retryable(error: BaseException) -> bool:
    """Whether an error says of itself that another attempt may succeed."""
    return bool(getattr(error, "retryable", False))


@dataclass(frozen=True, slots=True)
class GiveUp:
    """There is no further attempt, although the error would allow one."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long to try; all times in seconds.

    Waits are full jitter: uniform between 0 and `initial_delay * multiplier ** n`, at most `max_delay`
    (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). So that chance alone makes no
    attempt follow at once, nor sooner than the one before it, a wait is a fifth of that and half as much
    again as the wait before it at least. A wait that the vendor asked for (`error.retry_after`) is a minimum;
    one over `max_retry_after` ends the attempts.

    Args:
        max_attempts: all of them, the first included.
        max_total: no attempt starts later than this after the first; None is no limit.
        retry_if: whether an error may be retried; default: what the error says of itself.

    Raises:
        ConfigurationError: a number that cannot be.
    """

    max_attempts: int = 3
    initial_delay: float = 0.5
    max_delay: float = 30.0
    multiplier: float = 2.0
    max_total: float | None = 120.0
    max_retry_after: float = 60.0
    retry_if: Callable[[BaseException], bool] = retryable

    def __post_init__(self) -> None:
        if type(self.max_attempts) is not int or self.max_attempts < 1:
            raise ConfigurationError(
                f"max_attempts must be a whole number of at least 1, not {self.max_attempts!r}"
            )
        for name in ("initial_delay", "max_delay", "max_retry_after", "max_total"):
            value = getattr(self, name)
            if value is None and name == "max_total":
                continue
            if not is_number(value) or not 0 <= value < math.inf:
                raise ConfigurationError(f"{name} must be a number of seconds, at least 0, not {value!r}")
        if not is_number(self.multiplier) or not 1 <= self.multiplier < math.inf:
            raise ConfigurationError(f"multiplier must be at least 1, not {self.multiplier!r}")

    def next_delay(
        self,
        error: BaseException,
        attempt: int,
        elapsed: float,
        chance: Callable[[], float] = random.random,
        before: float = 0.0,
    ) -> float | GiveUp | None:
        """What follows when attempt number `attempt` (from 1) failed `elapsed` seconds after the first
        began: the seconds to wait, why there is no further attempt, or None for an error that is not
        to be retried. `chance` gives numbers in [0, 1); `before` is the wait before this attempt."""
        if not self.retry_if(error):
            return None
        if attempt >= self.max_attempts:
            return GiveUp("attempts")
        # The exponent is bounded: a float overflows at 2 ** 1024.
        cap = min(self.max_delay, self.initial_delay * self.multiplier ** min(attempt - 1, 64))
        delay = min(cap, max(chance() * cap, LEAST * cap, GROWTH * before))
        asked = getattr(error, "retry_after", None)
        if asked is not None:
            if asked > self.max_retry_after:
                return GiveUp("retry_after")
            # Jitter on top, so that all who were told the same do not come back at once. Who was told
            # "now", or a moment that has passed, waits as if nothing had been said.
            delay = max(delay, asked + min(delay, asked * 0.1))
        if self.max_total is not None and elapsed + delay > self.max_total:
            return GiveUp("time")
        return delay

    async def run(
        self,
        fn: Callable[[], Awaitable[T]],
        *,
        before_retry: Callable[[BaseException, int, float], Awaitable[GiveUp | None]] | None = None,
        gave_up: Callable[[BaseException, int, GiveUp], None] | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> T:
        """Calls `fn` until it succeeds or there is no further attempt; then its last error is raised.

        Args:
            before_retry: told (error, attempt, delay) before each wait; may end the attempts.
            gave_up: told (error, attempts, why) when an error that may be retried is not.
        """
        begun = clock()
        attempt = 0
        delay = 0.0
        while True:
            attempt += 1
            try:
                return await fn()
            except Exception as error:
                following = self.next_delay(error, attempt, clock() - begun, chance, delay)
                if following is None:
                    raise
                if not isinstance(following, GiveUp) and before_retry is not None:
                    following = await before_retry(error, attempt, following) or following
                if isinstance(following, GiveUp):
                    if gave_up is not None:
                        gave_up(error, attempt, following)
                    raise
                delay = following
            await sleep(delay)
