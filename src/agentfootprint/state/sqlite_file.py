"""One SQLite file, worked on by one thread of its own, shared with other processes."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from ..errors import ConfigurationError, StoreCorrupt, StoreError, StoreUnavailable

__all__ = ["Schema", "SQLiteFile"]

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


@dataclass(frozen=True, slots=True)
class Schema:
    """The tables one kind of store keeps in a file; several kinds may share the file.

    `steps[n]` brings the tables of version n to version n + 1; what was released is never changed.
    """

    name: str
    steps: tuple[tuple[str, ...], ...]

    @property
    def version(self) -> int:
        return len(self.steps)


class SQLiteFile:
    """A database file in WAL mode.

    Opened at its first use, by the thread that does all its work; callers of any event loop await
    that thread. A caller that is cancelled while its work waits takes it back; work that has begun
    is finished. Python's `fork` is safe: it waits for running work and closes the file first, and
    both processes open it again.
    """

    _connection: sqlite3.Connection | None = None
    _jobs: SimpleQueue[Callable[[], None] | None] | None = None

    def __init__(self, path: str | os.PathLike[str], schema: Schema, timeout: float) -> None:
        name = os.fspath(path)
        if not name or name == ":memory:" or "\x00" in name:
            raise ConfigurationError(
                f"{name!r} is no file that outlives the process: give a path, or use the in-memory store"
            )
        self.path = os.path.abspath(name)
        self._schema = schema
        self._timeout = timeout
        self._lock = _lock_of(os.path.realpath(self.path))
        self._full_sync = False
        self._closed = False
        self._pid = os.getpid()
        _files.add(self)

    async def open(self) -> None:
        """Opens the file now, to fail early.

        Raises:
            StoreUnavailable: it cannot be opened, created or written, or a newer release wrote it.
            StoreCorrupt: it is no SQLite database, or a damaged one.
        """
        await self.read(lambda connection: None)

    async def check(self) -> None:
        """Opens the file, as `open` does, and closes it again if it was closed."""
        was_open = self._connection is not None
        await self.open()
        if not was_open:
            await self._enqueue(self._disconnect)

    async def read(self, work: Work[T]) -> T:
        return await self._submit(work)

    async def write(self, work: Work[T], *, full: bool = False) -> T:
        """Does the work in one transaction. `full` survives a power cut from the moment it returns;
        without it a power cut may lose the last transactions, but never damages the file."""

        def transaction(connection: sqlite3.Connection) -> T:
            if full is not self._full_sync:
                connection.execute("PRAGMA synchronous=FULL" if full else "PRAGMA synchronous=NORMAL")
                self._full_sync = full
            return _transaction(connection, work)

        return await self._submit(transaction)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._jobs is not None and self._pid == os.getpid():
            closing = self._enqueue(self._disconnect)
            self._jobs.put(None)
            await asyncio.shield(closing)

    def __del__(self) -> None:
        if self._jobs is not None and self._pid == os.getpid():
            self._jobs.put(None)
            if self._connection is not None:
                self._connection.close()

    async def _submit(self, work: Work[T]) -> T:
        if self._closed:
            raise StoreUnavailable(f"the store on {self.path} was closed: make a new one to go on")
        if self._pid != os.getpid():
            self._adopt()
        if self._jobs is None:
            self._jobs = SimpleQueue()
            threading.Thread(
                target=_serve, args=(self._jobs,), name="agentfootprint-sqlite", daemon=True
            ).start()
        return await self._enqueue(lambda: self._guarded(work))

    def _enqueue(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Hands a call to the thread; half as expensive as an executor, which counts here."""
        assert self._jobs is not None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            if future.cancelled():
                return
            try:
                result = call()
            except BaseException as error:
                _settle(loop, future, future.set_exception, error)
            else:
                _settle(loop, future, future.set_result, result)

        self._jobs.put(job)
        return future

    def _adopt(self) -> None:
        """Makes this object usable in a child process: the parent's thread is not here."""
        if self._connection is not None:
            # Using or closing a connection that crossed a fork breaks the parent's locks.
            raise StoreUnavailable(
                f"the store on {self.path} was in use when this process was forked without Python's "
                "knowledge: create or first use it after the fork"
            )
        self._jobs = None
        self._pid = os.getpid()

    def _guarded(self, work: Work[T]) -> T:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                return work(self._connection)
            except sqlite3.Error as error:
                code = _primary_code(error)
                if code in _REOPEN:
                    self._disconnect_locked()
                raise self._explained(error, code) from error

    def _connect(self) -> sqlite3.Connection:
        give_up = time.monotonic() + self._timeout
        while True:
            connection = sqlite3.connect(
                self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
                connection.execute("PRAGMA synchronous=NORMAL")
                self._full_sync = False
                self._prepare(connection)
                return connection
            except sqlite3.OperationalError as error:
                connection.close()
                # The switch to WAL does not wait for other processes by itself.
                if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up:
                    raise
                time.sleep(0.005)
            except BaseException:
                connection.close()
                raise

    def _prepare(self, connection: sqlite3.Connection) -> None:
        schema = self._schema
        found = _schema_version(connection, schema.name)
        if found is None or (isinstance(found, int) and found < schema.version):

            def migrate(connection: sqlite3.Connection) -> None:
                connection.execute(_CREATE_META)
                # Another process may have been faster.
                begun = _schema_version(connection, schema.name) or 0
                for step in schema.steps[begun:] if isinstance(begun, int) else ():
                    for statement in step:
                        connection.execute(statement)
                    connection.execute(_SET_VERSION, (schema.name, schema.version))

            _transaction(connection, migrate)
            found = _schema_version(connection, schema.name)
        if found != schema.version:
            raise StoreUnavailable(
                f"{self.path} holds the {schema.name} tables in version {found}, this release of "
                f"agentfootprint knows version {schema.version}: use the release that wrote the file, "
                "a newer one, or another file"
            )

    def _disconnect(self) -> None:
        with self._lock:
            self._disconnect_locked()

    def _disconnect_locked(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _explained(self, error: sqlite3.Error, code: int | None) -> StoreError:
        kind, why = _EXPLANATIONS.get(code, (StoreUnavailable, "SQLite refused: check the file and its disk"))
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        return kind(f"{self.path}: {why.format(timeout=self._timeout)} ({name})")


_CREATE_META = (
    "CREATE TABLE IF NOT EXISTS agentfootprint_schema (name TEXT PRIMARY KEY, version INTEGER NOT NULL)"
)
_SET_VERSION = "INSERT OR REPLACE INTO agentfootprint_schema (name, version) VALUES (?, ?)"

_EXPLANATIONS: dict[int | None, tuple[type[StoreError], str]] = {
    sqlite3.SQLITE_BUSY: (
        StoreUnavailable,
        "another writer held the file for longer than {timeout} s: find the process that keeps a transaction "
        "open, or give a longer timeout",
    ),
    sqlite3.SQLITE_FULL: (
        StoreUnavailable,
        "there is no space left to write it; nothing was stored: free some space",
    ),
    sqlite3.SQLITE_IOERR: (
        StoreUnavailable,
        "the disk failed or refused to read or write it; nothing was stored: check the disk, quotas and "
        "file size limits",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        StoreUnavailable,
        "it cannot be opened: its folder must exist and be writable, for SQLite keeps files beside it",
    ),
    sqlite3.SQLITE_PERM: (StoreUnavailable, "this user may not open it: check its permissions"),
    sqlite3.SQLITE_READONLY: (StoreUnavailable, "it is read-only for this user: check its permissions"),
    sqlite3.SQLITE_NOTADB: (
        StoreCorrupt,
        "it is not a SQLite database: check the path, or restore the file from a backup",
    ),
    sqlite3.SQLITE_CORRUPT: (
        StoreCorrupt,
        "it is damaged: restore it from a backup, or try `.recover` of the sqlite3 command",
    ),
    sqlite3.SQLITE_ERROR: (
        StoreCorrupt,
        "its tables are not those of this library: use a file of its own, or restore it from a backup",
    ),
    # The sqlite3 module itself raises without a code when stored text is not UTF-8.
    None: (StoreCorrupt, "a row holds what was never written there: restore the file from a backup"),
}

_REOPEN = frozenset(
    {
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_CORRUPT,
    }
)
"""After these the file is opened anew at the next call: it may have been repaired or replaced."""


def _serve(jobs: SimpleQueue[Callable[[], None] | None]) -> None:
    while (job := jobs.get()) is not None:
        job()
        # A store that nobody uses any more can go while the thread waits.
        del job


def _settle(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], setter: Callable[[Any], None], outcome: object
) -> None:
    def settle() -> None:
        if not future.done():
            setter(outcome)

    try:
        loop.call_soon_threadsafe(settle)
    except RuntimeError:
        # The loop was closed meanwhile: nobody waits any more.
        pass


def _transaction(connection: sqlite3.Connection, work: Work[T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _schema_version(connection: sqlite3.Connection, name: str) -> object:
    known = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'agentfootprint_schema'"
    if connection.execute(known).fetchone() is None:
        return None
    row = connection.execute("SELECT version FROM agentfootprint_schema WHERE name = ?", (name,)).fetchone()
    return row and row[0]


def _primary_code(error: sqlite3.Error) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


# One lock per file and process. It keeps two stores on one file from waiting for each other by
# polling, as SQLite would, and lets a fork wait until no thread is inside SQLite.
_locks: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()
_files: weakref.WeakSet[SQLiteFile] = weakref.WeakSet()
_registry = threading.Lock()
_held_by_fork: list[threading.Lock] = []


def _lock_of(path: str) -> threading.Lock:
    with _registry:
        lock = _locks.get(path)
        if lock is None:
            lock = _locks[path] = threading.Lock()
        return lock


def _before_fork() -> None:
    # A connection that crosses a fork lets the child believe it holds locks it does not hold
    # (https://www.sqlite.org/howtocorrupt.html#_carrying_an_open_database_connection_across_a_fork_).
    _registry.acquire()
    for lock in list(_locks.values()):
        lock.acquire()
        _held_by_fork.append(lock)
    for file in list(_files):
        if file._pid == os.getpid():
            file._disconnect_locked()


def _after_fork() -> None:
    while _held_by_fork:
        _held_by_fork.pop().release()
    _registry.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
