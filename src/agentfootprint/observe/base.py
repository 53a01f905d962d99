"""The port to whatever watches runs: one required method, three optional abilities."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..events import Event

if TYPE_CHECKING:
    from ..flow import Footprint
    from ..identity import MemoryIdentity

__all__ = ["Closeable", "Flushable", "Keeping", "Recorder", "Selective"]


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


@runtime_checkable
class Keeping(Protocol):
    """A recorder that keeps whole runs: it is given the footprint of each when it ends, pauses or breaks off.

    `status` is "completed", "stopped", "paused", "failed" or "cancelled". It must be quick, like `on_event`.
    """

    def on_footprint(
        self, footprint: Footprint, agent: str, identity: MemoryIdentity | None, status: str, /
    ) -> None: ...
