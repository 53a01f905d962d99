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
    """An entry as it is kept: value and metadata as text, so that nothing is shared with callers.

    `place` is `created`, the number of its first write and the id.
    """

    value: str
    metadata: str
    place: tuple[float, int, str]
    expires: float | None
    version: str
    embedding: Embedding | None

    def entry(self) -> MemoryEntry:
        return stored(
            self.place[2],
            from_json(self.value, "an entry"),
            from_json(self.metadata, "an entry's metadata") if self.metadata != "{}" else {},
            self.place[0],
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
        place = row.place
        old = self.rows.get(place[2])
        if old is None or old.place != place:
            if old is not None:
                self.remove(place[2])
            if not self.order or self.order[-1] < place:
                self.order.append(place)  # Most entries are the newest: no need to look for their place.
            else:
                insort(self.order, place)
        self.rows[place[2]] = row
        if row.embedding is not None:
            self.searched, self.fingerprint = None, row.embedding.fingerprint
        elif old is not None and old.embedding is not None:
            self.searched = None

    def check(self, entries: Sequence[MemoryEntry]) -> None:
        """Refuses embeddings of another embedder than those that are there, or than each other."""
        known = self.fingerprint
        for entry in entries:
            if entry.embedding is not None:
                check_fingerprint(known, entry.embedding.fingerprint)
                known = entry.embedding.fingerprint

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
            space = self._spaces.get(identity) or _Space()
            if entry.embedding is not None:
                space.check([entry])
            if expected is not None:
                row = space.find(entry.id, now)
                if (row.version if row else "") != expected:
                    return None
            if not space.rows:
                self._spaces[identity] = space
            written = self._write(space, entry, texts, now)
            if entry.expires is not None:
                self._collect(1, now)
        return written

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        self._check_open()
        texts = [_texts(entry) for entry in entries]
        now = self._clock()
        with self._lock:
            space = self._spaces.get(identity) or _Space()
            space.check(entries)
            if entries and not space.rows:
                self._spaces[identity] = space
            pairs = zip(entries, texts, strict=True)
            written = [self._write(space, entry, text, now) for entry, text in pairs]
            self._collect(sum(entry.expires is not None for entry in entries), now)
        return written

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        self._check_open()
        check_part("a memory entry's id", entry_id)
        now = self._clock()
        with self._lock:
            space = self._spaces.get(identity)
            row = space.find(entry_id, now) if space else None
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
        return Page(entries, write_cursor(*rows[limit - 1].place[:2]))

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

    def _write(self, space: _Space, entry: MemoryEntry, texts: tuple[str, str], now: float) -> MemoryEntry:
        old = space.find(entry.id, now)
        number = next(self._numbers)
        created = entry.created
        if created is None:
            created = old.place[0] if old else now
        place = (created, old.place[1] if old else number, entry.id)
        row = _Row(*texts, place, entry.expires, str(number), entry.embedding)
        space.add(row)
        return stored(
            entry.id, entry.value, entry.metadata, created, entry.expires, row.version, entry.embedding
        )

    def _collect(self, written: int, now: float) -> None:
        """Removes what expired once as much may have expired as there is: constant cost per write."""
        self._sweep_in -= written
        if self._sweep_in > 0:
            return
        for identity, space in list(self._spaces.items()):
            rows = {name: row for name, row in space.rows.items() if alive(row.expires, now)}
            if rows:
                order = sorted(row.place for row in rows.values())
                self._spaces[identity] = _Space(rows, order, space.fingerprint)
            else:
                del self._spaces[identity]
        self._sweep_in = max(sum(len(space.rows) for space in self._spaces.values()), _SWEEP_AFTER)


def _texts(entry: MemoryEntry) -> tuple[str, str]:
    return to_json(entry.value), to_json(dict(entry.metadata)) if entry.metadata else "{}"
