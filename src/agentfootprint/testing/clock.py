"""A clock that moves when a test says so."""

from __future__ import annotations

import time

__all__ = ["ManualClock"]


class ManualClock:
    """Give it to a store as `clock=`; `advance(seconds)` moves it. It starts at the present."""

    def __init__(self, start: float | None = None) -> None:
        self.now = time.time() if start is None else start

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
