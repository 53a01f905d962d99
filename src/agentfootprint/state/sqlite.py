"""Shared state in one SQLite file: for one machine, any number of processes."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from typing import Self
from uuid import uuid4

from ..identity import MemoryIdentity, namespace, namespace_prefix
from ..loops import Closing
from .base import JSON, LogRecord, Record, StateKey
from .sqlite_file import Schema, SQLiteFile
from .values import alive, check_limit, deadline, from_json, to_json, total

__all__ = ["SQLiteState"]

# AUTOINCREMENT: a log's sequence goes on growing when its newest entries have expired.
_SCHEMA = Schema(
    name="state",
    steps=(
        (
            "CREATE TABLE agentfootprint_record"
            " (key TEXT PRIMARY KEY, value TEXT NOT NULL, version TEXT NOT NULL, expires REAL)",
            "CREATE TABLE agentfootprint_counter"
            " (key TEXT PRIMARY KEY, total INTEGER NOT NULL, expires REAL)",
            "CREATE TABLE agentfootprint_log (sequence INTEGER PRIMARY KEY AUTOINCREMENT,"
            " key TEXT NOT NULL, value TEXT NOT NULL, expires REAL)",
            "CREATE INDEX agentfootprint_log_key ON agentfootprint_log (key)",
            "CREATE INDEX agentfootprint_record_expires ON agentfootprint_record (expires)"
            " WHERE expires IS NOT NULL",
            "CREATE INDEX agentfootprint_counter_expires ON agentfootprint_counter (expires)"
            " WHERE expires IS NOT NULL",
            "CREATE INDEX agentfootprint_log_expires ON agentfootprint_log (expires)"
            " WHERE expires IS NOT NULL",
        ),
    ),
)

_GET = "SELECT value, version, expires FROM agentfootprint_record WHERE key = ?"
_GET_VERSION = "SELECT version, expires FROM agentfootprint_record WHERE key = ?"
_SET = (
    "INSERT INTO agentfootprint_record (key, value, version, expires) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version,"
    " expires = excluded.expires"
)
_GET_TOTAL = "SELECT total, expires FROM agentfootprint_counter WHERE key = ?"
_SET_TOTAL = (
    "INSERT INTO agentfootprint_counter (key, total, expires) VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET total = excluded.total, expires = excluded.expires"
)
_APPEND = "INSERT INTO agentfootprint_log (key, value, expires) VALUES (?, ?, ?)"
_READ = (
    "SELECT sequence, value FROM agentfootprint_log"
    " WHERE key = ? AND sequence > ? AND (expires IS NULL OR expires > ?) ORDER BY sequence LIMIT ?"
)
_DELETE = (
    "DELETE FROM agentfootprint_record WHERE key = ?",
    "DELETE FROM agentfootprint_counter WHERE key = ?",
    "DELETE FROM agentfootprint_log WHERE key = ?",
)
_COUNT_RANGE = (
    "SELECT count(*) FROM ("
    " SELECT key FROM agentfootprint_record"
    "  WHERE key >= :low AND key < :high AND (expires IS NULL OR expires > :now)"
    " UNION SELECT key FROM agentfootprint_counter"
    "  WHERE key >= :low AND key < :high AND (expires IS NULL OR expires > :now)"
    " UNION SELECT key FROM agentfootprint_log"
    "  WHERE key >= :low AND key < :high AND (expires IS NULL OR expires > :now))"
)
_DELETE_RANGE = (
    "DELETE FROM agentfootprint_record WHERE key >= :low AND key < :high",
    "DELETE FROM agentfootprint_counter WHERE key >= :low AND key < :high",
    "DELETE FROM agentfootprint_log WHERE key >= :low AND key < :high",
)
# Each write takes a few expired rows along, so that none pile up and no write waits for many.
_COLLECT_RECORDS = (
    "DELETE FROM agentfootprint_record WHERE rowid IN"
    " (SELECT rowid FROM agentfootprint_record WHERE expires <= ? LIMIT 20)"
)
_COLLECT_COUNTERS = (
    "DELETE FROM agentfootprint_counter WHERE rowid IN"
    " (SELECT rowid FROM agentfootprint_counter WHERE expires <= ? LIMIT 20)"
)
_COLLECT_LOG = (
    "DELETE FROM agentfootprint_log WHERE sequence IN"
    " (SELECT sequence FROM agentfootprint_log WHERE expires <= ? LIMIT 20)"
)


class SQLiteState(Closing):
    """A `StateStore` in a SQLite file (WAL), shared by any number of processes of one machine.

    The file is created at its first use and may also hold a `SQLiteStore`. A `compare_and_set` that
    returned, and a `forget`, survive a power cut; other writes survive a killed process.

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

    async def check(self) -> None:
        await self._file.check()

    async def get(self, key: StateKey) -> Record | None:
        encoded = key.encoded
        row = await self._file.read(lambda db: db.execute(_GET, (encoded,)).fetchone())
        if row is None or not alive(row[2], self._clock()):
            return None
        return Record(from_json(row[0], self._where("record", key)), row[1])

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: JSON, *, ttl: float | None = None
    ) -> Record | None:
        encoded, text, version = key.encoded, to_json(value), uuid4().hex

        def work(db: sqlite3.Connection) -> bool:
            now = self._clock()
            row = db.execute(_GET_VERSION, (encoded,)).fetchone()
            current = row[0] if row is not None and alive(row[1], now) else None
            if current != expected:
                return False
            db.execute(_SET, (encoded, text, version, deadline(now, ttl)))
            db.execute(_COLLECT_RECORDS, (now,))
            return True

        if not await self._file.write(work, full=True):
            return None
        return Record(from_json(text, self._where("record", key)), version)

    async def increment(
        self, key: StateKey, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        encoded = key.encoded

        def work(db: sqlite3.Connection) -> int | None:
            now = self._clock()
            before, expires = 0, deadline(now, ttl)
            row = db.execute(_GET_TOTAL, (encoded,)).fetchone()
            if row is not None and alive(row[1], now):
                before, expires = row
            after = total(before, by, limit)
            if after is not None:
                db.execute(_SET_TOTAL, (encoded, after, expires))
                db.execute(_COLLECT_COUNTERS, (now,))
            return after

        return await self._file.write(work)

    async def append(self, key: StateKey, value: JSON, *, ttl: float | None = None) -> int:
        encoded, text = key.encoded, to_json(value)

        def work(db: sqlite3.Connection) -> int:
            now = self._clock()
            sequence = db.execute(_APPEND, (encoded, text, deadline(now, ttl))).lastrowid
            db.execute(_COLLECT_LOG, (now,))
            assert sequence is not None
            return sequence

        return await self._file.write(work)

    async def read(self, key: StateKey, *, after: int = 0, limit: int | None = None) -> list[LogRecord]:
        check_limit(limit, 0)
        what = (key.encoded, after, self._clock(), -1 if limit is None else limit)
        rows = await self._file.read(lambda db: db.execute(_READ, what).fetchall())
        where = self._where("log", key)
        return [
            LogRecord(sequence, from_json(text, f"{where}, entry {sequence},")) for sequence, text in rows
        ]

    async def delete(self, key: StateKey) -> None:
        encoded = key.encoded

        def work(db: sqlite3.Connection) -> None:
            for statement in _DELETE:
                db.execute(statement, (encoded,))

        await self._file.write(work)

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        # Keys are namespace, "|", kind and name; the last character's successor ends the range.
        low = namespace_prefix(identity) if descendants else namespace(identity) + "|"
        high = low[:-1] + chr(ord(low[-1]) + 1)

        def work(db: sqlite3.Connection) -> int:
            bounds = {"low": low, "high": high, "now": self._clock()}
            count: int = db.execute(_COUNT_RANGE, bounds).fetchone()[0]
            for statement in _DELETE_RANGE:
                db.execute(statement, bounds)
            return count

        return await self._file.write(work, full=True)

    async def aclose(self) -> None:
        await self._file.aclose()

    def _where(self, what: str, key: StateKey) -> str:
        return f"{self._file.path}: a {what} of kind {key.kind!r}"
