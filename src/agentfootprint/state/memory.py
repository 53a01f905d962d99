"""Shared state that lives in this process: for laptops, tests and single-process services."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from operator import itemgetter
from threading import Lock

from ..errors import StoreUnavailable
from ..identity import MemoryIdentity, namespace, namespace_prefix
from ..loops import Closing
from .base import JSON, LogRecord, Record, StateKey
from .values import alive, check_limit, deadline, from_json, to_json, total

__all__ = ["InMemoryState"]

_SWEEP_AFTER = 256
_sequence_of = itemgetter(0)


@dataclass(slots=True)
class _Slot:
    """What one key holds. Values are kept as text, so that nothing is shared with callers."""

    record: tuple[str, str, float | None] | None = None  # text, version, expires
    counter: tuple[int, float | None] | None = None  # total, expires
    log: list[tuple[int, str, float | None]] = field(default_factory=list)  # sequence, text, expires

    def drop_expired(self, now: float) -> int:
        """Forgets what expired; returns how much is left."""
        if self.record and not alive(self.record[2], now):
            self.record = None
        if self.counter and not alive(self.counter[1], now):
            self.counter = None
        if any(not alive(expires, now) for *_, expires in self.log):
            self.log = [entry for entry in self.log if alive(entry[2], now)]
        return (self.record is not None) + (self.counter is not None) + len(self.log)


class InMemoryState(Closing):
    """A `StateStore` in this process's memory, safe to use from several threads and event loops.

    Args:
        clock: seconds since the epoch; tests give one they can move.
    """

    durable = False

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._spaces: dict[MemoryIdentity | None, dict[tuple[str, str], _Slot]] = {}
        self._lock = Lock()
        self._numbers = count(1)
        self._sweep_in = _SWEEP_AFTER
        self._closed = False

    async def get(self, key: StateKey) -> Record | None:
        self._check_open()
        with self._lock:
            slot = self._find(key)
            record = slot.record if slot else None
        if record is None or not alive(record[2], self._clock()):
            return None
        return Record(from_json(record[0], "a record"), record[1])

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: JSON, *, ttl: float | None = None
    ) -> Record | None:
        self._check_open()
        text = to_json(value)
        now = self._clock()
        expires = deadline(now, ttl)
        with self._lock:
            slot = self._find(key)
            record = slot.record if slot else None
            current = record[1] if record and alive(record[2], now) else None
            if current != expected:
                return None
            version = str(next(self._numbers))
            self._make(key).record = (text, version, expires)
            self._written(expires, now)
        return Record(from_json(text, "a record"), version)

    async def increment(
        self, key: StateKey, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        self._check_open()
        now = self._clock()
        expires = deadline(now, ttl)
        with self._lock:
            slot = self._find(key)
            before = 0
            if slot and slot.counter and alive(slot.counter[1], now):
                before, expires = slot.counter
            after = total(before, by, limit)
            if after is not None:
                self._make(key).counter = (after, expires)
                self._written(expires, now)
        return after

    async def append(self, key: StateKey, value: JSON, *, ttl: float | None = None) -> int:
        self._check_open()
        text = to_json(value)
        now = self._clock()
        expires = deadline(now, ttl)
        with self._lock:
            sequence = next(self._numbers)
            self._make(key).log.append((sequence, text, expires))
            self._written(expires, now)
        return sequence

    async def read(self, key: StateKey, *, after: int = 0, limit: int | None = None) -> list[LogRecord]:
        self._check_open()
        check_limit(limit, 0)
        now = self._clock()
        with self._lock:
            slot = self._find(key)
            log = slot.log if slot else []
            start = bisect_right(log, after, key=_sequence_of)
            living = (entry for entry in islice(log, start, None) if alive(entry[2], now))
            found = list(islice(living, limit))
        return [LogRecord(sequence, from_json(text, "a log entry")) for sequence, text, _ in found]

    async def delete(self, key: StateKey) -> None:
        self._check_open()
        with self._lock:
            self._spaces.get(key.identity, {}).pop((key.kind, key.name), None)

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        self._check_open()
        now = self._clock()
        with self._lock:
            reached = list(self._reached(identity, descendants))
            slots = [slot for each in reached for slot in self._spaces.pop(each).values()]
        return sum(slot.drop_expired(now) > 0 for slot in slots)

    async def aclose(self) -> None:
        self._closed = True
        self._spaces.clear()

    def _reached(self, identity: MemoryIdentity, descendants: bool) -> Iterator[MemoryIdentity | None]:
        if not descendants:
            return (each for each in (identity,) if each in self._spaces)
        prefix = namespace_prefix(identity)
        return (each for each in self._spaces if namespace(each).startswith(prefix))

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("this in-memory state was closed, its content is gone: make a new one")

    def _find(self, key: StateKey) -> _Slot | None:
        space = self._spaces.get(key.identity)
        return space.get((key.kind, key.name)) if space else None

    def _make(self, key: StateKey) -> _Slot:
        space = self._spaces.setdefault(key.identity, {})
        slot = space.get((key.kind, key.name))
        if slot is None:
            slot = space[key.kind, key.name] = _Slot()
        return slot

    def _written(self, expires: float | None, now: float) -> None:
        """Collects what expired once as much may have expired as there is: constant cost per write."""
        if expires is None:
            return
        self._sweep_in -= 1
        if self._sweep_in > 0:
            return
        left = 0
        for identity, space in list(self._spaces.items()):
            for name, slot in list(space.items()):
                size = slot.drop_expired(now)
                left += size
                if not size:
                    del space[name]
            if not space:
                del self._spaces[identity]
        self._sweep_in = max(left, _SWEEP_AFTER)
