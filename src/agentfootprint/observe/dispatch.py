"""Hands each event of a run to the recorders that want it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigurationError
from ..events import Event
from .base import Recorder
from .faults import Faults
from .pattern import Pattern, selector
from .queue import Queued

if TYPE_CHECKING:
    from ..flow import Run
    from ..identity import MemoryIdentity

__all__ = ["Dispatch", "Listener", "Tap", "finish"]


class Listener:
    """A function as a recorder."""

    __slots__ = ("on_event",)

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self.on_event = fn


class _Later:
    # Stands behind the queue of what async recorders returned: the items are what is to be awaited.
    __slots__ = ()

    def on_event(self, item: Any) -> Any:
        return item


class Tap:
    """One recorder at one place: what it sees, and what went wrong in it."""

    __slots__ = ("_later", "_selects", "call", "faults", "recorder")

    def __init__(self, recorder: Any, pattern: Pattern = "*") -> None:
        call = getattr(recorder, "on_event", None)
        if isinstance(recorder, type) or not callable(call):
            hint = "pass an instance" if isinstance(recorder, type) else "to call a function, use on(...)"
            raise ConfigurationError(
                f"{recorder!r} is no recorder, which has a method on_event(event): {hint}"
            )
        self.call: Callable[[Event], object] = call
        self.recorder = recorder
        self._selects = selector(pattern)
        self._later: Queued | None = None
        own = getattr(recorder, "faults", None)
        self.faults = own if isinstance(own, Faults) else Faults(_name(recorder))

    @property
    def dropped(self) -> int:
        own = self._later.dropped if self._later is not None else 0
        dropped = getattr(self.recorder, "dropped", 0)
        return own + (dropped if isinstance(dropped, int) else 0)

    def wants(self, kind: type[Event]) -> bool:
        if not self._selects(kind):
            return False
        wants = getattr(self.recorder, "wants", None)
        try:
            return wants is None or bool(wants(kind))
        except Exception as error:
            self.faults.note(error, "wants")
            return True

    def returned(self, result: object) -> None:
        """An async recorder: its work waits its turn in a bounded queue."""
        if isawaitable(result):
            if self._later is None:
                self._later = Queued(_Later(), self.faults)
            self._later.on_event(result)

    async def finish(self, ability: Literal["flush", "aclose"], timeout: float, itself: bool = True) -> None:
        try:
            async with asyncio.timeout(timeout):
                if self._later is not None:
                    await self._later.flush(timeout)
                act = getattr(self.recorder, ability, None) if itself else None
                if act is not None:
                    result = act(timeout) if isinstance(self.recorder, Queued) else act()
                    if isawaitable(result):
                        await result
        except Exception as error:
            self.faults.note(error, ability)


class _Routes(dict[type[Event], tuple[Tap, ...]]):
    """Class of events to the taps that want it, filled in on first use."""

    __slots__ = ("base", "taps")

    def __init__(self, taps: Sequence[Tap], base: _Routes | None) -> None:
        self.taps = taps
        self.base = base

    @property
    def everybody(self) -> Sequence[Tap]:
        return self.taps if self.base is None else (*self.base.everybody, *self.taps)

    def __missing__(self, kind: type[Event]) -> tuple[Tap, ...]:
        first = self.base[kind] if self.base is not None else ()
        route = self[kind] = first + tuple(tap for tap in self.taps if tap.wants(kind))
        return route


class Dispatch:
    """The recorders of a run. Call it with an event: it is synchronous and quick, and never raises.

    Only what is no `Exception`, such as KeyboardInterrupt, passes through it.
    """

    __slots__ = ("_own", "_routes")

    _routes: _Routes

    def __init__(self, taps: Sequence[Tap], base: Dispatch | None = None) -> None:
        self._routes = _Routes(taps, base._routes if base is not None else None)
        self._own: Sequence[Tap] = taps if base is not None else ()

    @staticmethod
    def combined(
        base: Dispatch | None,
        recorders: Iterable[Recorder] = (),
        consumer: Callable[[Event], object] | None = None,
    ) -> Dispatch | None:
        """The agent's recorders, then those of this run alone, then whoever streams the run.

        None when nobody watches, so that such a run pays nothing.

        Raises:
            ConfigurationError: one of `recorders` has no `on_event`.
        """
        taps = [Tap(recorder) for recorder in recorders]
        if consumer is not None:
            taps.append(Tap(Listener(consumer)))
        return Dispatch(taps, base or _NOBODY) if taps else base

    def __call__(self, event: Event) -> None:
        for tap in self._routes[type(event)]:
            try:
                result = tap.call(event)
                if result is not None:
                    tap.returned(result)
            except Exception as error:
                tap.faults.note(error, event.type)

    def wants(self, kind: type[Event]) -> bool:
        """Whether anybody listens to this class of events: when not, it need not be built."""
        return bool(self._routes[kind])

    def keep(self, run: Run, agent: str, identity: MemoryIdentity | None, status: str) -> None:
        """Give the run's footprint to the recorders that keep footprints. Never raises."""
        for tap in self._routes.everybody:
            give = getattr(tap.recorder, "on_footprint", None)
            if give is not None:
                try:
                    give(run.footprint, agent, identity, status)
                except Exception as error:
                    tap.faults.note(error, "a footprint")

    async def flush(self, timeout: float = 5.0) -> None:
        """Wait until the recorders given to this run alone have handled what they were given.

        Those of the agent serve other runs as well; `Recorders.flush` waits for them. Never raises:
        a recorder that is not done within `timeout` seconds counts a failure.
        """
        if self._own:
            await finish(self._own, "flush", timeout)


async def finish(taps: Iterable[Tap], ability: Literal["flush", "aclose"], timeout: float) -> None:
    """Flush or close every recorder, at the same time, each recorder once however often it is attached."""
    seen: set[int] = set()
    work = []
    for tap in taps:
        work.append(tap.finish(ability, timeout, id(tap.recorder) not in seen))
        seen.add(id(tap.recorder))
    await asyncio.gather(*work)


def _name(recorder: Any) -> str:
    named = recorder.on_event if isinstance(recorder, Listener) else type(recorder)
    return getattr(named, "__qualname__", None) or type(named).__qualname__


_NOBODY = Dispatch(())
