"""The port to what outlives a turn: entries of an identity, newest first, searchable, forgettable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ..embedders.base import Embedding
from ..errors import InputInvalid
from ..identity import MemoryIdentity, check_part

__all__ = ["Filter", "Match", "MemoryEntry", "MemoryStore", "Not", "Page", "SearchableStore"]

Scalar: TypeAlias = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class MemoryEntry:
    """One remembered thing.

    `value` and `metadata` are JSON. `created` is seconds since the epoch; None lets the store set it
    at `put`: the time of the first write. `expires` (seconds since the epoch) makes the entry read as
    absent from then on. `version` is set by the store, changes with every write and is never reused.
    An entry with an `embedding` can be searched in stores that search.

    Raises:
        IdentityInvalid: the id is no string, over 256 bytes of UTF-8, or holds a NUL or a lone
            surrogate.
        InputInvalid: a time is not finite.
    """

    id: str
    value: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)
    created: float | None = None
    expires: float | None = None
    version: str | None = None
    embedding: Embedding | None = None

    def __post_init__(self) -> None:
        check_part("a memory entry's id", self.id)
        if not (math.isfinite(self.created or 0) and math.isfinite(self.expires or 0)):
            raise InputInvalid(
                "created and expires of a memory entry are finite seconds since the epoch, or None"
            )


def stored(
    entry_id: str,
    value: Any,
    metadata: Mapping[str, Any],
    created: float | None,
    expires: float | None,
    version: str | None,
    embedding: Embedding | None,
) -> MemoryEntry:
    """An entry as a store has it: what was checked when it was written is not checked again."""
    entry = object.__new__(MemoryEntry)
    put = object.__setattr__
    put(entry, "id", entry_id)
    put(entry, "value", value)
    put(entry, "metadata", metadata)
    put(entry, "created", created)
    put(entry, "expires", expires)
    put(entry, "version", version)
    put(entry, "embedding", embedding)
    return entry


@dataclass(frozen=True, slots=True)
class Page:
    """Entries and the cursor of the next page; None when there is none."""

    entries: tuple[MemoryEntry, ...]
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Not:
    """In a filter: the metadata lacks the key, or has another value there."""

    value: Scalar


Filter: TypeAlias = Mapping[str, Scalar | Not]
"""What the metadata of an entry must have at its top level: under each key this value, or not this one.

Values are compared as JSON: True is not 1, 1 and 1.0 are the same, None is a null that is there.
"""


@dataclass(frozen=True, slots=True)
class Match:
    """A found entry and its cosine similarity to what was searched for, from -1 to 1."""

    entry: MemoryEntry
    score: float


@runtime_checkable
class MemoryStore(Protocol):
    """Entries per identity. Every adapter passes `agentfootprint.testing.memory_store`.

    The identity is exact: an entry of `(acme, alice, t-1)` is not seen by `(acme, alice)`. An absent
    tenant is a namespace of its own. Ids are strings under the rules of an identity's part. Values
    come back equal and unshared; what is not JSON raises `UnsupportedValue` and writes nothing. After
    `aclose`, which may be called twice, every call raises `StoreUnavailable`.
    """

    @property
    def durable(self) -> bool:
        """Whether what is stored outlives this process."""
        ...

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        """Writes an entry, replacing one with the same id, and returns it as stored.

        An entry that replaces another keeps its place in `list`, unless it says another `created`.
        With `expected` it writes only if the stored version is that one (`""`: only if there is no
        entry), and returns None if it is not.
        """
        ...

    async def put_many(
        self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]
    ) -> Sequence[MemoryEntry]:
        """Writes all entries or none; later entries of the sequence count as newer."""
        ...

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        """The entry; None when there is none. A stored `null` is an entry whose value is None."""
        ...

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        """Newest first: by `created`, and among equals the later written first.

        Paging is stable: what is written while paging neither repeats nor hides entries that were
        there at the first page. `limit` is at least 1; a cursor that did not come from this store
        raises `InputInvalid`.
        """
        ...

    async def delete(self, identity: MemoryIdentity, entry_id: str) -> bool:
        """Deletes one entry; whether there was one."""
        ...

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        """Deletes every entry of exactly this identity and, with `descendants`, of every identity
        below it (`("acme", "alice")` reaches all of alice's conversations). Returns how many."""
        ...

    async def aclose(self) -> None: ...


@runtime_checkable
class SearchableStore(MemoryStore, Protocol):
    """A store that finds entries by what they mean.

    The first embedding that is written for an identity says by its fingerprint which embedder its entries
    are searched with, until `forget`. One of another embedder raises `EmbedderMismatch` and writes nothing.
    """

    async def search(
        self,
        identity: MemoryIdentity,
        query: Embedding,
        *,
        k: int = 10,
        min_score: float | None = None,
        where: Filter | None = None,
    ) -> Sequence[Match]:
        """At most `k` entries of exactly this identity that have an embedding, the most similar first,
        among equals the newest.

        Args:
            min_score: the least similarity; weaker matches are left out.
            where: what their metadata must have.

        Raises:
            EmbedderMismatch: the entries were written with another embedder.
            InputInvalid: `k` is less than 1, or a filter is not of scalars.
        """
        ...
