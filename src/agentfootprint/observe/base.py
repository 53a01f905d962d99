"""The port to whatever watches runs: one required method, three optional abilities."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, runtime_checkable

from ..events import Event

__all__ = ["Closeable", "Flushable", "Recorder", "Selective"]


@runtime_checkable
class Recorder(Protocol):
    """Sees every event of the runs it is attached to. Raising never breaks the run: it is counted.

    A plain `on_event` runs inside the run, so it must be quick (a slow one: `queued(...)`). What an
    `async def on_event` returns is awaited behind a bounded queue, in the order of the events.
    """

    def on_event(self, event: Event, /) -> Awaitable[None] | None: ...


@runtime_checkable
class Flushable(Protocol):
    """A recorder that holds events back: `flush` hands on everything it was given so far."""

    def flush(self) -> Awaitable[None] | None: ...


@runtime_checkable
class Closeable(Protocol):
    """A recorder that owns something (a file, a connection) and gives it back."""

    def aclose(self) -> Awaitable[None]: ...


@runtime_checkable
class Selective(Protocol):
    """A recorder that ignores some events and says so, so that nobody builds them in vain."""

    def wants(self, kind: type[Event], /) -> bool: ...
