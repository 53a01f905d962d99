"""Where plain `def` tools run: up to 40 threads of their own, shared by all event loops of the process."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["SLOTS", "abandoned_threads", "run_in_thread"]

P = ParamSpec("P")
R = TypeVar("R")

SLOTS = 40
"""How many plain tools run at once in a process; further ones wait for their turn."""

_log = logging.getLogger(__name__)


async def run_in_thread(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Calls a function in a thread, with the caller's context variables, and waits without blocking.

    When the caller is cancelled while the function waits for a thread, it never runs. When it runs
    already it cannot be stopped: it is given up, which is logged, and keeps its slot until it ends
    (see `abandoned_threads`).
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    job = _Job(lambda: context.run(function, *args, **kwargs), loop, loop.create_future())
    _pool.submit(job)
    try:
        result: R = await job.future
    except asyncio.CancelledError:
        if _pool.give_up(job):
            name = getattr(function, "__qualname__", type(function).__name__)
            _log.warning(
                "%s was given up but still runs in its thread; %d of %d tool threads are held this way",
                name,
                abandoned_threads(),
                SLOTS,
            )
        raise
    return result


def abandoned_threads() -> int:
    """How many tool threads still run although their call timed out or was cancelled."""
    return _pool.abandoned


class _Job:
    __slots__ = ("abandoned", "future", "loop", "run", "running")

    def __init__(
        self, run: Callable[[], Any], loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]
    ) -> None:
        self.run = run
        self.loop = loop
        self.future = future
        self.running = False
        self.abandoned = False

    def deliver(self, result: Any, error: BaseException | None) -> None:
        try:
            self.loop.call_soon_threadsafe(self._settle, result, error)
        except RuntimeError:
            pass  # The loop is closed: nobody waits any more.

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class _Pool:
    """Daemon threads, because a tool that hangs must not keep the interpreter from exiting."""

    def __init__(self) -> None:
        self.abandoned = 0
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[_Job] = deque()
        self._threads = 0
        self._idle = 0

    def submit(self, job: _Job) -> None:
        with self._changed:
            self._waiting.append(job)
            if self._idle < len(self._waiting) and self._threads < SLOTS:
                threading.Thread(target=self._work, name="agentfootprint-tool", daemon=True).start()
                self._threads += 1
            self._changed.notify()

    def give_up(self, job: _Job) -> bool:
        """Whether the job runs already, so that its thread is abandoned."""
        with self._changed:
            if job.running:
                job.abandoned = True
                self.abandoned += 1
            elif job in self._waiting:
                self._waiting.remove(job)
            return job.abandoned

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                while not self._waiting:
                    self._changed.wait()
                self._idle -= 1
                job = self._waiting.popleft()
                job.running = True
            self._run(job)
            del job  # An idle thread keeps nothing of its last call alive.

    def _run(self, job: _Job) -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = job.run()
        except StopIteration as stop:
            # A future refuses it, because it would end the coroutine that waits.
            error = RuntimeError(f"the tool raised StopIteration({stop.value!r})")
        except BaseException as raised:
            error = raised
        with self._changed:
            job.running = False
            if job.abandoned:
                self.abandoned -= 1
        job.deliver(result, error)


_pool = _Pool()


def _renew() -> None:
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)  # Threads, and a lock they hold, do not survive a fork.
