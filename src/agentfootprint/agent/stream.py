"""A run seen live: the run in a task of its own, its events handed over in batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from ..errors import InputInvalid, RunError
from ..events import Event
from .results import Result

__all__ = ["AgentStream", "Buffer"]

Output = TypeVar("Output")

BUFFER_SIZE = 1024
"""Events that may wait for the reader before the model's stream is made to wait."""


class Buffer:
    """Events on their way to one reader, in the order they happened; none is dropped."""

    __slots__ = ("_events", "_reader", "_room", "closed")

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._room: asyncio.Event | None = None
        self.closed = False

    def put(self, event: Event) -> None:
        if self.closed:
            return
        self._events.append(event)
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    @property
    def full(self) -> bool:
        return len(self._events) >= BUFFER_SIZE and not self.closed

    async def room(self) -> None:
        """Waits until the reader has caught up, or left."""
        self._room = asyncio.Event()
        while self.full:
            self._room.clear()
            await self._room.wait()

    def take(self) -> Event | None:
        if not self._events:
            return None
        event = self._events.popleft()
        if self._room is not None and len(self._events) < BUFFER_SIZE // 2:
            self._room.set()
        return event

    async def arrival(self) -> None:
        """Waits until there is something to take, or the writer is gone."""
        if self._events or self.closed:
            return
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    def close(self) -> None:
        """No more events are wanted, or none will come."""
        self.closed = True
        if self._room is not None:
            self._room.set()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class AgentStream(AsyncIterable[Event], Generic[Output]):
    """The events of one run, and its result.

    `async with agent.stream(...) as run: async for event in run: ...`, then `run.result`. Leaving
    early cancels the run, or lets it finish, by `on_disconnect`. An error of the run is raised where
    the events end.
    """

    def __init__(
        self,
        start: Callable[[Buffer], Awaitable[Result[Output]]],
        on_disconnect: Literal["cancel", "finish"],
    ) -> None:
        self._start = start
        self._on_disconnect = on_disconnect
        self._buffer = Buffer()
        self._task: asyncio.Task[Result[Output]] | None = None
        self._left = False

    @property
    def result(self) -> Result[Output]:
        """How the run ended.

        Raises:
            InputInvalid: it has not ended yet.
            RunError: it was cancelled. Whatever else the run raised is raised again.
        """
        if self._task is None or not self._task.done():
            raise InputInvalid("the run has not ended: read its events to the end first")
        if self._task.cancelled():
            raise RunError(
                "the run was cancelled before its end, because its reader left: read its events to the "
                "end, or let it finish with on_disconnect='finish'"
            )
        return self._task.result()

    def _launch(self) -> asyncio.Task[Result[Output]]:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return self._task

    async def _run(self) -> Result[Output]:
        try:
            return await self._start(self._buffer)
        finally:
            # What is in the buffer may still be read; the reader must just not wait for more.
            self._buffer.close()

    async def __aiter__(self) -> AsyncIterator[Event]:
        # A generator, so that a bare `async for` that is left early ends the run as well.
        task = self._launch()
        buffer = self._buffer
        try:
            while True:
                event = buffer.take()
                if event is not None:
                    yield event
                elif buffer.closed:
                    break
                else:
                    await buffer.arrival()
            # Its error, if it had one, belongs to whoever reads.
            await task
        finally:
            await self.aclose()

    async def __aenter__(self) -> AgentStream[Output]:
        self._launch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stops reading: the run is cancelled, or goes on to its end without a reader."""
        task = self._task
        if task is None:
            return
        self._buffer.close()
        if task.done():
            return
        if self._on_disconnect == "finish":
            _unattended.add(task)
            task.add_done_callback(_finished)
            return
        if not self._left:
            # Once: a second cancellation would cut short what the first one still saves.
            self._left = True
            task.cancel()
            task.add_done_callback(_seen)
        await asyncio.wait([task])


# The loop keeps only weak references to tasks: a run without a reader must not vanish half-way.
_unattended: set[asyncio.Task[Any]] = set()


def _finished(task: asyncio.Task[Any]) -> None:
    _unattended.discard(task)
    _seen(task)


def _seen(task: asyncio.Task[Any]) -> None:
    """Nobody waits for the error any more; `result` still raises it."""
    if not task.cancelled():
        task.exception()
