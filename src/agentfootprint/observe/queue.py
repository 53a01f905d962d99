"""A bounded queue in front of a recorder, so that a slow one never slows a run."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from contextvars import Context
from inspect import isawaitable, iscoroutine, iscoroutinefunction
from typing import Any, Literal, TypeAlias

from ..errors import ConfigurationError
from ..events import Event
from .base import Recorder
from .faults import Faults, warn

__all__ = ["Overflow", "Queued", "queued"]

Overflow: TypeAlias = Literal["drop_oldest", "drop_newest"]


def queued(
    recorder: Recorder, *, maxsize: int = 1000, overflow: Overflow = "drop_oldest", in_thread: bool = False
) -> Queued:
    """The recorder behind a queue of at most `maxsize` events: events are handled later, in order.

    A full queue drops an event and counts it in `.dropped`; a run never waits. The events are handled
    on the event loop, or, for a plain `on_event` that blocks, in a thread of its own (`in_thread`).
    What is still queued when the event loop ends is dropped and counted, so call `aclose()` (or the
    agent's) before that.

    Raises:
        ConfigurationError: no room in the queue, an unknown overflow, or `in_thread` for an async recorder.
    """
    if maxsize < 1:
        raise ConfigurationError(f"a queue of maxsize={maxsize} holds no event: use 1 or more")
    if overflow not in ("drop_oldest", "drop_newest"):
        raise ConfigurationError(f"overflow={overflow!r} is unknown: use 'drop_oldest' or 'drop_newest'")
    if in_thread and iscoroutinefunction(recorder.on_event):
        raise ConfigurationError(
            f"{type(recorder).__qualname__}.on_event is async and needs the event loop: leave out in_thread"
        )
    faults = Faults(type(recorder).__qualname__)
    return Queued(recorder, faults, maxsize=maxsize, overflow=overflow, in_thread=in_thread)


class _Worker:
    """Whoever empties the queue right now. It ends when the queue is empty: an idle queue owns no task."""

    __slots__ = ("loop", "task")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.task: asyncio.Task[None] | None = None


class Queued:
    """See `queued`. Made by it, and in front of every recorder whose `on_event` is async."""

    def __init__(
        self,
        recorder: Any,
        faults: Faults,
        *,
        maxsize: int = 1000,
        overflow: Overflow = "drop_oldest",
        in_thread: bool = False,
    ) -> None:
        self.faults = faults
        self._recorder = recorder
        self._maxsize = maxsize
        self._overflow = overflow
        self._thread: ThreadPoolExecutor | None = None
        if in_thread:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"agentfootprint {faults.name}")
        self._lock = threading.Lock()
        self._items: deque[Any] = deque()
        self._head = 0  # the number of the first item in the queue, counted over its whole life
        self._in_hand: int | None = None  # the number of the item that is being handled
        self._worker: _Worker | None = None
        self._home: asyncio.AbstractEventLoop | None = None  # where events from other threads go
        self._waiters: list[tuple[int, Future[None]]] = []
        self._dropped = 0
        self._closed = False

    @property
    def dropped(self) -> int:
        """How many events were never handled to the end: the queue was full, closed, or lost its loop."""
        self._bury()
        return self._dropped

    @property
    def failures(self) -> int:
        """How many events the recorder raised on."""
        return self.faults.failures

    @property
    def last_error(self) -> BaseException | None:
        return self.faults.last_error

    @property
    def pending(self) -> int:
        """How many events wait."""
        return len(self._items)

    def wants(self, kind: type[Event]) -> bool:
        wants = getattr(self._recorder, "wants", None)
        return wants is None or bool(wants(kind))

    def on_event(self, event: Any) -> None:
        """Put the event into the queue and return. Never waits, never raises."""
        self._bury()
        lost, why = None, ""
        with self._lock:
            if self._closed:
                lost, why = event, "it was closed"
            elif len(self._items) < self._maxsize:
                self._items.append(event)
            elif self._overflow == "drop_newest":
                lost, why = event, "it is full"
            else:
                lost, why = self._items.popleft(), "it is full"
                self._head += 1
                self._items.append(event)
            idle = self._worker is None
        if lost is not None:
            self._drop([lost], why)
        if idle:
            self._start()

    async def flush(self, timeout: float = 5.0) -> None:
        """Wait until everything queued so far is handled, then flush the recorder itself.

        Raises:
            TimeoutError: not done within `timeout` seconds; what is queued stays queued.
        """
        if not self._closed:
            await self._emptied(timeout)
            await self._ability("flush", timeout)

    async def aclose(self, timeout: float = 5.0) -> None:
        """Flush, then stop and close the recorder. Later events are dropped and counted.

        Raises:
            TimeoutError: not everything was handled within `timeout` seconds; the rest is dropped and
                counted.
        """
        if self._closed:
            return
        try:
            await self.flush(timeout)
        finally:
            self._stop()
            try:
                await self._ability("aclose", timeout)
            finally:
                if self._thread is not None:
                    self._thread.shutdown(wait=False)

    async def _emptied(self, timeout: float) -> None:
        self._bury()
        done: Future[None] = Future()
        with self._lock:
            target = self._head + len(self._items)
            if self._settled(target):
                return
            self._waiters.append((target, done))
            idle = self._worker is None
        if idle:
            self._start()
        try:
            await asyncio.wait_for(asyncio.wrap_future(done), timeout)
        except TimeoutError:
            raise TimeoutError(
                f"recorder {self.faults.name} has {self.pending} events waiting after {timeout} s"
            ) from None

    async def _ability(self, name: str, timeout: float) -> None:
        act = getattr(self._recorder, name, None)
        if act is None:
            return
        async with asyncio.timeout(timeout):
            if self._thread is None or iscoroutinefunction(act):
                result = act()
            else:
                # In the recorder's own thread: it need not know about threads.
                result = await asyncio.get_running_loop().run_in_executor(self._thread, act)
            if isawaitable(result):
                await result

    # --- the worker

    def _start(self) -> None:
        if self._thread is not None:
            worker = self._hire(None)
            if worker is not None:
                try:
                    self._thread.submit(self._work, worker)
                except RuntimeError:  # the interpreter is going down
                    self._forsake(worker, "its thread cannot start any more")
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._start_at_home()
            return
        worker = self._hire(loop)
        if worker is None:
            return
        # In an empty context: the worker outlives the run it was started in and must not keep or show it.
        task = worker.task = loop.create_task(self._drain(worker), context=Context())
        task.add_done_callback(lambda ended: self._ended(worker, ended))
        # Of a loop that closes while a recorder hangs: `_bury` counts what was lost, asyncio need not log.
        with suppress(AttributeError):
            task._log_destroy_pending = False  # type: ignore[attr-defined]

    def _start_at_home(self) -> None:
        home = self._home
        if home is not None:
            try:
                home.call_soon_threadsafe(self._start)
            except RuntimeError:  # it is closed: the next event or flush on a loop takes over
                self._home = None

    def _hire(self, loop: asyncio.AbstractEventLoop | None) -> _Worker | None:
        with self._lock:
            if self._worker is not None or not self._items:
                return None
            worker = self._worker = _Worker()
            worker.loop = self._home = loop
            return worker

    async def _drain(self, worker: _Worker) -> None:
        while True:
            # The run goes first; also under a task factory that starts tasks at once.
            await asyncio.sleep(0)
            item = self._take(worker)
            if item is None:
                return
            try:
                result = self._recorder.on_event(item)
                if isawaitable(result):
                    await result
            except Exception as error:
                self.faults.note(error, _name(item))
            except asyncio.CancelledError as error:
                task = worker.task
                if task is None or task.cancelling():
                    raise
                self.faults.note(error, _name(item))
            self._finished(worker)

    def _work(self, worker: _Worker) -> None:
        while True:
            item = self._take(worker)
            if item is None:
                return
            try:
                result = self._recorder.on_event(item)
                if isawaitable(result):
                    _discard(result)
                    raise TypeError("on_event returned an awaitable, which no thread can await")
            except BaseException as error:
                self.faults.note(error, _name(item))
            self._finished(worker)

    def _take(self, worker: _Worker) -> Any:
        with self._lock:
            if self._worker is not worker:
                return None
            if not self._items:
                self._worker = None
                return None
            self._in_hand = self._head
            self._head += 1
            return self._items.popleft()

    def _finished(self, worker: _Worker) -> None:
        with self._lock:
            if self._worker is worker:
                self._in_hand = None
                self._release()

    # --- the end of a worker, and what is lost

    def _ended(self, worker: _Worker, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()
        self._forsake(worker, "the event loop ended; aclose() before it does")

    def _bury(self) -> None:
        """Let go of a worker whose loop was closed under it."""
        worker = self._worker
        if worker is not None and worker.loop is not None and worker.loop.is_closed():
            self._forsake(worker, "the event loop ended; aclose() before it does")

    def _stop(self) -> None:
        with self._lock:
            self._closed = True
            worker = self._worker
        self._forsake(worker, "it was closed")
        if worker is not None and worker.task is not None and worker.loop is not None:
            try:
                worker.loop.call_soon_threadsafe(worker.task.cancel)
            except RuntimeError:  # its loop is closed
                pass

    def _forsake(self, worker: _Worker | None, why: str) -> None:
        with self._lock:
            if self._worker is not worker:
                return
            self._worker = None
            lost = list(self._items)
            self._items.clear()
            self._head += len(lost)
            half = self._in_hand is not None
            self._in_hand = None
            self._release()
        if lost or half:
            self._drop(lost, why, half)

    def _drop(self, lost: list[Any], why: str, half: bool = False) -> None:
        with self._lock:
            first = self._dropped == 0
            self._dropped += len(lost) + half
            self._release()
        for item in lost:
            _discard(item)
        if first:
            warn(
                "the queue of recorder %s dropped events: %s. Further ones are counted (dropped), not logged",
                self.faults.name,
                why,
            )

    def _settled(self, target: int) -> bool:
        return self._head >= target and (self._in_hand is None or self._in_hand >= target)

    def _release(self) -> None:
        if not self._waiters:
            return
        for waiter in list(self._waiters):
            target, done = waiter
            if done.cancelled() or self._settled(target):
                self._waiters.remove(waiter)
                try:
                    done.set_result(None)
                except InvalidStateError:
                    pass


def _name(item: Any) -> str:
    return item.type if isinstance(item, Event) else "an awaited event"


def _discard(item: Any) -> None:
    # A dropped event may be a coroutine that was to handle it; unclosed, Python warns that nobody awaited it.
    if iscoroutine(item):
        item.close()
