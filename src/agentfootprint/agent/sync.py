"""Runs for scripts and notebooks: one background thread with one event loop for the whole process."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

from ..errors import InputInvalid
from ..events import Event
from .results import Result
from .stream import AgentStream

__all__ = ["SyncStream", "wait"]

T = TypeVar("T")
Output = TypeVar("Output")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner = 0


def _background() -> asyncio.AbstractEventLoop:
    # One loop for all calls: clients that are bound to a loop keep working from call to call. A
    # forked child has no such thread and starts its own.
    global _loop, _owner
    with _lock:
        if _loop is None or _owner != os.getpid():
            _loop, _owner = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name="agentfootprint-sync", daemon=True).start()
        return _loop


def wait(work: Coroutine[Any, Any, T]) -> T:
    """Runs the coroutine on the background loop and waits; Ctrl-C cancels it.

    Raises:
        InputInvalid: it is called on the background loop itself, which would wait for ever.
    """
    loop = _background()
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        work.close()
        raise InputInvalid(
            "this would wait for itself: inside an async tool or callback of a run that was started "
            "without async, use await agent.run(...) or agent.stream(...)"
        )
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
        raise


class SyncStream(Iterator[Event], Generic[Output]):
    """`AgentStream` without `async`: `with agent.stream_sync(...) as run: for event in run`."""

    def __init__(self, stream: AgentStream[Output]) -> None:
        self._stream = stream
        self._events = stream.__aiter__()

    @property
    def result(self) -> Result[Output]:
        return self._stream.result

    def __next__(self) -> Event:
        try:
            return wait(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    async def _next(self) -> Event:
        return await anext(self._events)

    def __enter__(self) -> SyncStream[Output]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        wait(self._close())

    async def _close(self) -> None:
        await self._stream.aclose()
