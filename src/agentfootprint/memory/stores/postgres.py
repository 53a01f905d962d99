"""Memory entries in PostgreSQL: for any number of machines, each tenant behind row-level security."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, LiteralString, Self, TypeAlias
from uuid import uuid4

from ...embedders.base import Embedding
from ...identity import MemoryIdentity, check_part, namespace, namespace_prefix
from ...loops import Closing
from ...state.postgres_pool import PostgresPool
from ...state.values import check_limit, from_json, to_json
from ..base import Filter, Match, MemoryEntry, Page, Profile
from . import postgres_migrations as migrations
from .cursor import read_cursor, write_cursor
from .postgres_filters import filterable
from .postgres_search import PostgresSearch
from .postgres_transaction import Setting, Statement, transact
from .vectors import check_fingerprint, check_search

if TYPE_CHECKING:
    from psycopg import AsyncConnection

__all__ = ["PostgresStore"]

# Within the class `list` is a method.
Rows: TypeAlias = list[list[Any]]
Statements: TypeAlias = list[Statement]

COLLECT_EVERY = 100
"""With every so many writes goes one that collects a thousand entries that have expired, of any tenant."""

# The first embedding that is written binds its namespace to its embedder; the foreign key refuses others.
_BOUND: LiteralString = (
    ", bound AS (INSERT INTO agentfootprint_memory_space (namespace, fingerprint)"
    " SELECT %(space)s, %(fingerprint)s FROM written WHERE %(fingerprint)s::text IS NOT NULL"
    " ON CONFLICT (namespace) DO NOTHING)"
    " SELECT created FROM written"
)
# What has expired is as absent: what is written over it has a place of its own.
_PUT: LiteralString = (
    "WITH written AS (INSERT INTO agentfootprint_memory AS m"
    " (namespace, id, value, metadata, filter, created, expires, version, fingerprint, embedding)"
    " VALUES (%(space)s, %(id)s, %(value)s, %(metadata)s, %(filter)s,"
    " coalesce(%(created)s::float8, %(now)s), %(expires)s, %(version)s, %(fingerprint)s, %(embedding)s)"
    " ON CONFLICT (namespace, id) DO UPDATE SET value = excluded.value, metadata = excluded.metadata,"
    " filter = excluded.filter, expires = excluded.expires, version = excluded.version,"
    " fingerprint = excluded.fingerprint, embedding = excluded.embedding,"
    " number = CASE WHEN m.expires <= %(now)s THEN excluded.number ELSE m.number END,"
    " created = CASE WHEN m.expires <= %(now)s OR %(created)s::float8 IS NOT NULL"
    " THEN excluded.created ELSE m.created END"
)
_WRITE: LiteralString = f"{_PUT} RETURNING created){_BOUND}"
# A version that is the new one already was written by an attempt whose answer was lost.
_CREATE: LiteralString = (
    f"{_PUT} WHERE m.expires <= %(now)s OR m.version = %(version)s RETURNING created){_BOUND}"
)
_UPDATE: LiteralString = (
    "WITH written AS (UPDATE agentfootprint_memory SET value = %(value)s, metadata = %(metadata)s,"
    " filter = %(filter)s, created = coalesce(%(created)s::float8, created), expires = %(expires)s,"
    " version = %(version)s, fingerprint = %(fingerprint)s, embedding = %(embedding)s"
    " WHERE namespace = %(space)s AND id = %(id)s AND (version = %(version)s"
    " OR version = %(expected)s AND (expires IS NULL OR expires > %(now)s))"
)
_REPLACE: LiteralString = f"{_UPDATE} RETURNING created){_BOUND}"
_ROWS: LiteralString = (
    "SELECT id, value, metadata, created, expires, version, number, fingerprint, embedding"
    " FROM agentfootprint_memory"
)
_GET: LiteralString = (
    f"{_ROWS} WHERE namespace = %(space)s AND id = %(id)s AND (expires IS NULL OR expires > %(now)s)"
)
_LIST: LiteralString = (
    f"{_ROWS} WHERE namespace = %(space)s AND (expires IS NULL OR expires > %(now)s)"
    " ORDER BY created DESC, number DESC LIMIT %(limit)s"
)
_LIST_BEFORE: LiteralString = (
    f"{_ROWS} WHERE namespace = %(space)s AND (created, number) < (%(created)s::float8, %(number)s::int8)"
    " AND (expires IS NULL OR expires > %(now)s) ORDER BY created DESC, number DESC LIMIT %(limit)s"
)
# The index of a namespace has its rows in this order. A planner that expects few of them would read and sort
# them all, and it expects few of the longest conversation when most are short, or before it has looked.
_BY_INDEX: Setting = (", set_config('enable_sort', 'off', true)", {})
_DELETE: LiteralString = (
    "DELETE FROM agentfootprint_memory WHERE namespace = %(space)s AND id = %(id)s"
    " RETURNING expires IS NULL OR expires > %(now)s"
)
_FORGET: LiteralString = (
    "WITH gone AS (DELETE FROM agentfootprint_memory WHERE namespace >= %(low)s AND namespace < %(high)s"
    " RETURNING expires) SELECT count(*) FROM gone WHERE expires IS NULL OR expires > %(now)s"
)
_FORGET_SPACES: LiteralString = (
    "DELETE FROM agentfootprint_memory_space WHERE namespace >= %(low)s AND namespace < %(high)s"
)
_SPACE: LiteralString = "SELECT fingerprint FROM agentfootprint_memory_space WHERE namespace = %(space)s"
_COLLECT: LiteralString = "SELECT agentfootprint_memory_collect(%(now)s, 1000)"


class PostgresStore(Closing):
    """A `MemoryStore` in PostgreSQL 14 or newer (`pip install 'agentfootprint[postgres]'`).

    Row-level security keeps tenants apart even if a statement would not: every transaction is one of the
    role `agentfootprint_memory`, which nobody logs in as, for one tenant. With pgvector the server compares
    vectors; without it they are read and compared here, which finds the same and takes longer.

    Searches are exact until `create_vector_index`, which makes those in large namespaces fast and
    approximate.

    Args:
        dsn: `postgresql://user:password@host/database`, or key=value pairs.
        schema: the schema of the tables.
        max_connections: of one event loop.
        create_tables: make what is missing of schema, tables, role and extension at the first use, also when
            many instances start at once. With False that is for `migrate` or the command `agentfootprint
            migrate`, run as a role that may; the role of the dsn then needs nothing but to be granted
            `agentfootprint_memory`.
        clock: seconds since the epoch; tests give one they can move.

    Raises:
        MissingExtra: psycopg is not installed.
        StoreUnavailable (when used): the server cannot be reached, or its tables are missing or of another
            release. A `delete` or `forget` whose answer was lost may have happened; all else is asked again.
    """

    durable = True
    profile: Profile = "full"

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
            "PostgresStore",
            "the memory store",
            dsn,
            schema,
            max_connections,
            self._prepare,
            configure=_configure,
            passing=("ForeignKeyViolation",),
        )
        self._schema = schema
        self._create_tables = create_tables
        self._clock = clock
        self._search = PostgresSearch()
        self._writes = itertools.count(1)

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def put(
        self, identity: MemoryIdentity, entry: MemoryEntry, *, expected: str | None = None
    ) -> MemoryEntry | None:
        statement = _WRITE if expected is None else _REPLACE if expected else _CREATE
        written = await self._write(identity, [entry], statement, expected)
        return written[0] if written else None

    async def put_many(
        self, identity: MemoryIdentity, entries: Sequence[MemoryEntry]
    ) -> Sequence[MemoryEntry]:
        return await self._write(identity, entries, _WRITE, None)

    async def get(self, identity: MemoryIdentity, entry_id: str) -> MemoryEntry | None:
        check_part("a memory entry's id", entry_id)
        given = {"space": namespace(identity), "id": entry_id, "now": self._clock()}
        [rows] = await self._all(identity, (_GET, given))
        return self._entry(rows[0]) if rows else None

    async def list(self, identity: MemoryIdentity, *, limit: int = 50, cursor: str | None = None) -> Page:
        check_limit(limit, 1)
        given = {"space": namespace(identity), "now": self._clock(), "limit": limit + 1}
        statement = _LIST
        if cursor is not None:
            statement = _LIST_BEFORE
            given["created"], given["number"] = read_cursor(cursor)
        [rows] = await self._all(identity, (statement, given), settings=_BY_INDEX)
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
        search = partial(
            self._search.nearest,
            identity=identity,
            query=query,
            k=k,
            min_score=min_score,
            where=check_search(k, where),
            now=self._clock(),
        )
        found = await self._pool.run(search, again=True)
        return [Match(self._entry(row), score) for *row, score in found]

    async def delete(self, identity: MemoryIdentity, entry_id: str) -> bool:
        check_part("a memory entry's id", entry_id)
        given = {"space": namespace(identity), "id": entry_id, "now": self._clock()}
        [rows] = await self._all(identity, (_DELETE, given), again=False)
        return bool(rows and rows[0][0])

    async def forget(self, identity: MemoryIdentity, *, descendants: bool = False) -> int:
        # Every namespace ends with "/"; its successor "0" ends the range of those it starts.
        low = namespace_prefix(identity) if descendants else namespace(identity)
        given = {"low": low, "high": low[:-1] + "0", "now": self._clock()}
        counted, _ = await self._all(identity, (_FORGET, given), (_FORGET_SPACES, given), again=False)
        return int(counted[0][0])

    async def migrate(self) -> Sequence[str]:
        """Makes what is missing of schema, tables, role and extension, and tells what that was.

        Raises:
            StoreError: the role of the dsn may not do it.
            StoreUnavailable: the server cannot be reached, or a newer release made the tables.
        """

        async def work(connection: AsyncConnection[Any]) -> Sequence[str]:
            async with connection.transaction():
                return await migrations.migrate(connection, self._schema, self._pool.where)

        return await self._pool.alone(work)

    async def create_vector_index(self, fingerprint: str) -> bool:
        """Makes an HNSW index of the vectors of one embedder, for searches among thousands of them.

        It takes long for many vectors (`maintenance_work_mem` should hold them), and holds up no reads and no
        writes. The role of the dsn must own the tables.

        Returns:
            Whether it was made: False if it was there, or another instance is making it.

        Raises:
            InputInvalid: the fingerprint is none, or of more than 4000 dimensions.
            StoreError: the server has no pgvector 0.8 or newer.
        """
        return await self._pool.alone(lambda each: self._search.create_index(each, fingerprint))

    def __repr__(self) -> str:
        return f"<PostgresStore at {self._pool.where}>"

    async def check(self) -> None:
        await self._pool.check()

    async def aclose(self) -> None:
        await self._pool.aclose()

    # ── the server ──────────────────────────────────────────────────────────────────────────────

    async def _prepare(self, connection: AsyncConnection[Any]) -> None:
        where = self._pool.where
        tables = migrations.TABLES
        if self._create_tables and await tables.version(connection) != tables.newest:
            await migrations.migrate(connection, self._schema, where)
        await tables.check(connection, where)
        await self._search.look(connection)

    async def _write(
        self,
        identity: MemoryIdentity,
        entries: Sequence[MemoryEntry],
        statement: LiteralString,
        expected: str | None,
    ) -> Sequence[MemoryEntry]:
        space, now = namespace(identity), self._clock()
        rows = [_row(entry, space, now, expected) for entry in entries]
        statements: Statements = [(statement, row) for row in rows]
        if next(self._writes) % COLLECT_EVERY == 0:
            statements.append((_COLLECT, {"now": now}))
        kinds = [entry.embedding.fingerprint for entry in entries if entry.embedding]
        for kind in kinds:
            check_fingerprint(kinds[0], kind)
        written: Rows | None = None
        while written is None:
            try:
                written = await self._all(identity, *statements)
            except self._pool.errors.ForeignKeyViolation:
                known = await self._all(identity, (_SPACE, {"space": space}))
                # If it is this one, or none, somebody has forgotten the identity in between: once more.
                check_fingerprint(known[0][0][0] if known[0] else None, kinds[0])
        return [
            replace(entry, created=found[0][0], version=row["version"])
            for entry, row, found in zip(entries, rows, written, strict=False)
            if found
        ]

    async def _all(
        self,
        identity: MemoryIdentity,
        *statements: Statement,
        again: bool = True,
        settings: Setting = ("", {}),
    ) -> Rows:
        """The rows of each statement; all are one transaction."""
        return await self._pool.run(
            lambda connection: transact(connection, identity, *statements, settings=settings), again=again
        )

    def _entry(self, row: Sequence[Any]) -> MemoryEntry:
        entry_id, value, metadata, created, expires, version, number, fingerprint, data = row
        where = f"PostgreSQL at {self._pool.where}: row {number} of agentfootprint_memory"
        return MemoryEntry(
            entry_id,
            from_json(value, where),
            from_json(metadata, where),
            created,
            expires,
            version,
            None if data is None else Embedding(fingerprint, data),
        )


def _row(entry: MemoryEntry, space: str, now: float, expected: str | None) -> dict[str, Any]:
    embedding = entry.embedding
    metadata = to_json(dict(entry.metadata))
    return {
        "space": space,
        "id": entry.id,
        "value": to_json(entry.value),
        "metadata": metadata,
        "filter": None if embedding is None else filterable(entry.metadata),
        "created": entry.created,
        "expires": entry.expires,
        "version": uuid4().hex,
        "fingerprint": None if embedding is None else embedding.fingerprint,
        "embedding": embedding,
        "expected": expected,
        "now": now,
    }


async def _configure(connection: AsyncConnection[Any]) -> None:
    from .postgres_arrays import register

    await register(connection)
