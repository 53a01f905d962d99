"""Attempts on a server whose connections break: again while that may help, then the error for the caller."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import StoreError
from ..retry import GiveUp, RetryPolicy

__all__ = ["AWAY_SECONDS", "TRYING_SECONDS", "Failed", "tried"]

T = TypeVar("T")

TRYING_SECONDS = 3.0
"""For so long a call is tried again whose connection the server, or what is between, ended."""

AWAY_SECONDS = 0.3
"""For so long one tries to reach a server that takes no connection at all, or says that it cannot now."""


class Failed(Exception):
    """An attempt that failed: the error for the caller, and for how many seconds others may follow it."""

    def __init__(self, error: StoreError, seconds: float = 0.0) -> None:
        self.error = error
        self.seconds = seconds


# The first wait is shorter than a connection takes to be made, the longest than a person notices.
_AGAIN = RetryPolicy(
    max_attempts=10_000,
    initial_delay=0.005,
    max_delay=0.2,
    max_total=None,
    retry_if=lambda error: isinstance(error, Failed) and error.seconds > 0,
)


async def tried(attempt: Callable[[], Awaitable[T]], may_go_on: Callable[[], bool]) -> T:
    """The outcome of the first attempt that has one.

    One attempt always follows a failure that allows it, however long it took to fail.

    Args:
        attempt: raises `Failed`.
        may_go_on: whether whoever asks has not been closed meanwhile.

    Raises:
        StoreError: that of the last attempt, without the library's error in its context: it can quote
            an address with its password.
    """
    began = time.monotonic()
    failing: float | None = None

    async def before_retry(error: BaseException, attempts: int, delay: float) -> GiveUp | None:
        nonlocal failing
        now = time.monotonic()
        if failing is None:
            failing = now
        seconds = error.seconds if isinstance(error, Failed) else 0.0
        # Who is away is given a moment from when that was found out, whatever came before.
        since = failing if seconds <= AWAY_SECONDS else began
        if not may_go_on() or (attempts > 1 and now + delay - since > seconds):
            return GiveUp("time")
        return None

    try:
        return await _AGAIN.run(attempt, before_retry=before_retry)
    except Failed as failed:
        told = failed.error
    raise told
