"""Memory entries that live in this process: for laptops, tests and single-process services."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from threading import Lock

from ...embedders.base import Embedding
from ...errors import StoreUnavailable
from ...identity import MemoryIdentity, check_part, namespace, namespace_prefix
from ...loops import Closing
from ...state.values import alive, check_limit, from_json, to_json
from ..base import Filter, Match, MemoryEntry, Page, Profile, stored
from .cursor import read_cursor, write_cursor
from .vectors import Vectors, check_fingerprint, check_search, fits

__all__ = ["InMemoryStore"]

_SWEEP_AFTER = 256


@dataclass(slots=True)  # not frozen, for that costs more than the rest of a put; never changed
class _Row:
    """An entry as it is kept: value and metadata as text, so that nothing is shared with callers."""

    id: str
    value: str
    metadata: str
    created: float
    number: int
    expires: float | None
    version: str
    embedding: Embedding | None

    @property
    def place(self) -> tuple[float, int, str]:
        return (self.created, self.number, self.id)

    def entry(self) -> MemoryEntry:
        return stored(
            self.id,
            from_json(self.value, "an entry"),
            from_json(self.metadata, "an entry's metadata") if self.metadata != "{}" else {},
            self.created,
            self.expires,
            self.version,
            self.embedding,
        )


@dataclass(slots=True)
class _Space:
    """The entries of one identity; `order` holds their places, oldest first, `fingerprint` says whose
    embeddings they have."""

    rows: dict[str, _Row] = field(default_factory=dict)
    order: list[tuple[float, int, str]] = field(default_factory=list)
    fingerprint: str | None = None
    searched: tuple[list[_Row], Vectors] | None = None

    def find(self, entry_id: str, now: float) -> _Row | None:
        row = self.rows.get(entry_id)
        return row if row is not None and alive(row.expires, now) else None

    def remove(self, entry_id: str) -> _Row | None:
        row = self.rows.pop(entry_id, None)
        if row is not None:
            del self.order[bisect_left(self.order, row.place)]
            if row.embedding is not None:
                self.searched = None
        return row

    def add(self, row: _Row) -> None:
        place, old = row.place, self.rows.get(row.id)
        if old is None or old.place != place:
            self.remove(row.id)
            insort(self.order, place)
        self.rows[row.id] = row
        if row.embedding is not None or (old is not None and old.embedding is not None):
            self.searched = None

    def vectors(self) -> tuple[list[_Row], Vectors]:
        """The rows that have an embedding, oldest first, and their vectors."""
        if self.searched is None:
            placed = (self.rows[place[2]] for place in self.order)
            rows = [row for row in placed if row.embedding is not None]
            self.searched = rows, Vectors([row.embedding.data for row in rows if row.embedding])
        return self.searched


class InMemoryStore(Closing):
    """A `MemoryStore` in this process's memory, safe to use from several threads and event loops.

    Args:
        clock: seconds since the epoch; tests give one they can move.
    """

    durable = False
    profile: Profile = "full"

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._spaces: dict[MemoryIdentity, _Space] = {}
        self._lock = Lock()
        self._numbers = count(1)
        self._sweep_in = _SWEEP_AFTER
        self._closed = False

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        self._check_open()
        texts = _texts(entry)
        now = self._clock()
        with self._lock:
            self._check_embedded(identity, [entry])
            if expected is not None:
                row = self._find(identity, entry.id, now)
                if (row.version if row else "") != expected:
                    return None
            return self._write(identity, entry, texts, now)

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        self._check_open()
        texts = [_texts(entry) for entry in entries]
        now = self._clock()
        with self._lock:
            self._check_embedded(identity, entries)
            pairs = zip(entries, texts, strict=True)
            return [self._write(identity, entry, text, now) for entry, text in pairs]

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        self._check_open()
        check_part("a memory entry's id", entry_id)
        with self._lock:
            row = self._find(identity, entry_id, self._clock())
        return row.entry() if row else None

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        self._check_open()
        check_limit(limit, 1)
        before = None if cursor is None else read_cursor(cursor)
        now = self._clock()
        rows: list[_Row] = []
        with self._lock:
            space = self._spaces.get(identity) or _Space()
            index = len(space.order) if before is None else bisect_left(space.order, before)
            while index and len(rows) <= limit:
                index -= 1
                row = space.rows[space.order[index][2]]
                if alive(row.expires, now):
                    rows.append(row)
        entries = tuple(row.entry() for row in rows[:limit])
        if len(rows) <= limit:
            return Page(entries)
        return Page(entries, write_cursor(rows[limit - 1].created, rows[limit - 1].number))

    async def search(
        self,
        identity: MemoryIdentity,
        query: Embedding,
        *,
        k: int = 10,
        min_score: float | None = None,
        where: Filter | None = None,
    ) -> Sequence[Match]:
        self._check_open()
        wanted, now = check_search(k, where), self._clock()
        found: list[Match] = []
        with self._lock:
            space = self._spaces.get(identity) or _Space()
            check_fingerprint(space.fingerprint, query.fingerprint)
            rows, vectors = space.vectors()
        for at, score in vectors.nearest(query, min_score):
            row = rows[at]
            if alive(row.expires, now) and (not wanted or fits(row.entry().metadata, wanted)):
                found.append(Match(row.entry(), score))
                if len(found) == k:
                    break
        return found

    async def delete(self, identity: MemoryIdentity, entry_id: str) -> bool:
        self._check_open()
        check_part("a memory entry's id", entry_id)
        with self._lock:
            space = self._spaces.get(identity)
            row = space.remove(entry_id) if space else None
            if space and not space.rows and space.fingerprint is None:
                del self._spaces[identity]
        return row is not None and alive(row.expires, self._clock())

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        self._check_open()
        now = self._clock()
        with self._lock:
            if descendants:
                prefix = namespace_prefix(identity)
                reached = [each for each in self._spaces if namespace(each).startswith(prefix)]
            else:
                reached = [identity] if identity in self._spaces else []
            rows = [row for each in reached for row in self._spaces.pop(each).rows.values()]
        return sum(alive(row.expires, now) for row in rows)

    async def aclose(self) -> None:
        self._closed = True
        self._spaces.clear()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("this in-memory store was closed, its content is gone: make a new one")

    def _check_embedded(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> None:
        """Refuses embeddings of another embedder than those that are there, or than each other."""
        space = self._spaces.get(identity)
        known = space.fingerprint if space else None
        for entry in entries:
            if entry.embedding is not None:
                check_fingerprint(known, entry.embedding.fingerprint)
                known = entry.embedding.fingerprint

    def _find(self, identity: MemoryIdentity, entry_id: str, now: float) -> _Row | None:
        space = self._spaces.get(identity)
        return space.find(entry_id, now) if space else None

    def _write(
        self, identity: MemoryIdentity, entry: MemoryEntry, texts: tuple[str, str], now: float
    ) -> MemoryEntry:
        space = self._spaces.get(identity)
        if space is None:
            space = self._spaces[identity] = _Space()
        old = space.find(entry.id, now)
        number = next(self._numbers)
        created = entry.created
        if created is None:
            created = old.created if old else now
        row = _Row(
            entry.id,
            *texts,
            created,
            old.number if old else number,
            entry.expires,
            str(number),
            entry.embedding,
        )
        space.add(row)
        if entry.embedding is not None:
            space.fingerprint = entry.embedding.fingerprint
        self._written(entry.expires, now)
        return stored(
            entry.id, entry.value, entry.metadata, created, entry.expires, row.version, entry.embedding
        )

    def _written(self, expires: float | None, now: float) -> None:
        """Collects what expired once as much may have expired as there is: constant cost per write."""
        if expires is None:
            return
        self._sweep_in -= 1
        if self._sweep_in > 0:
            return
        for identity, space in list(self._spaces.items()):
            rows = {row.id: row for row in space.rows.values() if alive(row.expires, now)}
            if rows:
                order = sorted(row.place for row in rows.values())
                self._spaces[identity] = _Space(rows, order, space.fingerprint)
            else:
                del self._spaces[identity]
        self._sweep_in = max(sum(len(space.rows) for space in self._spaces.values()), _SWEEP_AFTER)


def _texts(entry: MemoryEntry) -> tuple[str, str]:
    return to_json(entry.value), to_json(dict(entry.metadata)) if entry.metadata else "{}"
