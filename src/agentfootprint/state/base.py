"""The port to small records that instances share: compare-and-set, counters, logs, all with TTL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ..errors import ConfigurationError
from ..identity import MemoryIdentity, check_part, namespace

__all__ = ["JSON", "CheckedStore", "LogRecord", "Record", "StateKey", "StateStore", "check_state"]

JSON: TypeAlias = Any
"""None, bool, int, float, str, and lists and string-keyed dicts of them."""


@dataclass(frozen=True, slots=True)
class StateKey:
    """Names one record: whose it is, what kind, which one. `identity=None` is the operator's own.

    `encoded` is one injective printable-ASCII string for adapters to use as their key: the
    identity's namespace, `|`, then kind and name. The keys of an identity and its descendants are
    those that start with `namespace_prefix(identity)`.

    Raises:
        IdentityInvalid: kind or name is no string, over 256 bytes of UTF-8, or holds a NUL or a lone
            surrogate.
        ConfigurationError: the kind is empty.
    """

    identity: MemoryIdentity | None
    kind: str
    name: str

    def __post_init__(self) -> None:
        # Kind and name obey the rules of an identity's parts: refused, never cut.
        check_part("kind", self.kind)
        check_part("name", self.name)
        if not self.kind:
            raise ConfigurationError("a StateKey needs a kind, such as 'conversation'")

    @property
    def encoded(self) -> str:
        kind_and_name = namespace(MemoryIdentity(self.kind, self.name)).removesuffix("/~/")
        return f"{namespace(self.identity)}|{kind_and_name}"


@dataclass(frozen=True, slots=True)
class Record:
    """A stored value and the token of its version. Tokens are never reused, not even after a delete."""

    value: JSON
    version: str


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One entry of a log. `sequence` grows by at least 1 with every append to the same key."""

    sequence: int
    value: JSON


@runtime_checkable
class StateStore(Protocol):
    """Small records shared by instances. Every adapter passes `agentfootprint.testing.state_store`.

    Rules for all methods: values are JSON and come back equal and unshared (changing what was
    returned changes nothing stored); anything else raises `UnsupportedValue` and writes nothing.
    `ttl` is in seconds; an expired record reads as absent, whether or not it was collected already;
    None keeps it. A record, a counter and a log may share a key without touching each other;
    `delete` removes all three. After `aclose`, which may be called twice, every call raises
    `StoreUnavailable`.
    """

    @property
    def durable(self) -> bool:
        """Whether what is stored outlives this process."""
        ...

    async def get(self, key: StateKey) -> Record | None:
        """The record; None when there is none. A stored `null` is a record whose value is None."""
        ...

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: JSON, *, ttl: float | None = None
    ) -> Record | None:
        """Writes only if the record's version is `expected` (None: only if absent). None if it was not."""
        ...

    async def increment(
        self, key: StateKey, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        """Adds to a counter (absent counts as 0) and returns the new total; None, and nothing is
        added, when the total would exceed `limit`. `by` may be negative. `ttl` counts from the
        counter's first increment. Totals are signed 64-bit; beyond that it raises
        `UnsupportedValue`."""
        ...

    async def append(self, key: StateKey, value: JSON, *, ttl: float | None = None) -> int:
        """Adds an entry to the key's log and returns its sequence. `ttl` is the entry's own; a log
        whose entries have all expired goes on counting."""
        ...

    async def read(self, key: StateKey, *, after: int = 0, limit: int | None = None) -> Sequence[LogRecord]:
        """The log's entries with a sequence above `after`, oldest first, at most `limit`."""
        ...

    async def delete(self, key: StateKey) -> None:
        """Deletes the key's record, counter and log."""
        ...

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        """Deletes every record, counter and log of exactly this identity and, with `descendants`,
        of every identity below it. Returns how many keys were deleted."""
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class CheckedStore(Protocol):
    """A store, of state or of memory, that can say whether it is of any use now. An agent asks at
    `async with agent:`; so may whoever tells a balancer that an instance is ready."""

    async def check(self) -> None:
        """Reaches what the store needs, and leaves no connection open that was not.

        Raises:
            StoreUnavailable: it cannot be reached or opened, or lets nobody in as asked.
            StoreError: what it needs is not there, such as a table or an index, or may not be used.
        """
        ...


def check_state(state: object) -> None:
    """Refuses what is no state store, as early as it is given to something.

    Raises:
        ConfigurationError: it lacks a method of `StateStore`, or is a class.
    """
    if isinstance(state, type) or not isinstance(state, StateStore):
        given = f"the class {state.__name__}" if isinstance(state, type) else f"a {type(state).__name__}"
        raise ConfigurationError(
            f"state= is {given}, which is no StateStore: use InMemoryState(), SQLiteState(path), "
            "RedisState(url), PostgresState(dsn) or an object with its methods"
        )
