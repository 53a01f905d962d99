"""Who watches the runs of an agent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from ..events import Event
from .base import Recorder
from .dispatch import Dispatch, Listener, Tap, finish
from .pattern import Pattern

__all__ = ["Handle", "Recorders"]

E = TypeVar("E", bound=Event)

_MOMENT = 1.0  # second


class Handle:
    """An attached recorder: take it away again with `detach()`, or use it in a `with` block."""

    __slots__ = ("_recorders", "_tap")

    def __init__(self, recorders: Recorders, tap: Tap) -> None:
        self._recorders = recorders
        self._tap = tap

    @property
    def failures(self) -> int:
        """How many events the recorder raised on."""
        return self._tap.faults.failures

    @property
    def last_error(self) -> BaseException | None:
        """The error of the last failure."""
        return self._tap.faults.last_error

    @property
    def dropped(self) -> int:
        """How many events a full, closed or broken-off queue in front of the recorder lost."""
        return self._tap.dropped

    def detach(self) -> None:
        """Runs that start from now on do not see the recorder. Detaching twice is the same as once."""
        self._recorders._remove(self._tap)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()


class Recorders:
    """The recorders of one agent. Change them from any thread; a change holds for runs that start later."""

    __slots__ = ("_dispatch", "_lock", "_taps")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taps: tuple[Tap, ...] = ()
        self._dispatch: Dispatch | None = None

    def attach(self, recorder: Recorder, pattern: Pattern = "*") -> Handle:
        """Let the recorder see the events that match: a dotted glob such as `tool.*`, or a class of events.

        Raises:
            ConfigurationError: it has no `on_event`, or no event can ever match the pattern.
        """
        tap = Tap(recorder, pattern)
        with self._lock:
            self._set((*self._taps, tap))
        return Handle(self, tap)

    @overload
    def on(self, pattern: type[E], fn: Callable[[E], Any]) -> Handle: ...
    @overload
    def on(self, pattern: str, fn: Callable[[Any], Any]) -> Handle: ...
    def on(self, pattern: Pattern, fn: Callable[[Any], Any]) -> Handle:
        """Call the function, plain or async, with every event that matches; see `attach`."""
        return self.attach(Listener(fn), pattern)

    def snapshot(self) -> Dispatch | None:
        """Whoever is attached right now; None when nobody is, so that such a run pays nothing."""
        return self._dispatch

    async def flush(self, timeout: float = 5.0) -> None:
        """Wait until every recorder has handled what it was given, `timeout` seconds at most.

        Never raises: a recorder that fails or is late counts a failure.
        """
        await finish(self._taps, "flush", timeout)

    async def aclose(self, timeout: float = 5.0) -> None:
        """Detach, flush and close every recorder, within about `timeout` seconds.

        Never raises. A recorder that other agents share is closed for them too.
        """
        with self._lock:
            taps = self._taps
            self._set(())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        await finish(taps, "flush", timeout)
        # Who spent all the time on flushing still gets a moment to close.
        await finish(taps, "aclose", max(deadline - loop.time(), min(timeout, _MOMENT)))

    def _remove(self, tap: Tap) -> None:
        with self._lock:
            self._set(tuple(known for known in self._taps if known is not tap))

    def _set(self, taps: tuple[Tap, ...]) -> None:
        self._taps = taps
        self._dispatch = Dispatch(taps) if taps else None
