"""Connections to one schema of a PostgreSQL database, for every store that keeps something there."""

from __future__ import annotations

import asyncio
import re
import select
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..errors import ConfigurationError, MissingExtra, StoreError, StoreUnavailable
from ..loops import PerLoop

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg_pool import AsyncConnectionPool

    Connection: TypeAlias = AsyncConnection[Any]

__all__ = ["PostgresPool"]

CONNECT_SECONDS = 5.0

RECONNECT_SECONDS = 2.0
"""For so long a pool tries by itself to reach a server that went away; then the next call does."""

T = TypeVar("T")


class PostgresPool:
    """Connections, pooled for each event loop and looked at before use.

    Args:
        adapter: the class that constructs it, for what an error says.
        what: the store, in words.
        dsn: `postgresql://user:password@host/database`, or key=value pairs.
        schema: where names without a schema are looked for.
        max_connections: of one event loop.
        prepare: is awaited in one transaction, with a connection of its own, before the first use in a loop.
        configure: is awaited with every new connection.
        passing: errors of psycopg that `run` lets through.

    Raises:
        MissingExtra: psycopg or its pool is not installed.
        ConfigurationError: the dsn or the schema is none.
    """

    def __init__(
        self,
        adapter: str,
        what: str,
        dsn: str,
        schema: str,
        max_connections: int,
        prepare: Callable[[Connection], Awaitable[None]],
        *,
        configure: Callable[[Connection], Awaitable[None]] | None = None,
        passing: tuple[str, ...] = (),
    ) -> None:
        try:
            import psycopg
            import psycopg_pool
        except ImportError:
            raise MissingExtra(adapter, "postgres") from None
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", schema):
            raise ConfigurationError(f"schema must be a plain name of letters, digits and _, not {schema!r}")
        try:
            info = psycopg.conninfo.conninfo_to_dict(dsn)
        except psycopg.Error:
            raise ConfigurationError("dsn is no PostgreSQL connection string") from None
        self.where = (
            f"{info.get('host', 'the local socket')}:{info.get('port', 5432)}/{info.get('dbname', '')}"
        )
        self.errors = psycopg.errors
        self._psycopg = psycopg
        self._pool_kind = psycopg_pool.AsyncConnectionPool
        # A server that only reads is one that another has taken over from, or is about to.
        self._broken = (
            psycopg.OperationalError,
            psycopg.errors.ReadOnlySqlTransaction,
            psycopg_pool.PoolTimeout,
            psycopg_pool.PoolClosed,
            psycopg_pool.TooManyRequests,
            OSError,
        )
        self._undone = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
        self._passing = tuple(getattr(psycopg.errors, name) for name in passing)
        self._what = what
        self._dsn = dsn
        self._options: dict[str, Any] = {
            "options": f"-c search_path={schema}",
            "connect_timeout": int(CONNECT_SECONDS),
        }
        self._most = max_connections
        self._prepare = prepare
        self._configure = configure
        self._closed = False
        self._pools: PerLoop[_Opening] = PerLoop(lambda: _Opening(self._open), lambda each: each.aclose())

    async def open(self) -> None:
        """Opens the pool of the running event loop now, to fail early."""
        await self._pool()

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, again: bool = False) -> T:
        """The outcome of `work` with a connection, which is in autocommit mode.

        Args:
            again: it may be done up to three times when the connection broke and nobody knows whether it was
                done. What the server undid, to end a deadlock, is done again in any case.

        Raises:
            StoreUnavailable: the server cannot be reached or did not answer.
            StoreError: it refused.
        """
        pool = await self._pool()
        failed: Exception
        for attempts_left in (2, 1, 0):
            asked = False
            try:
                async with pool.connection() as connection:
                    asked = True
                    return await work(connection)
            except self._passing:
                raise
            except self._broken as error:
                failed = self._unreachable(error)
                undone = isinstance(error, self._undone)
                if not (attempts_left and asked and (again or undone)) or self._closed:
                    break
            except self._psycopg.Error as error:
                failed = StoreError(f"PostgreSQL at {self.where} refused a statement: {type(error).__name__}")
                break
        # Raised out here, the library's error is not its context: that one holds the password.
        raise failed

    async def alone(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The outcome of `work` with a connection of its own in autocommit mode, which is closed then."""
        failed: Exception
        try:
            connection = await self._connect(autocommit=True)
            try:
                return await work(connection)
            finally:
                await connection.close()
        except self._broken as error:
            failed = self._unreachable(error)
        except self._psycopg.Error as error:
            failed = StoreError(f"PostgreSQL at {self.where} refused a statement: {type(error).__name__}")
        raise failed

    async def aclose(self) -> None:
        """Closes the pool of the running event loop; those of others are closed as their loops end."""
        self._closed = True
        await self._pools.aclose()

    async def _pool(self) -> AsyncConnectionPool[Any]:
        if self._closed:
            raise StoreUnavailable(f"{self._what} in PostgreSQL at {self.where} is closed")
        return await self._pools.get().pool()

    async def _connect(self, *, autocommit: bool = False) -> Connection:
        # Without waiting for a pool: a server that is not there is told at once.
        return await self._psycopg.AsyncConnection.connect(self._dsn, autocommit=autocommit, **self._options)

    async def _open(self) -> AsyncConnectionPool[Any]:
        async def configure(connection: Connection) -> None:
            await connection.set_autocommit(True)
            if self._configure is not None:
                await self._configure(connection)

        pool = self._pool_kind(
            self._dsn,
            kwargs=self._options,
            min_size=0,
            max_size=self._most,
            reconnect_timeout=RECONNECT_SECONDS,
            timeout=CONNECT_SECONDS,
            configure=configure,
            check=self._check,
            open=False,
        )
        failed: Exception
        try:
            async with await self._connect() as connection:
                await self._prepare(connection)
            await pool.open()
            return pool
        except self._broken as error:
            failed = self._unreachable(error)
        except self._psycopg.Error as error:
            failed = StoreError(f"PostgreSQL at {self.where} refused a statement: {type(error).__name__}")
        await pool.close()
        raise failed

    async def _check(self, connection: Connection) -> None:
        # Nothing arrives on an idle connection until the server ends it: only then is a question worth the
        # time that it takes.
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
            if not poll.poll(0):
                return
        await self._pool_kind.check_connection(connection)

    def _unreachable(self, error: Exception) -> StoreUnavailable:
        # The library's own text is left out: it can quote the connection string.
        return StoreUnavailable(
            f"PostgreSQL at {self.where} cannot be reached or did not answer ({type(error).__name__})"
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
