"""One small record that instances change together, or this process alone when it must."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import StoreConflict, StoreCorrupt, StoreError, StoreUnavailable
from ..events import StateDegraded, StateRecovered
from .report import Hook, report

if TYPE_CHECKING:
    from ..identity import MemoryIdentity
    from ..state.base import JSON, StateKey, StateStore

__all__ = ["Decide", "Outage", "Shared"]

R = TypeVar("R")
A = TypeVar("A")

Decide = Callable[[R, float], tuple[R, A]]
"""A pure function from the record and the time to the new record and the answer. The same record
given back (the same object) is not written."""

_log = logging.getLogger("agentfootprint.resilience")

_DECIDING = threading.Lock()
"""A provider may be asked from the event loops of several threads. Held for the time of a pure function."""

ANSWER_SECONDS = 0.25
"""How long a decision waits for the store, unless it says so."""

TRIES = 20
"""Lost compare-and-sets before the contention is taken for a fault."""


class Outage:
    """Until when a store is left alone, by the monotonic clock; None: it answers."""

    __slots__ = ("until",)

    def __init__(self) -> None:
        self.until: float | None = None


class Shared(Generic[R]):
    """A record under one key of a `StateStore`, changed by compare-and-set; without a store, in process.

    While the store cannot be reached or read (an error, or no answer within `timeout` seconds) and
    `fail_open` is set, decisions are made on what this process knows; every `retry_after` seconds one
    call tries the store again. Both changes are reported once each.

    Args:
        what: names the record in events.
        empty: what an absent record means.
        dump, load: to and from JSON.
        ttl: seconds an untouched record is kept; a deadline never depends on it.
        identity: whose record it is; None is the operator's.
        outage: what records of one store have in common: when one finds it down, the others need not.
    """

    __slots__ = (
        "_clock",
        "_dump",
        "_empty",
        "_fail_open",
        "_hook",
        "_key",
        "_known",
        "_load",
        "_local",
        "_outage",
        "_retry_after",
        "_state",
        "_timeout",
        "_ttl",
        "_what",
    )

    def __init__(
        self,
        state: StateStore | None,
        kind: str,
        name: str,
        *,
        empty: R,
        dump: Callable[[R], JSON],
        load: Callable[[JSON], R],
        ttl: float,
        fail_open: bool = True,
        timeout: float | None = None,
        retry_after: float = 1.0,
        clock: Callable[[], float] = time.time,
        hook: Hook | None = None,
        identity: MemoryIdentity | None = None,
        outage: Outage | None = None,
    ) -> None:
        self._state = state
        self._key: StateKey | None = None
        if state is not None:
            from ..state.base import StateKey, check_state

            check_state(state)
            self._key = StateKey(identity, kind, name)
        self._what = f"{kind} {name}"
        self._empty = empty
        self._local = empty
        self._dump = dump
        self._load = load
        self._ttl = ttl
        self._fail_open = fail_open
        self._timeout = ANSWER_SECONDS if timeout is None else timeout
        self._retry_after = retry_after
        self._clock = clock
        self._hook = hook
        self._outage = Outage() if outage is None else outage
        self._known: tuple[R, str | None] | None = None

    @property
    def local(self) -> bool:
        """Whether this process shares the record with nobody: decisions need not wait then."""
        return self._state is None

    def decide_now(self, decide: Decide[R, A]) -> A:
        """The decision on what this process knows."""
        with _DECIDING:
            self._local, answer = decide(self._local, self._clock())
        return answer

    def now(self) -> float:
        """Seconds since the epoch, as decisions are told them."""
        return self._clock()

    async def note(self, decide: Decide[R, A]) -> A | None:
        """`decide` for what follows from a call that was made. Its outcome stands whatever the store says:
        an answer is paid for, and an error is that of the call. None: it could not be written down."""
        try:
            return await self.decide(decide)
        except StoreError as error:
            _log.warning("%s: the end of a call could not be written down: %s", self._what, error)
            return None

    async def decide(self, decide: Decide[R, A]) -> A:
        """The decision on what all instances know.

        Raises:
            StoreUnavailable: the store is down and `fail_open` is off.
        """
        if self._state is None:
            return self.decide_now(decide)
        if self._outage.until is not None and time.monotonic() < self._outage.until:
            return self.decide_now(decide)
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._compare_and_set(decide)
        except (StoreUnavailable, StoreConflict, StoreCorrupt, TimeoutError) as error:
            return self._alone(decide, error)
        if self._outage.until is not None:
            self._outage.until = None
            report(StateRecovered, self._what, hook=self._hook)
        return answer

    async def _compare_and_set(self, decide: Decide[R, A]) -> A:
        state, key = self._state, self._key
        assert state is not None
        assert key is not None
        for lost in range(TRIES):
            # What this process wrote last is tried without reading it again: a change is never written on
            # top of another's. Only a decision to change nothing needs to know that nothing has changed.
            known, self._known = self._known, None
            before, version = known or await self._read(state, key)
            after, answer = decide(before, self._clock())
            if after is before and known is not None:
                before, version = await self._read(state, key)
                after, answer = decide(before, self._clock())
            if after is before:
                self._local = after
                return answer
            written = await state.compare_and_set(key, version, self._dump(after), ttl=self._ttl)
            if written is not None:
                self._local, self._known = after, (after, written.version)
                return answer
            if known is None:
                await asyncio.sleep(random.random() * 0.001 * min(lost + 1, 5))
        raise StoreConflict(f"{self._what}: {TRIES} compare-and-sets in a row were lost to other instances")

    async def _read(self, state: StateStore, key: StateKey) -> tuple[R, str | None]:
        found = await state.get(key)
        if found is None:
            return self._empty, None
        try:
            return self._load(found.value), found.version
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise StoreCorrupt(
                f"{self._what}: the stored record cannot be read ({type(error).__name__}): another "
                "version of agentfootprint may have written it, which needs a name= of its own"
            ) from None

    def _alone(self, decide: Decide[R, A], error: Exception) -> A:
        told = str(error) or f"no answer within {self._timeout} s"
        if not self._fail_open:
            if isinstance(error, (StoreUnavailable, StoreCorrupt)):
                raise error
            raise StoreUnavailable(f"{self._what}: the state store did not answer in time: {told}") from error
        if isinstance(error, (StoreConflict, StoreCorrupt)) and self._outage.until is None:
            self._outage = Outage()  # What is wrong with one record says nothing of the others.
        first = self._outage.until is None
        self._outage.until = time.monotonic() + self._retry_after
        if first:
            report(StateDegraded, self._what, told, hook=self._hook)
        return self.decide_now(decide)


def plain(value: Any) -> Any:
    """`dump` and `load` of a record that is JSON as it stands."""
    return value
