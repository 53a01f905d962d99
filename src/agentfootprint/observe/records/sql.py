"""Runs in a table of SQLite or PostgreSQL, compressed."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, LiteralString

from ...errors import ConfigurationError, MissingExtra
from ...identity import MemoryIdentity, namespace
from .base import KeptRun

__all__ = ["PostgresRecords", "SQLiteRecords"]

_TABLE: LiteralString = """
CREATE TABLE IF NOT EXISTS agentfootprint_runs (
    tenant TEXT NOT NULL, run TEXT NOT NULL, agent TEXT NOT NULL,
    tenant_name TEXT, principal TEXT, conversation TEXT,
    status TEXT NOT NULL, started DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION NOT NULL,
    steps BIGINT NOT NULL, size BIGINT NOT NULL, stored BIGINT NOT NULL, footprint {blob} NOT NULL,
    PRIMARY KEY (tenant, run)
)
"""
_BY_START: LiteralString = """
CREATE INDEX IF NOT EXISTS agentfootprint_runs_started ON agentfootprint_runs (tenant, started)
"""
_BY_END: LiteralString = """
CREATE INDEX IF NOT EXISTS agentfootprint_runs_ended ON agentfootprint_runs (ended)
"""
_PUT: LiteralString = """
INSERT INTO agentfootprint_runs
    (tenant, run, agent, tenant_name, principal, conversation, status, started, ended, steps, size, stored,
     footprint)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, run) DO UPDATE SET
    agent = excluded.agent, status = excluded.status, started = excluded.started, ended = excluded.ended,
    steps = excluded.steps, size = excluded.size, stored = excluded.stored, footprint = excluded.footprint
"""
_LIST: LiteralString = """
SELECT run, agent, tenant_name, principal, conversation, tenant, status, started, ended, steps, size
FROM agentfootprint_runs
WHERE tenant = ? AND agent = COALESCE(?, agent) AND status = COALESCE(?, status)
ORDER BY started DESC, run LIMIT ?
"""
_READ: LiteralString = "SELECT footprint FROM agentfootprint_runs WHERE tenant = ? AND run = ?"
_DELETE: LiteralString = "DELETE FROM agentfootprint_runs WHERE tenant = ? AND run = ?"
_FORGET: LiteralString = """
DELETE FROM agentfootprint_runs WHERE tenant = ? AND (? = 0 OR principal = ?) AND (? = 0 OR conversation = ?)
"""
_EXPIRE: LiteralString = "DELETE FROM agentfootprint_runs WHERE ended < ?"
_TOTAL: LiteralString = "SELECT COALESCE(SUM(stored), 0) FROM agentfootprint_runs"
_OLDEST: LiteralString = "SELECT tenant, run, stored FROM agentfootprint_runs ORDER BY ended LIMIT 500"

_ABSENT = "~"
_BUSY_SECONDS = 5.0


class _Table(ABC):
    """What both have in common. `_run` gives the rows of a statement and how many it changed."""

    def put(self, run: KeptRun, lines: bytes) -> None:
        packed = zlib.compress(lines, 1)
        tenant, principal, conversation = (None,) * 3 if run.identity is None else run.identity.parts
        self._run(
            _PUT,
            (
                _key(tenant),
                run.run_id,
                run.agent,
                tenant,
                principal,
                conversation,
                run.status,
                run.started,
                run.ended,
                run.steps,
                run.size,
                len(packed),
                packed,
            ),
        )

    def list(
        self,
        tenant: str | None,
        *,
        agent: str | None = None,
        status: str | None = None,
        limit: int = 50,
    ) -> Sequence[KeptRun]:
        rows, _ = self._run(_LIST, (_key(tenant), agent, status, limit))
        return [_kept(row) for row in rows]

    def read(self, tenant: str | None, run_id: str) -> bytes | None:
        rows, _ = self._run(_READ, (_key(tenant), run_id))
        return zlib.decompress(bytes(rows[0][0])) if rows else None

    def delete(self, tenant: str | None, run_id: str) -> bool:
        return self._run(_DELETE, (_key(tenant), run_id))[1] > 0

    def forget(self, identity: MemoryIdentity) -> int:
        tenant, principal, conversation = identity.parts
        one, two = int(principal is not None), int(conversation is not None)
        return self._run(_FORGET, (_key(tenant), one, principal or "", two, conversation or ""))[1]

    def sweep(self, *, before: float | None, max_bytes: int | None) -> int:
        count = 0
        if before is not None:
            count += self._run(_EXPIRE, (before,))[1]
        if max_bytes is None:
            return count
        total = int(self._run(_TOTAL, ())[0][0][0])
        while total > max_bytes:
            oldest, _ = self._run(_OLDEST, ())
            for tenant, run, stored in oldest:
                count += self._run(_DELETE, (tenant, run))[1]
                total -= stored
                if total <= max_bytes:
                    break
            if not oldest:
                break
        return count

    @abstractmethod
    def _run(self, statement: LiteralString, values: tuple[Any, ...]) -> tuple[Sequence[Any], int]: ...


class SQLiteRecords(_Table):
    """One file, which several processes may write. The file shrinks when runs are deleted."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            for statement in (_TABLE.format(blob="BLOB"), _BY_START, _BY_END):
                self._connection.execute(statement)
        except sqlite3.Error as error:
            raise ConfigurationError(f"cannot keep runs in {path}: {error}") from error

    def sweep(self, *, before: float | None, max_bytes: int | None) -> int:
        count = super().sweep(before=before, max_bytes=max_bytes)
        if count:
            self._run("PRAGMA incremental_vacuum", ())
        return count

    def _run(self, statement: LiteralString, values: tuple[Any, ...]) -> tuple[Sequence[Any], int]:
        with self._lock:
            cursor = self._connection.execute(statement, values)
            return cursor.fetchall(), cursor.rowcount

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class PostgresRecords(_Table):
    """One connection, made when it is needed and again when it breaks."""

    def __init__(self, dsn: str) -> None:
        try:
            import psycopg
        except ImportError:
            raise MissingExtra("record_to of a Postgres dsn", "postgres") from None
        self._psycopg = psycopg
        self._dsn = dsn
        self._lock = threading.Lock()
        self._connection: Any = None

    def _run(self, statement: LiteralString, values: tuple[Any, ...]) -> tuple[Sequence[Any], int]:
        with self._lock:
            try:
                cursor = self._open().execute(statement.replace("?", "%s"), values)
                return (cursor.fetchall() if cursor.description else ()), cursor.rowcount
            except self._psycopg.OperationalError:
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                raise

    def _open(self) -> Any:
        if self._connection is None:
            self._connection = self._psycopg.connect(self._dsn, autocommit=True, connect_timeout=5)
            known = self._connection.execute("SELECT to_regclass('agentfootprint_runs')").fetchone()
            if known == (None,):
                self._make()
        return self._connection

    def _make(self) -> None:
        connection = self._connection
        with connection.transaction():
            # Instances that start at once would otherwise make it twice.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('agentfootprint_runs'))")
            for statement in (_TABLE.format(blob="BYTEA"), _BY_START, _BY_END):
                connection.execute(statement)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _key(tenant: str | None) -> str:
    """Absent, empty and every name are different keys."""
    return _ABSENT if tenant is None else namespace(MemoryIdentity(tenant))


def _kept(row: Sequence[Any]) -> KeptRun:
    run, agent, tenant, principal, conversation, _, status, started, ended, steps, size = row
    anybody = (tenant, principal, conversation) != (None, None, None)
    identity = MemoryIdentity(tenant, principal, conversation) if anybody else None
    return KeptRun(run, agent, identity, status, started, ended, steps, size)
