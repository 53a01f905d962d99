"""Which step is calling out right now: how what runs during an effect reaches the run around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from .codec import encode

if TYPE_CHECKING:
    from ..events import Event
    from .effects import Effects
    from .journal import Call

    E = TypeVar("E", bound=Event)

__all__ = ["Calling", "calling", "outside", "tell_run"]


Calling = tuple["Effects", "Call"]
"""The step and its call that is under way."""

calling: ContextVar[Calling | None] = ContextVar("agentfootprint_calling", default=None)


def tell_run(kind: type[E], *own: object) -> E:
    """Tells an event of `kind` with its own fields to the run whose effect is under way: into the journal of
    the step, within the call, and to whoever watches. Outside a run it is only made, without run and step."""
    now = calling.get()
    if now is None or not now[0].running:
        return kind(None, time.time(), None, *own)
    step, call = now
    event = kind(step.run.id, time.time(), step.id, *own)
    data = {f.name: encode(getattr(event, f.name)) for f in fields(event) if f.name not in _COMMON}
    loop = step.run.loop
    if loop is None or _here() is loop:
        _emit(step, call, kind.type, data)
    else:
        # A plain tool in a thread of its own; a run is written by its loop alone.
        loop.call_soon_threadsafe(_emit, step, call, kind.type, data)
    return event


@contextmanager
def outside() -> Iterator[None]:
    """What runs within belongs to no run, although an effect of one is under way."""
    token = calling.set(None)
    try:
        yield
    finally:
        calling.reset(token)


def _here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _emit(step: Effects, call: Call, name: str, data: dict[str, Any]) -> None:
    if step.running:
        step.emit(name, data, within=f"{call.name}:{call.key}")


_COMMON = frozenset(("run_id", "at", "step"))
