"""Footprints on their way to where they are kept, in a thread behind the runs."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from ...errors import StoreError
from ...events import Event
from ...flow import Footprint
from ...identity import MemoryIdentity
from ..handover import Handover
from ..sampling import Sampling
from .base import KeptRun, RunRecords

__all__ = ["RunRecorder"]

_WAITING = 1000  # runs; each is kept in memory until it is written
_SWEEP_SECONDS = 60.0


class _Ended(NamedTuple):
    agent: str
    identity: MemoryIdentity | None
    status: str
    ended: float
    footprint: Footprint

    @property
    def type(self) -> str:
        return "a footprint"


class RunRecorder:
    """See `agentfootprint.observe.record_to`. `runs` is where they are kept, to be listed and read."""

    def __init__(
        self, runs: RunRecords, retention: float | None, max_bytes: int | None, sampling: Sampling | None
    ) -> None:
        self.runs = runs
        self.unsampled = 0
        self._retention = retention
        self._max_bytes = max_bytes
        self._sampling = sampling
        self._swept = float("-inf")
        self._written = 0
        self._handover = Handover(self._handle, "record_to", maxsize=_WAITING)

    @property
    def faults(self) -> Any:
        return self._handover.faults

    @property
    def dropped(self) -> int:
        """How many runs were never written: too many waited."""
        return self._handover.dropped

    def wants(self, kind: type[Event], /) -> bool:
        return False

    def on_event(self, event: Event, /) -> None:
        """Events are not kept: the footprint is the record."""

    def on_footprint(
        self, footprint: Footprint, agent: str, identity: MemoryIdentity | None, status: str
    ) -> None:
        """A run has ended, or waits for a person."""
        self._handover.put(_Ended(agent, identity, status, time.time(), footprint))

    async def flush(self) -> None:
        await self._handover.flush()

    async def aclose(self) -> None:
        """Write what waits, and close what it is written to."""
        await self._handover.aclose()
        self.runs.close()

    # --- in the thread

    def _handle(self, run: _Ended) -> None:
        footprint = run.footprint
        if self._sampling is not None:
            took, trouble = run.ended - footprint.started, run.status not in ("completed", "paused")
            if not self._sampling.keeps(footprint.run_id, trouble=trouble, took=took):
                self.unsampled += 1
                return
        # Text from outside may hold lone surrogates, which strict UTF-8 refuses.
        lines = footprint.to_jsonl().encode("utf-8", "surrogatepass")
        if self._max_bytes is not None and len(lines) > self._max_bytes:
            raise StoreError(
                f"a run of {len(lines)} bytes is not kept: that is more than max_bytes={self._max_bytes}"
            )
        kept = KeptRun(
            footprint.run_id,
            run.agent,
            run.identity,
            run.status,
            footprint.started,
            run.ended,
            len(footprint.steps),
            len(lines),
        )
        self.runs.put(kept, lines)
        self._written += len(lines)
        self._sweep()

    def _sweep(self) -> None:
        due = time.monotonic() - self._swept >= _SWEEP_SECONDS
        if self._max_bytes is not None and self._written > self._max_bytes // 20:
            due = True
        if due:
            before = None if self._retention is None else time.time() - self._retention
            self.runs.sweep(before=before, max_bytes=self._max_bytes)
            self._swept = time.monotonic()
            self._written = 0
