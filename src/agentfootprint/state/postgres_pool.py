"""Connections to one schema of a PostgreSQL database, for every store that keeps something there."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ..errors import ConfigurationError, MissingExtra, StoreError, StoreUnavailable
from ..loops import PerLoop
from . import trying
from .postgres_connections import Connections, connection_kind
from .trying import Failed

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    Connection: TypeAlias = AsyncConnection[Any]

__all__ = ["PostgresPool"]

CONNECT_SECONDS = 5.0
"""For so long a call waits for a connection to be made, or to become free."""

_REFUSED = re.compile(r"FATAL: +(.+)")
"""What a server says to whom it does not let in. There is no code with it."""

_PASSES = re.compile(
    r"starting up|shutting down|recovery|terminating|too many|slots are reserved"
    r"|closed the connection|reset by peer|[Bb]roken pipe|EOF"
)
"""What is told of a connection that could not be made, and may be in a moment."""

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
        MissingExtra: psycopg is not installed.
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
        self._kind = connection_kind()
        self._broken = (psycopg.OperationalError, OSError)
        # A server that only reads is one that another has taken over from, or is about to.
        self._away = (psycopg.errors.ReadOnlySqlTransaction,)
        self._undone = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
        self._passing = tuple(getattr(psycopg.errors, name) for name in passing)
        self._what = what
        self._dsn = dsn
        self._options: dict[str, Any] = {
            "options": f"-c search_path={schema}",
            "connect_timeout": int(CONNECT_SECONDS),
            "autocommit": True,
        }
        self._most = max_connections
        self._prepare = prepare
        self._configure = configure
        self._closed = False
        self._pools: PerLoop[_Opening] = PerLoop(lambda: _Opening(self._open), lambda each: each.aclose())

    async def open(self) -> None:
        """Opens the pool of the running event loop now, to fail early.

        Raises:
            StoreUnavailable, StoreError: as `run` does.
        """
        await self._pool()

    async def check(self) -> None:
        """Prepares on a connection of its own, as before the first use, and closes it."""
        if self._closed:
            raise self._is_closed()

        async def prepare(connection: Connection) -> None:
            async with connection.transaction():
                await self._prepare(connection)

        await self._tried(lambda: self._apart(prepare, again=True))

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, again: bool = False) -> T:
        """The outcome of `work` with a connection, which is in autocommit mode.

        Args:
            again: it may be done again, for some seconds, when the connection broke and nobody knows
                whether it was done. What was never asked, and what the server undid to end a deadlock, is
                done again in any case.

        Raises:
            StoreUnavailable: the server cannot be reached, lets nobody in or did not answer.
            StoreError: it refused.
        """
        pool = await self._pool()
        return await self._tried(lambda: self._attempt(pool, work, again))

    async def alone(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The outcome of `work` with a connection of its own in autocommit mode, which is closed then."""
        return await self._tried(lambda: self._apart(work, again=False))

    async def aclose(self) -> None:
        """Closes the pool of the running event loop; those of others are closed as their loops end."""
        self._closed = True
        await self._pools.aclose()

    async def _pool(self) -> Connections:
        if self._closed:
            raise self._is_closed()
        return await self._pools.get().pool()

    async def _tried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        return await trying.tried(attempt, lambda: not self._closed)

    async def _attempt(self, pool: Connections, work: Callable[[Connection], Awaitable[T]], again: bool) -> T:
        try:
            connection = await pool.take()
        except TimeoutError:
            raise Failed(self._all_in_use()) from None
        try:
            return await self._worked(work, connection, again)
        finally:
            pool.give(connection)

    async def _apart(self, work: Callable[[Connection], Awaitable[T]], *, again: bool) -> T:
        connection = await self._connect()
        try:
            return await self._worked(work, connection, again)
        finally:
            await connection.close()

    async def _worked(
        self, work: Callable[[Connection], Awaitable[T]], connection: Connection, again: bool
    ) -> T:
        try:
            return await work(connection)
        except self._passing:
            raise
        except self._away as error:
            raise Failed(self._unreachable(error), trying.AWAY_SECONDS if again else 0.0) from None
        except self._broken as error:
            may = again or isinstance(error, self._undone)
            raise Failed(self._unreachable(error), trying.TRYING_SECONDS if may else 0.0) from None
        except self._psycopg.Error as error:
            raise Failed(self._refused(error)) from None

    async def _connect(self) -> Connection:
        """A new connection, for which nothing was asked yet."""
        connection: Connection | None = None
        try:
            connection = await self._kind.connect(self._dsn, **self._options)
            if self._configure is not None:
                await self._configure(connection)
            return connection
        except self._broken as error:
            failed = self._not_let_in(error) if connection is None else None
            failed = failed or Failed(self._unreachable(error), trying.TRYING_SECONDS)
        except self._psycopg.Error as error:
            failed = Failed(self._refused(error))
        if connection is not None:
            await connection.close()
        raise failed

    async def _open(self) -> Connections:
        await self.check()
        return Connections(self._connect, self._most, CONNECT_SECONDS)

    # ── what went wrong ─────────────────────────────────────────────────────────────────────────

    def _is_closed(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self._what} in PostgreSQL at {self.where} is closed")

    def _all_in_use(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._what} in PostgreSQL at {self.where} had none of its {self._most} connections free for "
            f"{CONNECT_SECONDS:g} s: give a larger max_connections, or find what holds them"
        )

    def _unreachable(self, error: Exception) -> StoreUnavailable:
        # The library's own text is left out: it can quote the connection string.
        return StoreUnavailable(
            f"PostgreSQL at {self.where} cannot be reached or did not answer ({type(error).__name__})"
        )

    def _refused(self, error: Exception) -> StoreError:
        return StoreError(f"PostgreSQL at {self.where} refused a statement: {type(error).__name__}")

    def _not_let_in(self, error: Exception) -> Failed:
        text = str(error)
        if _PASSES.search(text):
            return Failed(self._unreachable(error), trying.TRYING_SECONDS)
        if (said := _REFUSED.search(text)) is None:
            return Failed(self._unreachable(error), trying.AWAY_SECONDS)
        return Failed(
            StoreUnavailable(f"PostgreSQL at {self.where} does not let this user in: {said[1].strip()}")
        )


class _Opening:
    """A pool that is being opened once for all who wait for it, and again after it could not be."""

    def __init__(self, open_pool: Callable[[], Coroutine[Any, Any, Connections]]) -> None:
        self._open = open_pool
        self._task: asyncio.Task[Connections] | None = None

    async def pool(self) -> Connections:
        task = self._task
        if task is not None and task.done() and not task.cancelled() and task.exception() is None:
            return task.result()
        if task is None or task.done():
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
        pool.close()
