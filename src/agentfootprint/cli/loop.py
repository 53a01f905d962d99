"""One event loop for a whole session, in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["Loop"]

T = TypeVar("T")

_CLOSING_SECONDS = 5.0


class Loop:
    """Runs coroutines for a caller who waits.

    It keeps running between two of them, while a person types: connections that a tool or a recorder
    holds stay alive. Ctrl-C belongs to the caller's thread: there it cancels what is waited for.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._live, name="agentfootprint-cli", daemon=True)

    def _live(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        await self._stop.wait()

    def __enter__(self) -> Loop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        # A plain tool that hangs in its thread must not keep the terminal.
        self._thread.join(_CLOSING_SECONDS)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine.

        Raises:
            KeyboardInterrupt: Ctrl-C. What ran was cancelled and has ended, unless a second Ctrl-C
                came before it had.
        """
        made: concurrent.futures.Future[asyncio.Task[T]] = concurrent.futures.Future()
        over = threading.Event()

        def start() -> None:
            task = self._loop.create_task(work)
            task.add_done_callback(lambda _: over.set())
            made.set_result(task)

        self._loop.call_soon_threadsafe(start)
        task = made.result()
        try:
            over.wait()
        except KeyboardInterrupt:
            self._loop.call_soon_threadsafe(task.cancel)
            over.wait()
            raise
        return task.result()
