"""Search in PostgreSQL: by pgvector where the server has it, by the store itself where it has not."""

from __future__ import annotations

import time
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Any, LiteralString

from ...embedders.base import Embedding
from ...errors import InputInvalid, StoreError
from ...identity import MemoryIdentity, namespace
from ..base import Filter
from .postgres_filters import wanted
from .postgres_transaction import Setting, transact
from .vectors import Vectors, check_fingerprint

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.sql import Composed

__all__ = ["PostgresSearch"]

EXACT_ROWS = 5000
"""A namespace with fewer vectors, or with less than a tenth of those in the index, is searched exactly: that
takes milliseconds, and an index that holds mostly others' vectors passes over some of the nearest."""

CANDIDATES = 100
"""`hnsw.ef_search`: the more an index looks at, the fewer it misses. pgvector's own default is 40."""

COUNT_SECONDS = 60.0
"""So long a namespace is taken for as large as it was: to count takes as long as to search by an index."""

REMEMBERED = 1000
"""Namespaces whose size, and embedders whose statements, are remembered."""

# Beyond these numbers of dimensions pgvector 0.8 does not compare, or index, in full or half precision.
_MOST, _MOST_INDEXED, _MOST_HALVED = 16_000, 2_000, 4_000

_LOCK = 0x61676E78
"""The advisory lock of whoever makes an index."""

_EXTENSION: LiteralString = (
    "SELECT nspname, string_to_array(regexp_replace(extversion, '[^0-9.].*', ''), '.')::int[] >= '{0,8}'"
    " FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace"
    " WHERE extname = 'vector' AND has_schema_privilege(current_user, n.oid, 'USAGE')"
)
_SPACE: LiteralString = "SELECT fingerprint FROM agentfootprint_memory_space WHERE namespace = %(space)s"
_COUNTED: LiteralString = (
    "SELECT fingerprint, coalesce((SELECT EXISTS (SELECT FROM agentfootprint_memory AS m"
    " WHERE m.namespace = s.namespace AND m.fingerprint = s.fingerprint OFFSET wanted - 1)"
    " FROM (SELECT greatest(%(exact)s, reltuples / 10)::bigint AS wanted FROM pg_index"
    " JOIN pg_class ON pg_class.oid = indexrelid"
    " WHERE indexrelid = to_regclass(%(index)s) AND indisvalid) AS made), false)"
    " FROM agentfootprint_memory_space AS s WHERE namespace = %(space)s"
)
_FITTING: LiteralString = (
    " FROM agentfootprint_memory WHERE namespace = %(space)s AND (expires IS NULL OR expires > %(now)s)"
    " AND filter @> %(has)s AND NOT EXISTS"
    " (SELECT FROM jsonb_array_elements(%(lacks)s::jsonb) AS each WHERE filter @> each)"
)
_VECTOR: LiteralString = "SELECT number, embedding"
_VECTORS: LiteralString = f"{_VECTOR}{_FITTING} AND fingerprint = %(fingerprint)s ORDER BY created, number"
_NUMBERED: LiteralString = (
    "SELECT id, value, metadata, created, expires, version, number, fingerprint, embedding"
    " FROM agentfootprint_memory WHERE number = ANY(%(numbers)s) AND fingerprint = %(fingerprint)s"
    " AND (expires IS NULL OR expires > %(now)s)"
)
# The fingerprint is a constant here: the index of an embedder is one of the rows that have it.
_NEAR: LiteralString = "WITH near AS MATERIALIZED (SELECT number AS found, {distance} AS distance"
_OF_NEAR: LiteralString = (
    " SELECT id, value, metadata, created, expires, version, number, fingerprint, embedding, 1 - distance"
    " FROM near JOIN agentfootprint_memory ON number = found ORDER BY distance, created DESC, number DESC"
)
_ORDERED: LiteralString = " AND fingerprint = {fingerprint} ORDER BY {order} LIMIT %(k)s)"
_NEAREST: LiteralString = f"{_NEAR}{_FITTING}{_ORDERED}{_OF_NEAR}"
_ITERATE: LiteralString = (
    ", set_config('hnsw.iterative_scan', 'relaxed_order', true), set_config('hnsw.ef_search', %(ef)s, true)"
)
_VALID: LiteralString = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)"


class PostgresSearch:
    """Finds the nearest rows. `look` first learns what the server can do."""

    def __init__(self) -> None:
        self._extension: str | None = None  # the schema of pgvector
        self._indexes = False
        self._statements: dict[tuple[str, bool], bytes] = {}
        # Whether a namespace's vectors of an embedder are worth an index, and when they are counted again.
        self._large: dict[tuple[str, str], tuple[bool, float]] = {}

    async def look(self, connection: AsyncConnection[Any]) -> None:
        row = await (await connection.execute(_EXTENSION)).fetchone()
        self._extension, self._indexes = row or (None, False)
        self._statements.clear()

    async def nearest(
        self,
        connection: AsyncConnection[Any],
        *,
        identity: MemoryIdentity,
        query: Embedding,
        k: int,
        min_score: float | None,
        where: Filter,
        now: float,
    ) -> list[Any]:
        """At most `k` rows, the most similar first, the similarity behind the other columns."""
        has, lacks = wanted(where)
        given: dict[str, Any] = {
            "space": namespace(identity),
            "fingerprint": query.fingerprint,
            "query": query,
            "k": k,
            "has": has,
            "lacks": lacks,
            "now": now,
            "index": _index(query.fingerprint),
            "exact": EXACT_ROWS,
        }
        iterate: Setting = (_ITERATE, {"ef": str(min(max(CANDIDATES, 2 * k), 1000))})

        async def ask(*statements: LiteralString | bytes, indexed: bool = False) -> list[list[Any]]:
            asked = [(each, given) for each in statements]
            also: dict[str, Any] = {"settings": iterate} if indexed else {}
            # Planned for this namespace, which may be small or large.
            return await transact(connection, identity, *asked, prepare=False, **also)

        if self._extension is None or query.dimensions > _MOST:
            return await self._compared_here(ask, given, query, k, min_score)
        exact, by_index = (self._statement(connection, query, indexed=each) for each in (False, True))
        place = (given["space"], query.fingerprint)
        # A filter leaves an index with what it passes over.
        large, until = self._large.get(place, (None, 0.0)) if self._indexes and not where else (False, inf)
        counted = time.monotonic() >= until
        asked = [_COUNTED if counted else _SPACE]
        found: list[Any] | None = None
        if large is None:
            [space] = await ask(*asked)
        else:
            space, found = await ask(*asked, by_index if large else exact, indexed=large)
        if not space:
            return []
        check_fingerprint(space[0][0], query.fingerprint)
        if counted:
            found = None if large and not space[0][1] else found
            large = self._remember(place, space[0][1])
        if large and found is None:
            [found] = await ask(by_index, indexed=True)
        if found is None or (large and len(found) < k):  # An index gives up after so many rows of others.
            [found] = await ask(exact)
        return [row for row in found if min_score is None or row[-1] >= min_score]

    def _remember(self, place: tuple[str, str], large: bool) -> bool:
        if len(self._large) >= REMEMBERED:
            self._large.clear()
        self._large[place] = large, time.monotonic() + COUNT_SECONDS
        return large

    async def _compared_here(
        self, ask: Any, given: dict[str, Any], query: Embedding, k: int, min_score: float | None
    ) -> list[Any]:
        space, rows = await ask(_SPACE, _VECTORS)
        if not space:
            return []
        check_fingerprint(space[0][0], query.fingerprint)
        nearest = Vectors([data for _, data in rows]).nearest(query, min_score)
        scores = {rows[at][0]: score for (at, score), _ in zip(nearest, range(k), strict=False)}
        given["numbers"] = list(scores)
        [kept] = await ask(_NUMBERED)
        found = {row[6]: row for row in kept}
        return [(*found[number], score) for number, score in scores.items() if number in found]

    def _statement(self, connection: AsyncConnection[Any], query: Embedding, *, indexed: bool) -> bytes:
        from psycopg import sql

        key = (query.fingerprint, indexed)
        if key in self._statements:
            return self._statements[key]
        kind = self._kind(query.dimensions) if indexed else self._named("vector")
        operator = sql.SQL("OPERATOR({}.<=>)").format(sql.Identifier(self._extension or ""))
        distance = sql.SQL("(embedding::{kind} {operator} %(query)s::real[]::{kind})").format(
            kind=kind, operator=operator
        )
        # An index knows of distances only; what is equally near is put in order among the nearest.
        order = distance if indexed else distance + sql.SQL(", created DESC, number DESC")
        made = sql.SQL(_NEAREST).format(
            distance=distance, order=order, fingerprint=sql.Literal(query.fingerprint)
        )
        if len(self._statements) >= REMEMBERED:
            self._statements.clear()
        self._statements[key] = made.as_bytes(connection)
        return self._statements[key]

    def _named(self, name: str) -> Composed:
        from psycopg import sql

        return sql.SQL("{}").format(sql.Identifier(self._extension or "", name))

    def _kind(self, dimensions: int) -> Composed:
        from psycopg import sql

        name = "vector" if dimensions <= _MOST_INDEXED else "halfvec"
        return sql.SQL("{}({})").format(self._named(name), sql.Literal(dimensions))

    async def create_index(self, connection: AsyncConnection[Any], fingerprint: str) -> bool:
        """Whether the index was made."""
        from psycopg import sql

        name, _, dimensions = fingerprint.rpartition("@")
        if not (name and dimensions.isdecimal() and 0 < int(dimensions) <= _MOST_HALVED):
            raise InputInvalid(
                f"an index is for a fingerprint name@dimensions of at most {_MOST_HALVED} dimensions, "
                f"not {fingerprint!r}"
            )
        await self.look(connection)
        if self._extension is None or not self._indexes:
            raise StoreError("the server has no pgvector 0.8 or newer: searches stay exact without an index")
        row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))).fetchone()
        if not (row and row[0]):
            # To wait would be to hold a snapshot, whose end the one who makes the index waits for.
            return False
        index = sql.Identifier(_index(fingerprint))
        row = await (await connection.execute(_VALID, (_index(fingerprint),))).fetchone()
        if row is not None:
            if row[0]:
                return False
            # It was interrupted while it was made.
            await connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(index))
        operators = "vector_cosine_ops" if int(dimensions) <= _MOST_INDEXED else "halfvec_cosine_ops"
        await connection.execute(
            sql.SQL(
                "CREATE INDEX CONCURRENTLY {} ON agentfootprint_memory USING hnsw ((embedding::{}) {})"
                " WHERE fingerprint = {}"
            ).format(index, self._kind(int(dimensions)), self._named(operators), sql.Literal(fingerprint))
        )
        # Or the server would not think of the index before it has looked at the table by itself.
        await connection.execute("ANALYZE agentfootprint_memory")
        self._large.clear()
        return True


def _index(fingerprint: str) -> str:
    return f"agentfootprint_hnsw_{sha256(fingerprint.encode()).hexdigest()[:16]}"
