"""Memory entries in one SQLite file: for one machine, any number of processes."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self
from uuid import uuid4

from ...identity import MemoryIdentity, check_part, namespace, namespace_prefix
from ...loops import Closing
from ...state.sqlite_file import Schema, SQLiteFile
from ...state.values import alive, check_limit, from_json, to_json
from ..base import MemoryEntry, Page
from .cursor import read_cursor, write_cursor

__all__ = ["SQLiteStore"]

_SCHEMA = Schema(
    name="memory",
    version=1,
    statements=(
        "CREATE TABLE agentfootprint_memory ("
        " number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, id TEXT NOT NULL, value TEXT NOT NULL,"
        " metadata TEXT NOT NULL, created REAL NOT NULL, expires REAL, version TEXT NOT NULL,"
        " UNIQUE (namespace, id))",
        "CREATE INDEX agentfootprint_memory_newest ON agentfootprint_memory (namespace, created, number)",
        "CREATE INDEX agentfootprint_memory_expires ON agentfootprint_memory (expires)"
        " WHERE expires IS NOT NULL",
    ),
)

_FIND = "SELECT version, created, expires FROM agentfootprint_memory WHERE namespace = ? AND id = ?"
_INSERT = (
    "INSERT INTO agentfootprint_memory (value, metadata, created, expires, version, namespace, id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE agentfootprint_memory SET value = ?, metadata = ?, created = ?, expires = ?, version = ?"
    " WHERE namespace = ? AND id = ?"
)
_GET = (
    "SELECT id, value, metadata, created, expires, version, number FROM agentfootprint_memory"
    " WHERE namespace = ? AND id = ? AND (expires IS NULL OR expires > ?)"
)
_LIST = (
    "SELECT id, value, metadata, created, expires, version, number FROM agentfootprint_memory"
    " WHERE namespace = ? AND (expires IS NULL OR expires > ?)"
    " ORDER BY created DESC, number DESC LIMIT ?"
)
_LIST_BEFORE = (
    "SELECT id, value, metadata, created, expires, version, number FROM agentfootprint_memory"
    " WHERE namespace = ? AND (created, number) < (?, ?) AND (expires IS NULL OR expires > ?)"
    " ORDER BY created DESC, number DESC LIMIT ?"
)
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

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = SQLiteFile(path, _SCHEMA, timeout)
        self._clock = clock

    async def __aenter__(self) -> Self:
        await self._file.open()
        return self

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
            return count

        return await self._file.write(work, full=True)

    async def aclose(self) -> None:
        await self._file.aclose()

    def _entry(self, row: tuple[Any, ...]) -> MemoryEntry:
        entry_id, value, metadata, created, expires, version, number = row
        where = f"{self._file.path}: row {number} of agentfootprint_memory"
        return MemoryEntry(
            entry_id, from_json(value, where), from_json(metadata, where), created, expires, version
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
    db.execute(_UPDATE if old else _INSERT, (*texts, created, entry.expires, version, space, entry.id))
    db.execute(_COLLECT, (now,))
    return replace(entry, created=created, version=version)
