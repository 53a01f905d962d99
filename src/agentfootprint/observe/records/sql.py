"""Runs in a table of SQL, compressed; and that of SQLite."""

from __future__ import annotations

import sqlite3
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, LiteralString

from ...errors import ConfigurationError
from ...identity import MemoryIdentity, namespace
from .base import KeptRun

__all__ = ["BY_END", "BY_START", "TABLE", "SQLiteRecords", "Table"]

TABLE: LiteralString = """
CREATE TABLE IF NOT EXISTS agentfootprint_runs (
    tenant TEXT NOT NULL, run TEXT NOT NULL, agent TEXT NOT NULL,
    tenant_name TEXT, principal TEXT, conversation TEXT,
    status TEXT NOT NULL, started DOUBLE PRECISION NOT NULL, ended DOUBLE PRECISION NOT NULL,
    steps BIGINT NOT NULL, size BIGINT NOT NULL, stored BIGINT NOT NULL, footprint {blob} NOT NULL,
    PRIMARY KEY (tenant, run)
)
"""
BY_START: LiteralString = """
CREATE INDEX IF NOT EXISTS agentfootprint_runs_started ON agentfootprint_runs (tenant, started)
"""
BY_END: LiteralString = """
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


class Table(ABC):
    """What all have in common. `_run` gives the rows of a statement about one tenant, whose key it gets, and
    how many it changed."""

    def put(self, run: KeptRun, lines: bytes) -> None:
        packed = zlib.compress(lines, 1)
        tenant, principal, conversation = (None,) * 3 if run.identity is None else run.identity.parts
        key = _key(tenant)
        self._run(
            key,
            _PUT,
            (
                key,
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
        key = _key(tenant)
        rows, _ = self._run(key, _LIST, (key, agent, status, limit))
        return [_kept(row) for row in rows]

    def read(self, tenant: str | None, run_id: str) -> bytes | None:
        key = _key(tenant)
        rows, _ = self._run(key, _READ, (key, run_id))
        return zlib.decompress(bytes(rows[0][0])) if rows else None

    def delete(self, tenant: str | None, run_id: str) -> bool:
        key = _key(tenant)
        return self._run(key, _DELETE, (key, run_id))[1] > 0

    def forget(self, identity: MemoryIdentity) -> int:
        tenant, principal, conversation = identity.parts
        one, two = int(principal is not None), int(conversation is not None)
        key = _key(tenant)
        return self._run(key, _FORGET, (key, one, principal or "", two, conversation or ""))[1]

    @abstractmethod
    def _run(
        self, key: str, statement: LiteralString, values: tuple[Any, ...]
    ) -> tuple[Sequence[Any], int]: ...


class SQLiteRecords(Table):
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
            for statement in (TABLE.format(blob="BLOB"), BY_START, BY_END):
                self._connection.execute(statement)
        except sqlite3.Error as error:
            raise ConfigurationError(f"cannot keep runs in {path}: {error}") from error

    def sweep(self, *, before: float | None, max_bytes: int | None) -> int:
        count = self._swept(before, max_bytes)
        if count:
            self._run("", "PRAGMA incremental_vacuum", ())
        return count

    def _swept(self, before: float | None, max_bytes: int | None) -> int:
        count = 0
        if before is not None:
            count += self._run("", _EXPIRE, (before,))[1]
        if max_bytes is None:
            return count
        total = int(self._run("", _TOTAL, ())[0][0][0])
        while total > max_bytes:
            oldest, _ = self._run("", _OLDEST, ())
            for tenant, run, stored in oldest:
                count += self._run(tenant, _DELETE, (tenant, run))[1]
                total -= stored
                if total <= max_bytes:
                    break
            if not oldest:
                break
        return count

    def _run(self, key: str, statement: LiteralString, values: tuple[Any, ...]) -> tuple[Sequence[Any], int]:
        with self._lock:
            cursor = self._connection.execute(statement, values)
            return cursor.fetchall(), cursor.rowcount

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _key(tenant: str | None) -> str:
    """Absent, empty and every name are different keys."""
    return _ABSENT if tenant is None else namespace(MemoryIdentity(tenant))


def _kept(row: Sequence[Any]) -> KeptRun:
    run, agent, tenant, principal, conversation, _, status, started, ended, steps, size = row
    anybody = (tenant, principal, conversation) != (None, None, None)
    identity = MemoryIdentity(tenant, principal, conversation) if anybody else None
    return KeptRun(run, agent, identity, status, started, ended, steps, size)
