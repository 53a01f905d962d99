"""Not waiting for ever: for the first token, between tokens, and for the whole."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

from ..errors import ConfigurationError, TimedOut
from ..messages import LLMChunk, LLMRequest, LLMResponse
from ..numeric import is_number
from ..providers.base import ClosableProvider, LLMProvider, close_stream
from .base import Wrapper

__all__ = ["with_timeout"]


def with_timeout(
    provider: LLMProvider,
    *,
    first_token: float | None = None,
    idle: float | None = None,
    total: float | None = None,
) -> ClosableProvider:
    """The provider with limits on how long it may take, in seconds; None is no limit.

    Args:
        first_token: from asking until the first chunk of a stream. Heartbeats are no chunks.
        idle: between two chunks of a stream. The time its reader takes does not count.
        total: for the whole answer, streamed or not; the only limit of `complete`.

    Raises (when asked):
        TimedOut: `error.details["limit"]` names the limit that was reached. The connection is closed.
    """
    for name, value in (("first_token", first_token), ("idle", idle), ("total", total)):
        if value is not None and not (is_number(value) and 0 < value < math.inf):
            raise ConfigurationError(f"{name} must be a number of seconds above 0 or None, not {value!r}")
    return Timed(provider, first_token, idle, total)


class Timed(Wrapper):
    """What `with_timeout` makes."""

    def __init__(
        self, inner: LLMProvider, first_token: float | None, idle: float | None, total: float | None
    ) -> None:
        super().__init__(inner)
        self.first_token = first_token
        self.idle = idle
        self.total = total

    async def complete(self, request: LLMRequest) -> LLMResponse:
        if self.total is None:
            return await self.inner.complete(request)
        watch = _Watch()
        try:
            watch.begin(asyncio.get_running_loop().time() + self.total)
            try:
                return await self.inner.complete(request)
            except asyncio.CancelledError:
                if watch.ended():
                    raise self._late("total", self.total) from None
                raise
            finally:
                watch.pause()
        finally:
            watch.stop()

    async def stream(self, request: LLMRequest) -> AsyncIterator[LLMChunk]:
        clock = asyncio.get_running_loop().time
        over = math.inf if self.total is None else clock() + self.total
        gap, limit = self.first_token, "first_token"
        stream = self.inner.stream(request)
        watch = _Watch()
        try:
            while True:
                until = over if gap is None else min(over, clock() + gap)
                watch.begin(until)
                try:
                    chunk = await anext(stream)
                except StopAsyncIteration:
                    return
                except asyncio.CancelledError:
                    if watch.ended():
                        if until == over and self.total is not None:
                            raise self._late("total", self.total) from None
                        raise self._late(limit, gap or 0.0) from None
                    raise
                finally:
                    watch.pause()
                yield chunk
                gap, limit = self.idle, "idle"
        finally:
            watch.stop()
            await close_stream(stream)

    def _late(self, limit: str, seconds: float) -> TimedOut:
        what = {
            "first_token": f"no first token within {seconds:g} s",
            "idle": f"nothing came for {seconds:g} s in the middle of the answer",
            "total": f"the answer was not whole after {seconds:g} s",
        }[limit]
        return TimedOut(f"{self.name}: {what}", provider=self.name, limit=limit, seconds=seconds)


class _Watch:
    """Cancels the task that waits when a moment has passed.

    One timer serves all waits of a stream: when it fires early, since the moment has moved on, it is set
    again; a timer for each chunk would cost more than the chunk.
    """

    __slots__ = ("_cancelling", "_fired", "_handle", "_task", "_until")

    def __init__(self) -> None:
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._until = math.inf
        self._fired = False
        self._cancelling = 0

    def begin(self, until: float) -> None:
        """From now on the current task waits, until this moment of the loop's clock."""
        self._until = until
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()
        if until < math.inf and (self._handle is None or self._handle.when() > until):
            self._set(until)

    def pause(self) -> None:
        """The task does not wait now. A cancellation that the provider made another error of is over."""
        task, self._task = self._task, None
        if self._fired and task is not None:
            self._fired = False
            task.uncancel()

    def ended(self) -> bool:
        """Whether the wait was cancelled by this watch, and by nobody else."""
        if not self._fired:
            return False
        self._fired = False
        task = asyncio.current_task()
        return task is None or task.uncancel() <= self._cancelling

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, until: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = asyncio.get_running_loop().call_at(until, self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._task is None:
            return  # The next wait sets the timer again.
        if asyncio.get_running_loop().time() < self._until:
            self._set(self._until)
            return
        self._fired = True
        self._task.cancel()
