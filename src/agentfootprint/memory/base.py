"""The port to what outlives a turn: entries of an identity, newest first, searchable, forgettable."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from ..embedders.base import Embedding
from ..errors import InputInvalid
from ..identity import MemoryIdentity, check_part

__all__ = [
    "ComparingStore",
    "Filter",
    "Match",
    "MemoryEntry",
    "MemoryStore",
    "Not",
    "Page",
    "Profile",
    "SearchableStore",
    "TextSearch",
]

Profile: TypeAlias = Literal["full", "eventual", "log"]
"""What a store promises. Tenancy, ids, expiry and `forget` are the same in all of them.

=============================  ===================  =========================  =========================
.                              `full`               `eventual`                 `log`
=============================  ===================  =========================  =========================
a finished write is read       at once              after a while              after a while
`put(expected=)`               compares and writes  not there                  not there
`put_many`                     all or nothing       entry by entry             entry by entry
two writers of one entry       the later wins       the later wins             both are kept; the newer
                                                                               is read
versions are made by           the store            the store                  the server: its event's id
one embedder per identity      also in a race       not in a race              (no vectors)
parts of identities            up to 256 bytes      at least 32 bytes; longer  as `eventual`
                                                    ones may be refused
value and metadata, as JSON    any size             at least 8 KiB together;   as `eventual`
                                                    more may be refused
an entry is kept               until it expires     until it expires           at most as long as the
                                                                               server keeps its events
a page of `list` costs         a page               a page                     all entries of the identity
=============================  ===================  =========================  =========================

What is refused raises before anything is written: `IdentityInvalid` for an identity, in every call, and
`UnsupportedValue` for an entry. With reads that lag, `put` and `forget` know only of what they see: an
entry that was written a moment ago may be replaced as if it were not there (it then has a new place in
`list`), and is not counted by `forget`, which reaches it all the same.
"""

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
        created, expires = self.created, self.expires
        if created is expires is None:
            return
        if not (math.isfinite(created or 0) and math.isfinite(expires or 0)):
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
    _set_id(entry, entry_id)
    _set_value(entry, value)
    _set_metadata(entry, metadata)
    _set_created(entry, created)
    _set_expires(entry, expires)
    _set_version(entry, version)
    _set_embedding(entry, embedding)
    return entry


# A slot's own setter takes half as long as `object.__setattr__`, which looks for it by its name.
_setters: list[Any] = [getattr(MemoryEntry, each.name).__set__ for each in fields(MemoryEntry)]
_set_id, _set_value, _set_metadata, _set_created, _set_expires, _set_version, _set_embedding = _setters


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
    """Entries per identity. Every adapter passes `agentfootprint.testing.memory_store` in its profile.

    The identity is exact: an entry of `(acme, alice, t-1)` is not seen by `(acme, alice)`. An absent
    tenant is a namespace of its own. Ids are strings under the rules of an identity's part. Values
    come back equal and unshared; what is not JSON raises `UnsupportedValue` and writes nothing. After
    `aclose`, which may be called twice, every call raises `StoreUnavailable`.
    """

    @property
    def durable(self) -> bool:
        """Whether what is stored outlives this process."""
        ...

    @property
    def profile(self) -> Profile:
        """What it promises; a store of profile `full` is a `ComparingStore`."""
        ...

    async def put(self, identity: MemoryIdentity, entry: MemoryEntry) -> MemoryEntry | None:
        """Writes an entry, replacing one with the same id, and returns it as stored, never None.

        An entry that replaces another keeps its place in `list`, unless it says another `created`.
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


class ComparingStore(MemoryStore, Protocol):
    """A store that writes only over what its caller has seen. At run time its `profile` tells: `full`."""

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        """As in `MemoryStore`. With `expected` it writes only if the stored version is that one (`""`:
        only if there is no entry), and returns None if it is not."""
        ...


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


@runtime_checkable
class TextSearch(Protocol):
    """What finds by text what a service has made of an identity's entries itself."""

    async def search_text(self, identity: MemoryIdentity, query: str, *, k: int = 10) -> Sequence[Match]:
        """At most `k` finds for exactly this identity, the most relevant first.

        They are no entries of the store: neither `get` nor `list` knows them, and their scores are the
        service's own.

        Raises:
            InputInvalid: the query is empty or too long, or `k` is less than 1.
        """
        ...
