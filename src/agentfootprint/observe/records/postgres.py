"""Runs in a table of PostgreSQL, whose rows the server itself keeps apart by tenant."""

from __future__ import annotations

import threading
from collections.abc import Coroutine, Sequence
from typing import Any, LiteralString, TypeVar

from ...errors import MissingExtra, StoreError
from ...state.postgres_tables import AS_TENANT, Tables
from .sql import BY_END, BY_START, TABLE, Table

__all__ = ["ROLE", "TABLES", "PostgresRecords", "migrate"]

T = TypeVar("T")

ROLE: LiteralString = "agentfootprint_records"

TABLES = Tables(
    "run record",
    ROLE,
    "agentfootprint_runs_migration",
    ("agentfootprint_runs",),
    (
        (
            # A table that is there was made before it kept tenants apart.
            TABLE.format(blob="BYTEA"),
            BY_START,
            BY_END,
            "ALTER TABLE agentfootprint_runs ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE agentfootprint_runs FORCE ROW LEVEL SECURITY",
            "CREATE POLICY agentfootprint_tenant ON agentfootprint_runs"
            " USING (tenant = (SELECT current_setting('agentfootprint.tenant', true)))",
            # What is too old or too much goes, whoever's it is. The role may not see it: it may have it
            # deleted by a function, whose owner may be no superuser and is bound as well.
            "CREATE POLICY agentfootprint_sweep ON agentfootprint_runs TO CURRENT_USER"
            " USING (true) WITH CHECK (false)",
            """
CREATE FUNCTION agentfootprint_runs_sweep(before double precision, most bigint) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
BEGIN ATOMIC
WITH
  kept AS (SELECT tenant, run, sum(stored) OVER (ORDER BY ended DESC, tenant, run) AS together
    FROM agentfootprint_runs WHERE before IS NULL OR ended >= before),
  gone AS (DELETE FROM agentfootprint_runs WHERE ended < before
    OR (tenant, run) IN (SELECT tenant, run FROM kept WHERE together > most) RETURNING run)
SELECT count(*) FROM gone;
END
""",
            "REVOKE ALL ON FUNCTION agentfootprint_runs_sweep FROM PUBLIC",
            f"GRANT EXECUTE ON FUNCTION agentfootprint_runs_sweep TO {ROLE}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON agentfootprint_runs TO {ROLE}",
            f"GRANT SELECT ON agentfootprint_runs_migration TO {ROLE}",
        ),
    ),
    optional=False,
)

_SWEEP: LiteralString = "SELECT agentfootprint_runs_sweep(?, ?)"


class PostgresRecords(Table):
    """One connection, made when it is needed and again when it breaks. Each transaction is one of the role
    `agentfootprint_records`, for one tenant."""

    def __init__(self, dsn: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise MissingExtra("record_to of a Postgres dsn", "postgres") from None
        self._psycopg = psycopg
        self._dsn = dsn
        self._lock = threading.Lock()
        self._connection: Any = None

    def sweep(self, *, before: float | None, max_bytes: int | None) -> int:
        rows, _ = self._run("", _SWEEP, (before, max_bytes))
        return int(rows[0][0])

    def _run(self, key: str, statement: LiteralString, values: tuple[Any, ...]) -> tuple[Sequence[Any], int]:
        with self._lock:
            try:
                connection = self._open()
                with connection.transaction():
                    connection.execute(AS_TENANT, {"role": ROLE, "tenant": key})
                    cursor = connection.execute(statement.replace("?", "%s"), values)
                    return (cursor.fetchall() if cursor.description else ()), cursor.rowcount
            except self._psycopg.OperationalError:
                self._drop()
                raise

    def _open(self) -> Any:
        if self._connection is None:
            self._connection = self._psycopg.connect(self._dsn, autocommit=True, connect_timeout=5)
            try:
                self._ready(self._connection)
            except BaseException:
                self._drop()
                raise
        return self._connection

    def _ready(self, connection: Any) -> None:
        where = _where(connection)
        try:
            with connection.transaction():
                _done(TABLES.check(_sync(connection), where))
        except StoreError:
            _migrate(connection)
            with connection.transaction():
                _done(TABLES.check(_sync(connection), where))

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        with self._lock:
            self._drop()


def migrate(dsn: str, schema: str) -> list[str]:
    """Makes what is missing in a schema, and tells what that was.

    Raises:
        StoreUnavailable: a newer release made the table.
        StoreError: the role that is connected may not do it.
    """
    import psycopg

    with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
        connection.execute("SELECT set_config('search_path', quote_ident(%s), false)", (schema,))
        return _migrate(connection, schema)


def _migrate(connection: Any, schema: str | None = None) -> list[str]:
    if schema is None:
        (schema,) = connection.execute("SELECT coalesce(current_schema(), 'public')").fetchone()
    with connection.transaction():
        return _done(TABLES.migrate(_sync(connection), schema, _where(connection)))


def _where(connection: Any) -> str:
    return f"{connection.info.host}:{connection.info.port}"


def _sync(connection: Any) -> Any:
    return _Sync(connection)


class _Sync:
    """A connection that blocks, for what was written for one that does not."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def execute(self, *arguments: Any) -> _SyncRows:
        return _SyncRows(self._connection.execute(*arguments))


class _SyncRows:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()


def _done(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that never waits."""
    try:
        work.send(None)
    except StopIteration as over:
        result: T = over.value
        return result
    raise AssertionError("it waits for something")
