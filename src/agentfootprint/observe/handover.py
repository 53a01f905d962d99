"""Events on their way from runs to a thread that does the slow part: a run pays for one append."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import ConfigurationError
from .faults import Faults, warn

__all__ = ["Handover"]

_SLICE = 0.001  # seconds of work at a time, while a run may wait for its turn
_LINGER = 2.0  # seconds that a thread without work waits for more


class Handover:
    """Hands items to `handle` in order, in a thread of its own, in batches; `put` never waits.

    A full queue drops the new item and counts it. What `handle` raises is counted, and the next item
    follows. The thread ends when nothing comes, and is started again when something does. At the end of
    the interpreter what is left is handled, for at most two seconds.

    Args:
        name: of the thread, and in warnings.
        every: seconds between batches, so that the thread does not run between the steps of a run.
        maxsize: items that may wait.
        at_flush: called in the thread by `flush`, when all before it was handled.
    """

    def __init__(
        self,
        handle: Callable[[Any], None],
        name: str,
        *,
        every: float = 0.25,
        maxsize: int = 100_000,
        at_flush: Callable[[], object] | None = None,
    ) -> None:
        if maxsize < 1:
            raise ConfigurationError(f"a queue of maxsize={maxsize} holds no event: use 1 or more")
        self.faults = Faults(name)
        self._handle = handle
        self._name = name
        self._every = every
        self._room = maxsize  # 0 when closed
        self._at_flush = at_flush
        self._items: deque[Any] = deque()
        self._hurry = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._dropped = 0
        self._leave = _at_exit(self)
        _all.add(self)

    @property
    def dropped(self) -> int:
        """How many items were never handled: the queue was full, or closed."""
        return self._dropped

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def pending(self) -> int:
        return len(self._items)

    def put(self, item: Any) -> None:
        """Queue an item. Never waits, never raises."""
        items = self._items
        if len(items) >= self._room:
            self._drop()
            return
        items.append(item)
        if self._thread is None:
            self._start()

    async def flush(self) -> None:
        """Wait until all that was put so far is handled. Cancelling it leaves the items where they are."""
        if self._closed and not self._items:
            return
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if self._at_flush is not None:
                self._at_flush()

        def resolve() -> None:
            if not done.done():
                done.set_result(None)

        def settled() -> None:
            try:
                loop.call_soon_threadsafe(resolve)
            except RuntimeError:  # whoever waited is gone with the loop
                pass

        self._items.append(_Mark(tell, settled))
        self._start()
        self._hurry.set()
        await done

    async def aclose(self) -> None:
        """Flush; what is put later is dropped and counted."""
        try:
            await self.flush()
        finally:
            self._closed = True
            self._room = 0
            self._hurry.set()
            atexit.unregister(self._leave)

    # --- the thread

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._work, name=f"agentfootprint {self._name}", daemon=True)
            self._thread = thread
            try:
                thread.start()
            except RuntimeError:  # no thread can start any more: the interpreter ends
                self._thread = None

    def _work(self) -> None:
        waited = 0.0
        while True:
            hurried = self._hurry.wait(self._every)
            self._hurry.clear()
            if self._items:
                waited = 0.0
                self._drain()
                continue
            waited += _LINGER if self._closed else 0.0 if hurried else self._every
            if waited < _LINGER:
                continue
            with self._lock:
                # Whoever puts an item after this sees no thread; whoever did before is seen here.
                self._thread = None
                if not self._items:
                    return
                self._thread = threading.current_thread()

    def _drain(self) -> None:
        items = self._items
        pause_at = time.perf_counter() + _SLICE
        while items:
            try:
                item = items.popleft()
            except IndexError:
                return
            try:
                if type(item) is _Mark:
                    item.run()
                else:
                    self._handle(item)
            except Exception as error:
                self.faults.note(error, getattr(item, "type", "an event"))
            if time.perf_counter() >= pause_at:
                # The runs go first: Python itself would let them wait for five milliseconds at a time.
                time.sleep(0)
                pause_at = time.perf_counter() + _SLICE

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1
            first = self._dropped == 1
        if first:
            why = "it was closed" if self._closed else "its thread is too slow"
            warn(
                "recorder %s dropped events: %s. Further ones are counted (dropped), not logged",
                self._name,
                why,
            )

    def forked(self) -> None:
        """In the child of a fork: the thread did not come along, and what waits is told by the parent."""
        self._items.clear()
        self._hurry, self._lock = threading.Event(), threading.Lock()
        self._thread = None

    def finish(self, timeout: float) -> None:
        """At the end of the interpreter: handle what is left, `timeout` seconds at most."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            self._drain()  # no thread starts any more
            return
        over = threading.Event()
        self._items.append(_Mark(lambda: None, over.set))
        self._hurry.set()
        over.wait(timeout)


class _Mark:
    """A place in the queue that somebody waits for."""

    __slots__ = ("_act", "_settled")

    def __init__(self, act: Callable[[], object], settled: Callable[[], object]) -> None:
        self._act = act
        self._settled = settled

    def run(self) -> None:
        try:
            self._act()
        finally:
            self._settled()


_all: weakref.WeakSet[Handover] = weakref.WeakSet()


def _forked() -> None:
    for handover in list(_all):
        handover.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _at_exit(handover: Handover) -> Callable[[], None]:
    """Registered late, so called before what the exporter hands on to is shut down."""
    found = weakref.ref(handover)

    def leave() -> None:
        still = found()
        if still is not None:
            still.finish(_LINGER)

    atexit.register(leave)
    weakref.finalize(handover, atexit.unregister, leave).atexit = False
    return leave
