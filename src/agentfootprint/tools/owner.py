"""What has a beginning and an end, held open in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import Context
from typing import Generic, TypeVar

__all__ = ["Owner"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_held: set[asyncio.Task[None]] = set()


class Owner(Generic[T]):
    """Enters a context manager at once, and leaves it when told, both in one task.

    Scopes of anyio, which connections consist of, must be left in the task that entered them; the runs that
    use a connection come and go. The task starts from an empty context: what a run has in its context
    variables is no other run's.
    """

    __slots__ = ("_leave", "_ready", "over", "task")

    def __init__(self, make: Callable[[Owner[T]], AbstractAsyncContextManager[T]], name: str) -> None:
        loop = asyncio.get_running_loop()
        self.over = False
        """Whether it is left, is being left, or could not be entered."""
        self._leave = asyncio.Event()
        self._ready: asyncio.Future[T] = loop.create_future()
        self.task = loop.create_task(self._own(make(self)), name=name, context=Context())
        # The loop itself would let a task go that nobody else holds.
        _held.add(self.task)
        self.task.add_done_callback(_held.discard)

    async def value(self) -> T:
        """What entering gave; waits for it. What entering raised is raised to everyone who waits."""
        return await asyncio.shield(self._ready)

    def leave(self) -> None:
        self.over = True
        self._leave.set()

    async def aclose(self) -> None:
        """Leaves, and waits until it is left."""
        self.leave()
        if self.task is not asyncio.current_task():
            await asyncio.wait({self.task})

    async def _own(self, manager: AbstractAsyncContextManager[T]) -> None:
        try:
            async with manager as value:
                self._ready.set_result(value)
                await self._leave.wait()
        except asyncio.CancelledError:
            self._ready.cancel()
            raise
        except Exception as error:
            if self._ready.done():
                # It broke while nobody used it, or while those who do are told in their own way.
                _log.debug("%s ended with %s", self.task.get_name(), type(error).__name__)
            else:
                self._ready.set_exception(error)
                self._ready.exception()  # Nobody may be waiting any more.
        finally:
            self.over = True
