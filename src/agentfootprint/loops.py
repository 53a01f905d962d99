"""What belongs to one event loop, such as a pool of connections: made in it on first use, closed with it, or
earlier by whoever holds it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, Self, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["Closing", "PerLoop"]

T = TypeVar("T")


class Closing:
    """Base of what is closed at the end of `async with`."""

    async def aclose(self) -> None:
        """Closes the connections of the running event loop; those of others are closed as their loops end."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.aclose()


class PerLoop(Generic[T]):
    """One value for each event loop that asks for it.

    A connection of a loop that has ended cannot be used, nor closed, in another. So each loop gets a value
    of its own from `make`, and `close` is awaited in that loop: by `aclose`, or when the loop ends as
    `asyncio.run` lets it end, which closes the asynchronous generators that are left in it.
    """

    __slots__ = ("_close", "_made", "_make")

    def __init__(self, make: Callable[[], T], close: Callable[[T], Awaitable[object]]) -> None:
        self._make = make
        self._close = close
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None]]]
        self._made = WeakKeyDictionary()

    def get(self) -> T:
        """The running loop's value."""
        loop = asyncio.get_running_loop()
        found = self._made.get(loop)
        if found is None:
            for other in [each for each in self._made if each.is_closed()]:
                del self._made[other]  # It ended without closing its generators.
            value = self._make()
            keeper = _keep(value, self._close, weakref.ref(self._made))
            # The first step registers it with the loop. There is nothing to wait for in it.
            try:
                keeper.__anext__().send(None)
            except StopIteration:
                pass
            found = self._made[loop] = (value, keeper)
        return found[0]

    async def aclose(self) -> None:
        """Closes the running loop's value. Those of other loops are closed when their loops end."""
        found = self._made.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found[1].aclose()


async def _keep(
    value: T,
    close: Callable[[T], Awaitable[object]],
    made: weakref.ref[WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None]]]],
) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        if (all_made := made()) is not None:
            all_made.pop(asyncio.get_running_loop(), None)
        await close(value)
