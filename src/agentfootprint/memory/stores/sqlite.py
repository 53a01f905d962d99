"""Memory entries in one SQLite file: for one machine, any number of processes."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

from ...embedders.base import Embedding
from ...identity import MemoryIdentity, check_part, namespace, namespace_prefix
from ...loops import Closing
from ...state.sqlite_file import Schema, SQLiteFile
from ...state.values import alive, check_limit, from_json, to_json
from ..base import Filter, Match, MemoryEntry, Page, Profile, stored
from . import sqlite_distance
from .cursor import read_cursor, write_cursor
from .vectors import Vectors, check_fingerprint, check_search, fits

__all__ = ["SQLiteStore"]

_SCHEMA = Schema(
    name="memory",
    steps=(
        (
            "CREATE TABLE agentfootprint_memory ("
            " number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL,"
            " metadata TEXT NOT NULL, created REAL NOT NULL, expires REAL, version TEXT NOT NULL,"
            " UNIQUE (namespace, id))",
            "CREATE INDEX agentfootprint_memory_newest ON agentfootprint_memory (namespace, created, number)",
            "CREATE INDEX agentfootprint_memory_expires ON agentfootprint_memory (expires)"
            " WHERE expires IS NOT NULL",
        ),
        (
            "CREATE TABLE agentfootprint_vector ("
            " number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, data BLOB NOT NULL)",
            "CREATE INDEX agentfootprint_vector_namespace ON agentfootprint_vector (namespace)",
            # What an identity's entries are embedded with. `state` is another one after every change of
            # its vectors: what a process knows of them is right for as long as it is the same.
            "CREATE TABLE agentfootprint_space (namespace TEXT PRIMARY KEY, fingerprint TEXT NOT NULL,"
            " state BLOB NOT NULL) WITHOUT ROWID",
            "CREATE TRIGGER agentfootprint_memory_gone AFTER DELETE ON agentfootprint_memory BEGIN"
            " DELETE FROM agentfootprint_vector WHERE number = old.number; END",
            "CREATE TRIGGER agentfootprint_vector_gone AFTER DELETE ON agentfootprint_vector BEGIN"
            " UPDATE agentfootprint_space SET state = randomblob(8) WHERE namespace = old.namespace; END",
            "CREATE TRIGGER agentfootprint_vector_new AFTER INSERT ON agentfootprint_vector BEGIN"
            " UPDATE agentfootprint_space SET state = randomblob(8) WHERE namespace = new.namespace; END",
        ),
    ),
)

_FIND = "SELECT version, created, expires, number FROM agentfootprint_memory WHERE namespace = ? AND id = ?"
_INSERT = (
    "INSERT INTO agentfootprint_memory (value, metadata, created, expires, version, namespace, id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE agentfootprint_memory SET value = ?, metadata = ?, created = ?, expires = ?, version = ?"
    " WHERE namespace = ? AND id = ?"
)
# A name for each alternative: a statement is text of this file and nothing else.
_ROWS = (
    "SELECT m.id, m.value, m.metadata, m.created, m.expires, m.version, m.number, s.fingerprint, v.data"
    " FROM agentfootprint_memory AS m LEFT JOIN agentfootprint_vector AS v ON v.number = m.number"
    " LEFT JOIN agentfootprint_space AS s ON v.number IS NOT NULL AND s.namespace = m.namespace"
)
_GET = f"{_ROWS} WHERE m.namespace = ? AND m.id = ? AND (m.expires IS NULL OR m.expires > ?)"
_LIST = (
    f"{_ROWS} WHERE m.namespace = ? AND (m.expires IS NULL OR m.expires > ?)"
    " ORDER BY m.created DESC, m.number DESC LIMIT ?"
)
_LIST_BEFORE = (
    f"{_ROWS} WHERE m.namespace = ? AND (m.created, m.number) < (?, ?)"
    " AND (m.expires IS NULL OR m.expires > ?) ORDER BY m.created DESC, m.number DESC LIMIT ?"
)
_NUMBERED = f"{_ROWS} WHERE m.number = ? AND (m.expires IS NULL OR m.expires > ?)"
_SPACE = "SELECT fingerprint, state FROM agentfootprint_space WHERE namespace = ?"
_NEW_SPACE = (
    "INSERT OR IGNORE INTO agentfootprint_space (namespace, fingerprint, state) VALUES (?, ?, randomblob(8))"
)
_VECTORS = (
    "SELECT v.number, v.data FROM agentfootprint_vector AS v"
    " JOIN agentfootprint_memory AS m ON m.number = v.number"
    " WHERE v.namespace = ? ORDER BY m.created, m.number"
)
_SET_VECTOR = "INSERT INTO agentfootprint_vector (number, namespace, data) VALUES (?, ?, ?)"
_DELETE_VECTOR = "DELETE FROM agentfootprint_vector WHERE number = ?"
_DELETE_SPACES = "DELETE FROM agentfootprint_space WHERE namespace >= ? AND namespace < ?"
_DELETE = "DELETE FROM agentfootprint_memory WHERE namespace = ? AND id = ?"
_COUNT_RANGE = (
    "SELECT count(*) FROM agentfootprint_memory"
    " WHERE namespace >= ? AND namespace < ? AND (expires IS NULL OR expires > ?)"
)
_DELETE_RANGE = "DELETE FROM agentfootprint_memory WHERE namespace >= ? AND namespace < ?"
# Each write takes a few expired rows along, so that none pile up and no write waits for many.
_COLLECT = (
    "DELETE FROM agentfootprint_memory WHERE number IN"
    " (SELECT number FROM agentfootprint_memory WHERE expires <= ? LIMIT 20)"
)


KEPT_BYTES = 256 * 2**20
"""Of vectors that a store keeps in memory."""


@dataclass(frozen=True, slots=True)
class _Known:
    """The vectors of a namespace, oldest first, as they were in a state of it."""

    state: bytes
    numbers: list[int]
    vectors: Vectors


class SQLiteStore(Closing):
    """A `MemoryStore` in a SQLite file (WAL), shared by any number of processes of one machine.

    The file is created at its first use and may also hold a `SQLiteState`. A `forget` and a `put`
    with `expected` that returned survive a power cut; other writes survive a killed process.

    Args:
        path: the database file; its folder must exist.
        timeout: seconds to wait for other processes' writes before `StoreUnavailable`.
        clock: seconds since the epoch; tests give one they can move.
    """

    durable = True
    profile: Profile = "full"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = SQLiteFile(path, _SCHEMA, timeout)
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._compares: tuple[sqlite3.Connection, bool] | None = None

    async def __aenter__(self) -> Self:
        await self._file.open()
        return self

    async def check(self) -> None:
        await self._file.check()

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        space = namespace(identity)
        texts = to_json(entry.value), to_json(dict(entry.metadata))

        def work(db: sqlite3.Connection) -> MemoryEntry | None:
            return _write(db, space, entry, texts, self._clock(), expected)

        return await self._file.write(work, full=expected is not None)

    async def put_many(self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        space = namespace(identity)
        texts = [(to_json(entry.value), to_json(dict(entry.metadata))) for entry in entries]

        def work(db: sqlite3.Connection) -> list[MemoryEntry]:
            now = self._clock()
            pairs = zip(entries, texts, strict=True)
            written = (_write(db, space, entry, text, now, None) for entry, text in pairs)
            return [entry for entry in written if entry is not None]

        return await self._file.write(work)

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        check_part("a memory entry's id", entry_id)
        what = (namespace(identity), entry_id, self._clock())
        row = await self._file.read(lambda db: db.execute(_GET, what).fetchone())
        return None if row is None else self._entry(row)

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        check_limit(limit, 1)
        space, now = namespace(identity), self._clock()
        statement, place = (_LIST, ()) if cursor is None else (_LIST_BEFORE, read_cursor(cursor))
        what = (space, *place, now, limit + 1)
        rows = await self._file.read(lambda db: db.execute(statement, what).fetchall())
        entries = tuple(self._entry(row) for row in rows[:limit])
        if len(rows) <= limit:
            return Page(entries)
        return Page(entries, write_cursor(rows[limit - 1][3], rows[limit - 1][6]))

    async def search(
        self,
        identity: MemoryIdentity,
        query: Embedding,
        *,
        k: int = 10,
        min_score: float | None = None,
        where: Filter | None = None,
    ) -> Sequence[Match]:
        wanted, space, now = check_search(k, where), namespace(identity), self._clock()

        def work(db: sqlite3.Connection) -> list[Match]:
            found: list[Match] = []
            for number, score in self._nearest(db, space, query, min_score):
                row = db.execute(_NUMBERED, (number, now)).fetchone()
                if row is not None and fits((entry := self._entry(row)).metadata, wanted):
                    found.append(Match(entry, score))
                    if len(found) == k:
                        break
            return found

        return await self._file.read(work)

    async def delete(self, identity: MemoryIdentity, entry_id: str) -> bool:
        check_part("a memory entry's id", entry_id)
        space = namespace(identity)

        def work(db: sqlite3.Connection) -> bool:
            row = db.execute(_FIND, (space, entry_id)).fetchone()
            db.execute(_DELETE, (space, entry_id))
            return row is not None and alive(row[2], self._clock())

        return await self._file.write(work)

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        # Every namespace ends with "/"; its successor "0" ends the range of those it starts.
        low = namespace_prefix(identity) if descendants else namespace(identity)
        high = low[:-1] + "0"

        def work(db: sqlite3.Connection) -> int:
            count: int = db.execute(_COUNT_RANGE, (low, high, self._clock())).fetchone()[0]
            db.execute(_DELETE_RANGE, (low, high))
            db.execute(_DELETE_SPACES, (low, high))
            return count

        return await self._file.write(work, full=True)

    async def aclose(self) -> None:
        await self._file.aclose()

    def _nearest(
        self, db: sqlite3.Connection, space: str, query: Embedding, min_score: float | None
    ) -> Iterator[tuple[int, float]]:
        """Numbers and similarities of a namespace's entries, the most similar first."""
        row = db.execute(_SPACE, (space,)).fetchone()
        if row is None:
            return
        check_fingerprint(row[0], query.fingerprint)
        if self._compares is None or self._compares[0] is not db:
            self._compares = (db, sqlite_distance.can_compare(db))
        if self._compares[1]:
            yield from sqlite_distance.nearest(db, space, query, min_score)
            return
        known = self._vectors(db, space, row[1])
        for at, score in known.vectors.nearest(query, min_score):
            yield known.numbers[at], score

    def _vectors(self, db: sqlite3.Connection, space: str, state: bytes) -> _Known:
        """The vectors of a namespace; those of the namespaces searched last are kept."""
        known = self._known.pop(space, None)
        if known is None or known.state != state:
            pairs = db.execute(_VECTORS, (space,)).fetchall()
            known = _Known(state, [number for number, _ in pairs], Vectors([data for _, data in pairs]))
        self._known[space] = known
        while len(self._known) > 1 and sum(each.vectors.size for each in self._known.values()) > KEPT_BYTES:
            self._known.popitem(last=False)
        return known

    def _entry(self, row: tuple[Any, ...]) -> MemoryEntry:
        entry_id, value, metadata, created, expires, version, number, fingerprint, data = row
        where = f"{self._file.path}: row {number} of agentfootprint_memory"
        return stored(
            entry_id,
            from_json(value, where),
            from_json(metadata, where),
            created,
            expires,
            version,
            None if data is None else Embedding(fingerprint, data),
        )


def _write(
    db: sqlite3.Connection,
    space: str,
    entry: MemoryEntry,
    texts: tuple[str, str],
    now: float,
    expected: str | None,
) -> MemoryEntry | None:
    old = db.execute(_FIND, (space, entry.id)).fetchone()
    if old is not None and not alive(old[2], now):
        db.execute(_DELETE, (space, entry.id))
        old = None
    if expected is not None and (old[0] if old else "") != expected:
        return None
    created = entry.created
    if created is None:
        created = old[1] if old else now
    version = uuid4().hex
    written = db.execute(
        _UPDATE if old else _INSERT, (*texts, created, entry.expires, version, space, entry.id)
    )
    if old is not None:
        db.execute(_DELETE_VECTOR, (old[3],))
    if entry.embedding is not None:
        db.execute(_NEW_SPACE, (space, entry.embedding.fingerprint))
        check_fingerprint(db.execute(_SPACE, (space,)).fetchone()[0], entry.embedding.fingerprint)
        number = old[3] if old else written.lastrowid
        db.execute(_SET_VECTOR, (number, space, entry.embedding.data))
    db.execute(_COLLECT, (now,))
    return stored(entry.id, entry.value, entry.metadata, created, entry.expires, version, entry.embedding)
