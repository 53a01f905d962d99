"""Which runs are told in full: all that went wrong or were slow, and a share of the others."""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError
from ..events import (
    ConversationFailed,
    Event,
    GuardrailTripped,
    MemoryFailed,
    RunEnded,
    RunFailed,
    RunPaused,
    RunResumed,
    RunStarted,
)
from .base import Recorder
from .faults import Faults

__all__ = ["LAST", "Sampling", "in_trouble", "sampled", "status_of"]

LAST = (RunEnded, RunPaused, RunFailed)
"""What ends a run, or the part of it before a person answers."""

_TROUBLE = (RunFailed, MemoryFailed, ConversationFailed, GuardrailTripped)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decided at the end of each run, when it is known how it went.

    Args:
        rate: share of ordinary runs that is kept, 0 to 1. The same run is kept or left out by every
            recorder and every process that uses the same rate.
        slow: a run that took this many seconds is kept; None: being slow is no reason.
        errors: keep each run that failed, stopped at a limit, or lost a memory or its conversation.

    Raises:
        ConfigurationError: a share that is none, or a time that is not positive.
    """

    rate: float = 1.0
    slow: float | None = 10.0
    errors: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ConfigurationError(f"rate={self.rate} is no share: use 0 (none) to 1 (all)")
        if self.slow is not None and not (self.slow > 0 and math.isfinite(self.slow)):
            raise ConfigurationError(f"slow={self.slow} is no time: use seconds, or None")

    def keeps(self, run_id: str, *, trouble: bool, took: float) -> bool:
        """Whether a run is kept. `took` is in seconds."""
        if (self.errors and trouble) or (self.slow is not None and took >= self.slow):
            return True
        if self.rate >= 1:
            return True
        drawn = int.from_bytes(hashlib.sha256(run_id.encode("utf-8", "replace")).digest()[:8], "big")
        return drawn < self.rate * 2**64


def in_trouble(event: Event) -> bool:
    """Whether an event says that a run did not go as it should."""
    return isinstance(event, _TROUBLE) or (isinstance(event, RunEnded) and event.status != "completed")


def status_of(event: RunEnded | RunPaused | RunFailed) -> str:
    """How a run ended, in one word."""
    if isinstance(event, RunEnded):
        return event.status
    if isinstance(event, RunPaused):
        return "paused"
    return "cancelled" if event.error == "cancelled" else "failed"


def sampled(
    recorder: Recorder, sampling: Sampling, *, max_events: int = 10_000, max_runs: int = 10_000
) -> Sampled:
    """The recorder, told only the runs that are kept: each as a whole, when it has ended.

    For recorders of lines, such as `jsonl_observability`; those of metrics should see every run.

    Args:
        max_events: of one run that are held until its end; of a longer one the rest is left out and
            counted in `.dropped`.
        max_runs: that are held at once; beyond it the oldest is left out, its events counted.
    """
    return Sampled(recorder, sampling, max_events, max_runs)


class _Held:
    __slots__ = ("begun", "events", "trouble")

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.events: list[Event] = []
        self.trouble = False


class Sampled:
    """See `sampled`. `unsampled` counts the runs that were left out, `dropped` the events that were lost."""

    def __init__(self, recorder: Any, sampling: Sampling, max_events: int, max_runs: int) -> None:
        if max_events < 1 or max_runs < 1:
            raise ConfigurationError("max_events and max_runs must be at least 1")
        own = getattr(recorder, "faults", None)
        self.faults = own if isinstance(own, Faults) else Faults(type(recorder).__qualname__)
        self.unsampled = 0
        self._recorder = recorder
        self._sampling = sampling
        self._max_events = max_events
        self._max_runs = max_runs
        self._runs: OrderedDict[str, _Held] = OrderedDict()
        self._dropped = 0

    @property
    def dropped(self) -> int:
        behind = getattr(self._recorder, "dropped", 0)
        return self._dropped + (behind if isinstance(behind, int) else 0)

    def wants(self, kind: type[Event], /) -> bool:
        if issubclass(kind, (RunStarted, RunResumed, *LAST, *_TROUBLE)):
            return True  # Needed for the decision.
        return self._wanted(kind)

    def on_event(self, event: Event, /) -> Any:
        if event.run_id is None:
            return self._recorder.on_event(event) if self._wanted(type(event)) else None
        if isinstance(event, (RunStarted, RunResumed)):
            self._runs[event.run_id] = _Held(event.at)
            if len(self._runs) > self._max_runs:
                _, oldest = self._runs.popitem(last=False)
                self._dropped += len(oldest.events)
        held = self._runs.get(event.run_id)
        if held is None:
            return None
        held.trouble |= in_trouble(event)
        if len(held.events) < self._max_events or isinstance(event, LAST):
            held.events.append(event)
        else:
            self._dropped += 1
        if not isinstance(event, LAST):
            return None
        del self._runs[event.run_id]
        if not self._sampling.keeps(event.run_id, trouble=held.trouble, took=event.at - held.begun):
            self.unsampled += 1
            return None
        return self._tell(held.events)

    def _tell(self, events: Iterable[Event]) -> Any:
        waiting = []
        for event in events:
            if not self._wanted(type(event)):
                continue
            try:
                result = self._recorder.on_event(event)
            except Exception as error:
                self.faults.note(error, event.type)
                continue
            if result is not None:
                waiting.append(result)
        return _all(waiting) if waiting else None

    def _wanted(self, kind: type[Event]) -> bool:
        wants = getattr(self._recorder, "wants", None)
        return wants is None or bool(wants(kind))

    async def flush(self) -> None:
        await self._ability("flush")

    async def aclose(self) -> None:
        await self._ability("aclose")

    async def _ability(self, name: str) -> None:
        act = getattr(self._recorder, name, None)
        if act is not None:
            result = act()
            if result is not None:
                await result


async def _all(waiting: list[Any]) -> None:
    for each in waiting:
        await each
