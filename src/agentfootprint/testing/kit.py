"""What the conformance kits of the stores have in common."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["NOT_JSON", "VALUES", "Advance", "for_all", "move", "must_raise", "same"]

T = TypeVar("T")

Advance = Callable[[float], Awaitable[None] | None]
"""Moves the store's time on by so many seconds: a manual clock's `advance`, or `asyncio.sleep`."""

VALUES: Sequence[Any] = (
    *(None, True, False, 0, 1, -1, 2**53 + 1, -(2**70), 0.1, 1.0, -1e300, "", "null", "a\x00b", "\u2028"),
    *("e\u0301", "\u00e9", "🦊👩\u200d💻", "\u202eright to left", "'; DROP TABLE x; --", "{}", [], {}, [[]]),
    {"a": {"b": [1, 2.5, None, {"": "", " ": " "}]}, "A": "a", "é": "e\u0301"},
    "x" * 400_000,
    {"pages": ["é🦊\n" * 1000] * 60},
)
"""JSON values that must come back as they were; the last two are over 400 kB."""

NOT_JSON: Sequence[Any] = (
    float("nan"),
    float("inf"),
    object(),
    b"bytes",
    {1: "key"},
    (1, 2),
    {1, 2},
    [{"a": 1j}],
)
"""Values that would come back as something else, or not at all."""


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values that tells True, 1 and 1.0 apart."""
    return left == right and json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


async def must_raise(error: type[Exception], call: Callable[[], Awaitable[object]], why: str) -> None:
    try:
        await call()
    except error:
        return
    raise AssertionError(f"{why}: raise {error.__name__}")


async def move(advance: Advance, seconds: float) -> None:
    moved = advance(seconds)
    if inspect.isawaitable(moved):
        await moved


async def for_all(
    strategy: SearchStrategy[T],
    check: Callable[[T], Awaitable[None]],
    *,
    known: Sequence[T] = (),
    examples: int = 50,
) -> None:
    """Awaits `check` for the known values and for `examples` of hypothesis's; a failure is shrunk as usual.

    The same examples each time: a kit that fails now and then teaches nobody.
    """
    for value in known:
        await check(value)
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(value: T) -> None:
        if value in known:
            return

        async def checked() -> None:
            await check(value)

        asyncio.run_coroutine_threadsafe(checked(), loop).result()

    # Hypothesis calls from a thread of its own, the store is used on the caller's loop.
    await asyncio.to_thread(run)
