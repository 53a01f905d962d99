"""Shared state in PostgreSQL: one statement for every decision."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, LiteralString

from ..errors import ConfigurationError, MissingExtra, StoreError, StoreUnavailable, UnsupportedValue
from ..identity import MemoryIdentity, namespace, namespace_prefix
from ..loops import Closing, PerLoop
from .base import JSON, LogRecord, Record, StateKey
from .values import check_limit, deadline, from_json, to_json, total

if TYPE_CHECKING:
    from psycopg_pool import AsyncConnectionPool

__all__ = ["PostgresState"]

CONNECT_SECONDS = 5.0

RECONNECT_SECONDS = 2.0
"""For so long a pool tries by itself to reach a server that went away; then the next call does."""

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
        MissingExtra: psycopg or its pool is not installed.
        StoreUnavailable (when used): the server cannot be reached. An increment or append whose answer was
            lost may have happened; a compare-and-set is asked again, since its outcome can be told.
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
        try:
            import psycopg
            import psycopg_pool
        except ImportError:
            raise MissingExtra("PostgresState", "postgres") from None
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", schema):
            raise ConfigurationError(f"schema must be a plain name of letters, digits and _, not {schema!r}")
        self._psycopg = psycopg
        self._pool_kind = psycopg_pool.AsyncConnectionPool
        # A server that only reads is one that another has taken over from, or is about to.
        self._not_now: tuple[type[Exception], ...] = (
            psycopg.OperationalError,
            psycopg.errors.ReadOnlySqlTransaction,
            psycopg_pool.PoolTimeout,
            psycopg_pool.PoolClosed,
            psycopg_pool.TooManyRequests,
            OSError,
        )
        try:
            info = psycopg.conninfo.conninfo_to_dict(dsn)
        except psycopg.Error:
            raise ConfigurationError("dsn is no PostgreSQL connection string") from None
        self._where = (
            f"{info.get('host', 'the local socket')}:{info.get('port', 5432)}/{info.get('dbname', '')}"
        )
        self._dsn = dsn
        self._schema = schema
        self._most = max_connections
        self._clock = clock
        self._closed = False
        self._writes = itertools.count(1)
        self._pools: PerLoop[_Opening] = PerLoop(lambda: _Opening(self._open), lambda each: each.aclose())

    async def get(self, key: StateKey) -> Record | None:
        row = await self._one(_GET, key=key.encoded, now=self._clock())
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
        except self._psycopg.errors.NumericValueOutOfRange:
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
        rows = await self._all(_READ, key=key.encoded, after=after, now=self._clock(), limit=limit)
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

    async def aclose(self) -> None:
        """Closes the pool of the running event loop; those of others are closed as their loops end."""
        self._closed = True
        await self._pools.aclose()

    def __repr__(self) -> str:
        return f"<PostgresState at {self._where}>"

    # ── the server ──────────────────────────────────────────────────────────────────────────────

    async def _one(self, statement: LiteralString, *, again: bool = False, **given: Any) -> Any:
        rows = await self._all(statement, again=again, **given)
        return rows[0] if rows else None

    async def _all(self, statement: LiteralString, *, again: bool = False, **given: Any) -> Any:
        pool = await self._pool()
        failed: Exception
        for last in (not again, True):
            asked = False
            try:
                async with pool.connection() as connection:
                    asked = True
                    cursor = await connection.execute(statement, given)
                    return await cursor.fetchall() if cursor.description else ()
            except self._psycopg.errors.NumericValueOutOfRange:
                raise
            except self._not_now as error:
                failed = self._unreachable(error)
                if last or not asked or self._closed:
                    break
            except self._psycopg.Error as error:
                failed = StoreError(
                    f"PostgreSQL at {self._where} refused a statement: {type(error).__name__}"
                )
                break
        # Raised out here, the library's error is not its context: that one holds the password.
        raise failed

    async def _pool(self) -> AsyncConnectionPool[Any]:
        if self._closed:
            raise StoreUnavailable(f"the state store in PostgreSQL at {self._where} is closed")
        return await self._pools.get().pool()

    async def _open(self) -> AsyncConnectionPool[Any]:
        async def prepare(connection: Any) -> None:
            await connection.set_autocommit(True)

        options = {"options": f"-c search_path={self._schema}", "connect_timeout": int(CONNECT_SECONDS)}
        pool = self._pool_kind(
            self._dsn,
            kwargs=options,
            min_size=0,
            max_size=self._most,
            reconnect_timeout=RECONNECT_SECONDS,
            timeout=CONNECT_SECONDS,
            configure=prepare,
            check=self._pool_kind.check_connection,
            open=False,
        )
        try:
            await self._make_tables(options)
            await pool.open()
            return pool
        except self._not_now as error:
            failed = self._unreachable(error)
        await pool.close()
        raise failed

    async def _make_tables(self, options: dict[str, Any]) -> None:
        """Without waiting for a pool: a server that is not there is told at once."""
        sql = self._psycopg.sql
        connection = await self._psycopg.AsyncConnection.connect(self._dsn, **options)
        async with connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            if self._schema != "public":
                name = sql.Identifier(self._schema)
                await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
            for statement in _SCHEMA:
                await connection.execute(statement)

    async def _sweep(self, now: float) -> None:
        if next(self._writes) % SWEEP_EVERY == 0:
            await self._all(_SWEEP, now=now)

    def _unreachable(self, error: Exception) -> StoreUnavailable:
        # The library's own text is left out: it can quote the connection string.
        return StoreUnavailable(
            f"PostgreSQL at {self._where} cannot be reached or did not answer ({type(error).__name__})"
        )


class _Opening:
    """A pool that is being opened once for all who wait for it, and again after it could not be."""

    def __init__(self, open_pool: Callable[[], Coroutine[Any, Any, AsyncConnectionPool[Any]]]) -> None:
        self._open = open_pool
        self._task: asyncio.Task[AsyncConnectionPool[Any]] | None = None

    async def pool(self) -> AsyncConnectionPool[Any]:
        task = self._task
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._task = asyncio.create_task(self._open())
        # One caller that is cancelled does not take the pool from the others.
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        if self._task is None:
            return
        try:
            pool = await self._task
        except (StoreError, asyncio.CancelledError):
            return
        await pool.close()
