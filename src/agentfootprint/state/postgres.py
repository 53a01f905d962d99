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
from .postgres_migrations import ROLE, TABLES
from .postgres_pool import PostgresPool
from .postgres_tables import as_tenant
from .values import check_limit, deadline, from_json, to_json, total

if TYPE_CHECKING:
    from psycopg import AsyncConnection

__all__ = ["PostgresState"]

COLLECT_EVERY = 100
"""Every so many writes, up to a thousand each of records, counters and log entries that have expired are
collected, of any tenant."""

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
_COLLECT: LiteralString = "SELECT agentfootprint_state_collect(%(now)s, 1000)"


class PostgresState(Closing):
    """A `StateStore` in PostgreSQL (`pip install 'agentfootprint[postgres]'`).

    Row-level security keeps tenants apart even if a statement would not: every transaction is one of the
    role `agentfootprint_state`, which nobody logs in as, for one tenant, or for the operator's own records.
    Connections are pooled, checked before use, and belong to the event loop they were made in.

    Args:
        dsn: `postgresql://user:password@host/database`, or key=value pairs.
        schema: the schema of the tables.
        max_connections: of one event loop.
        create_tables: make what is missing of schema, tables and role at the first use, also when many
            instances start at once. With False that is for `migrate` or the command `agentfootprint migrate`,
            run as a role that may; the role of the dsn then needs nothing but to be granted
            `agentfootprint_state`.
        clock: seconds since the epoch.

    Raises:
        MissingExtra: psycopg is not installed.
        StoreError (when used): the role of the dsn may not make the tables, or not use them.
        StoreUnavailable (when used): the server cannot be reached, or its tables are missing or of another
            release. An increment or append whose answer was
            lost may have happened; all else is asked again, since its outcome can be told.
    """

    durable = True

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "public",
        max_connections: int = 10,
        create_tables: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = PostgresPool(
            "PostgresState",
            "the state store",
            dsn,
            schema,
            max_connections,
            self._prepare,
            passing=("NumericValueOutOfRange",),
        )
        self._schema = schema
        self._create_tables = create_tables
        self._clock = clock
        self._writes = itertools.count(1)

    async def get(self, key: StateKey) -> Record | None:
        row = await self._one(key.identity, _GET, again=True, key=key.encoded, now=self._clock())
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
        await self._collect(key.identity, now)
        statement = _CREATE if expected is None else _REPLACE
        row = await self._one(key.identity, statement, again=True, **given)
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
        await self._collect(key.identity, now)
        # A first increment above the limit begins no counter.
        statement = _ADD if fresh is None else _ADD_OR_BEGIN
        try:
            row = await self._one(key.identity, statement, **given)
        except self._pool.errors.NumericValueOutOfRange:
            raise UnsupportedValue("a counter's total must fit into 64 bits") from None
        return None if row is None else int(row[0])

    async def append(self, key: StateKey, value: JSON, *, ttl: float | None = None) -> int:
        text, now = to_json(value), self._clock()
        await self._collect(key.identity, now)
        until = deadline(now, ttl)
        row = await self._one(key.identity, _APPEND, key=key.encoded, value=text, expires=until)
        assert row is not None
        return int(row[0])

    async def read(self, key: StateKey, *, after: int = 0, limit: int | None = None) -> Sequence[LogRecord]:
        check_limit(limit, 0)
        given = {"key": key.encoded, "after": after, "now": self._clock(), "limit": limit}
        rows = await self._all(key.identity, _READ, again=True, **given)
        where = f"the log {key.encoded!r}"
        return [
            LogRecord(sequence, from_json(text, f"entry {sequence} of {where}")) for sequence, text in rows
        ]

    async def delete(self, key: StateKey) -> None:
        given: dict[str, Any] = {"low": key.encoded, "high": f"{key.encoded}\x01", "now": 0.0}
        await self._one(key.identity, _DELETE, again=True, **given)

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        low = namespace_prefix(identity) if descendants else f"{namespace(identity)}|"
        row = await self._one(identity, _DELETE, low=low, high=f"{low}\x7f", now=self._clock())
        assert row is not None
        return int(row[0])

    async def migrate(self) -> Sequence[str]:
        """Makes what is missing of schema, tables and role, and tells what that was.

        Raises:
            StoreError: the role of the dsn may not do it.
            StoreUnavailable: the server cannot be reached, or a newer release made the tables.
        """

        async def work(connection: AsyncConnection[Any]) -> Sequence[str]:
            async with connection.transaction():
                return await TABLES.migrate(connection, self._schema, self._pool.where)

        return await self._pool.alone(work)

    async def check(self) -> None:
        await self._pool.check()

    async def aclose(self) -> None:
        """Closes the pool of the running event loop; those of others are closed as their loops end."""
        await self._pool.aclose()

    def __repr__(self) -> str:
        return f"<PostgresState at {self._pool.where}>"

    # ── the server ──────────────────────────────────────────────────────────────────────────────

    async def _one(
        self, whose: MemoryIdentity | None, statement: LiteralString, *, again: bool = False, **given: Any
    ) -> Any:
        rows = await self._all(whose, statement, again=again, **given)
        return rows[0] if rows else None

    async def _all(
        self, whose: MemoryIdentity | None, statement: LiteralString, *, again: bool = False, **given: Any
    ) -> Any:
        tenant = f"{namespace(whose).partition('/')[0]}/"
        return await self._pool.run(
            lambda connection: as_tenant(connection, ROLE, tenant, statement, given), again=again
        )

    async def _prepare(self, connection: AsyncConnection[Any]) -> None:
        if self._create_tables and await TABLES.version(connection) != TABLES.newest:
            await TABLES.migrate(connection, self._schema, self._pool.where)
        await TABLES.check(connection, self._pool.where)

    async def _collect(self, whose: MemoryIdentity | None, now: float) -> None:
        if next(self._writes) % COLLECT_EVERY == 0:
            await self._all(whose, _COLLECT, again=True, now=now)
