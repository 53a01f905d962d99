"""Shared state in PostgreSQL: one statement for every decision."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, LiteralString

from ..errors import UnsupportedValue
from ..identity import MemoryIdentity, namespace, namespace_prefix
from ..loops import Closing
from .base import JSON, LogRecord, Record, StateKey
from .postgres_pool import PostgresPool
from .values import check_limit, deadline, from_json, to_json, total

if TYPE_CHECKING:
    from psycopg import AsyncConnection

__all__ = ["PostgresState"]

SWEEP_EVERY = 100
"""Every so many writes, what has expired is collected."""

# Keys compare byte by byte: those of an identity are one range of the index.
_SCHEMA: tuple[LiteralString, ...] = (
    'CREATE TABLE IF NOT EXISTS agentfootprint_record (key text COLLATE "C" PRIMARY KEY,'
    " value text NOT NULL, version text NOT NULL, expires double precision)",
    'CREATE TABLE IF NOT EXISTS agentfootprint_counter (key text COLLATE "C" PRIMARY KEY,'
    " total bigint NOT NULL, expires double precision)",
    "CREATE TABLE IF NOT EXISTS agentfootprint_log (sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    ' key text COLLATE "C" NOT NULL, value text NOT NULL, expires double precision)',
    "CREATE INDEX IF NOT EXISTS agentfootprint_log_key ON agentfootprint_log (key, sequence)",
    "CREATE INDEX IF NOT EXISTS agentfootprint_record_expires ON agentfootprint_record (expires)"
    " WHERE expires IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS agentfootprint_counter_expires ON agentfootprint_counter (expires)"
    " WHERE expires IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS agentfootprint_log_expires ON agentfootprint_log (expires)"
    " WHERE expires IS NOT NULL",
)

_GET: LiteralString = (
    "SELECT value, version FROM agentfootprint_record"
    " WHERE key = %(key)s AND (expires IS NULL OR expires > %(now)s)"
)
# A version that is the new one already was written by an attempt whose answer was lost.
_CREATE: LiteralString = (
    "INSERT INTO agentfootprint_record AS r (key, value, version, expires)"
    " VALUES (%(key)s, %(value)s, %(version)s, %(expires)s)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version,"
    " expires = excluded.expires WHERE r.expires <= %(now)s OR r.version = %(version)s RETURNING 1"
)
_REPLACE: LiteralString = (
    "UPDATE agentfootprint_record SET value = %(value)s, version = %(version)s, expires = %(expires)s"
    " WHERE key = %(key)s AND (version = %(version)s"
    " OR version = %(expected)s AND (expires IS NULL OR expires > %(now)s)) RETURNING 1"
)
_ADD: LiteralString = (
    "UPDATE agentfootprint_counter AS c SET"
    " total = CASE WHEN c.expires <= %(now)s THEN 0 ELSE c.total END + %(by)s,"
    " expires = CASE WHEN c.expires <= %(now)s THEN %(expires)s ELSE c.expires END"
    " WHERE c.key = %(key)s AND (%(limit)s::numeric IS NULL"
    " OR CASE WHEN c.expires <= %(now)s THEN 0 ELSE c.total END::numeric + %(by)s <= %(limit)s::numeric)"
    " RETURNING total"
)
_ADD_OR_BEGIN: LiteralString = (
    "INSERT INTO agentfootprint_counter AS c (key, total, expires)"
    " VALUES (%(key)s, %(by)s, %(expires)s) ON CONFLICT (key) DO UPDATE SET"
    " total = CASE WHEN c.expires <= %(now)s THEN 0 ELSE c.total END + %(by)s,"
    " expires = CASE WHEN c.expires <= %(now)s THEN %(expires)s ELSE c.expires END"
    " WHERE %(limit)s::numeric IS NULL"
    " OR CASE WHEN c.expires <= %(now)s THEN 0 ELSE c.total END::numeric + %(by)s <= %(limit)s::numeric"
    " RETURNING total"
)
_APPEND: LiteralString = (
    "INSERT INTO agentfootprint_log (key, value, expires) VALUES (%(key)s, %(value)s, %(expires)s)"
    " RETURNING sequence"
)
_READ: LiteralString = (
    "SELECT sequence, value FROM agentfootprint_log WHERE key = %(key)s AND sequence > %(after)s"
    " AND (expires IS NULL OR expires > %(now)s) ORDER BY sequence LIMIT %(limit)s"
)
_DELETE: LiteralString = (
    "WITH r AS (DELETE FROM agentfootprint_record WHERE key >= %(low)s AND key < %(high)s"
    " RETURNING key, expires),"
    " c AS (DELETE FROM agentfootprint_counter WHERE key >= %(low)s AND key < %(high)s"
    " RETURNING key, expires),"
    " l AS (DELETE FROM agentfootprint_log WHERE key >= %(low)s AND key < %(high)s"
    " RETURNING key, expires)"
    " SELECT count(DISTINCT key) FROM"
    " (SELECT * FROM r UNION ALL SELECT * FROM c UNION ALL SELECT * FROM l) AS gone"
    " WHERE expires IS NULL OR expires > %(now)s"
)
_SWEEP: LiteralString = (
    "WITH r AS (DELETE FROM agentfootprint_record WHERE expires <= %(now)s),"
    " c AS (DELETE FROM agentfootprint_counter WHERE expires <= %(now)s)"
    " DELETE FROM agentfootprint_log WHERE expires <= %(now)s"
)

_LOCK = 0x61676E74
"""The advisory lock under which instances that start together make the tables."""


class PostgresState(Closing):
    """A `StateStore` in PostgreSQL (`pip install 'agentfootprint[postgres]'`).

    Tables are made when they are missing, also when many instances start at once. Connections are
    pooled, checked before use, and belong to the event loop they were made in.

    Args:
        dsn: `postgresql://user:password@host/database`, or key=value pairs.
        schema: the schema of the tables; it is made when it is missing.
        max_connections: of one event loop.
        clock: seconds since the epoch.

    Raises:
        MissingExtra: psycopg is not installed.
        StoreUnavailable (when used): the server cannot be reached. An increment or append whose answer was
            lost may have happened; all else is asked again, since its outcome can be told.
    """

    durable = True

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "public",
        max_connections: int = 10,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = PostgresPool(
            "PostgresState",
            "the state store",
            dsn,
            schema,
            max_connections,
            self._make_tables,
            passing=("NumericValueOutOfRange",),
        )
        self._schema = schema
        self._clock = clock
        self._writes = itertools.count(1)

    async def get(self, key: StateKey) -> Record | None:
        row = await self._one(_GET, again=True, key=key.encoded, now=self._clock())
        return None if row is None else Record(from_json(row[0], f"the record {key.encoded!r}"), row[1])

    async def compare_and_set(
        self, key: StateKey, expected: str | None, value: JSON, *, ttl: float | None = None
    ) -> Record | None:
        text, now, version = to_json(value), self._clock(), secrets.token_hex(8)
        given = {
            "key": key.encoded,
            "expected": expected,
            "value": text,
            "version": version,
            "now": now,
            "expires": deadline(now, ttl),
        }
        await self._sweep(now)
        statement = _CREATE if expected is None else _REPLACE
        row = await self._one(statement, again=True, **given)
        return None if row is None else Record(from_json(text, key.encoded), version)

    async def increment(
        self, key: StateKey, by: int = 1, *, limit: int | None = None, ttl: float | None = None
    ) -> int | None:
        fresh = total(0, by, limit)
        now = self._clock()
        given: dict[str, Any] = {
            "key": key.encoded,
            "by": int(by),
            "limit": limit,
            "now": now,
            "expires": deadline(now, ttl),
        }
        await self._sweep(now)
        # A first increment above the limit begins no counter.
        statement = _ADD if fresh is None else _ADD_OR_BEGIN
        try:
            row = await self._one(statement, **given)
        except self._pool.errors.NumericValueOutOfRange:
            raise UnsupportedValue("a counter's total must fit into 64 bits") from None
        return None if row is None else int(row[0])

    async def append(self, key: StateKey, value: JSON, *, ttl: float | None = None) -> int:
        text, now = to_json(value), self._clock()
        await self._sweep(now)
        row = await self._one(_APPEND, key=key.encoded, value=text, expires=deadline(now, ttl))
        assert row is not None
        return int(row[0])

    async def read(self, key: StateKey, *, after: int = 0, limit: int | None = None) -> Sequence[LogRecord]:
        check_limit(limit, 0)
        given = {"key": key.encoded, "after": after, "now": self._clock(), "limit": limit}
        rows = await self._all(_READ, again=True, **given)
        where = f"the log {key.encoded!r}"
        return [
            LogRecord(sequence, from_json(text, f"entry {sequence} of {where}")) for sequence, text in rows
        ]

    async def delete(self, key: StateKey) -> None:
        await self._one(_DELETE, again=True, low=key.encoded, high=f"{key.encoded}\x01", now=0.0)

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        low = namespace_prefix(identity) if descendants else f"{namespace(identity)}|"
        row = await self._one(_DELETE, low=low, high=f"{low}\x7f", now=self._clock())
        assert row is not None
        return int(row[0])

    async def check(self) -> None:
        await self._pool.check()

    async def aclose(self) -> None:
        """Closes the pool of the running event loop; those of others are closed as their loops end."""
        await self._pool.aclose()

    def __repr__(self) -> str:
        return f"<PostgresState at {self._pool.where}>"

    # ── the server ──────────────────────────────────────────────────────────────────────────────

    async def _one(self, statement: LiteralString, *, again: bool = False, **given: Any) -> Any:
        rows = await self._all(statement, again=again, **given)
        return rows[0] if rows else None

    async def _all(self, statement: LiteralString, *, again: bool = False, **given: Any) -> Any:
        async def ask(connection: AsyncConnection[Any]) -> Any:
            cursor = await connection.execute(statement, given)
            return await cursor.fetchall() if cursor.description else ()

        return await self._pool.run(ask, again=again)

    async def _make_tables(self, connection: AsyncConnection[Any]) -> None:
        from psycopg import sql

        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if self._schema != "public":
            name = sql.Identifier(self._schema)
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
        for statement in _SCHEMA:
            await connection.execute(statement)

    async def _sweep(self, now: float) -> None:
        if next(self._writes) % SWEEP_EVERY == 0:
            await self._all(_SWEEP, again=True, now=now)
