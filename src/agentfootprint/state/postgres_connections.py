"""The connections of one event loop to a PostgreSQL: so many at most, each looked at before it is used."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from psycopg import AsyncConnection
    from psycopg.abc import RV, PQGen

    Connection: TypeAlias = AsyncConnection[Any]

__all__ = ["Connections", "connection_kind"]

IDLE_SECONDS = 600.0
"""A connection that nobody needs for so long is closed."""

OLD_SECONDS = 3600.0
"""So is one that is older: what a backend of the server gathers in memory, and where a balancer sent it."""


class Connections:
    """Connections that are kept for the next call.

    A call makes the one that it needs by itself, and so hears itself why it cannot: nobody waits for a
    reconnection in the background that has its own idea of when to try again.

    Args:
        connect: makes a connection in autocommit mode.
        most: so many may be in use; who comes then waits.
        patience: seconds to wait for one of them; then `TimeoutError` is raised.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], most: int, patience: float) -> None:
        self._connect = connect
        self._room = asyncio.Semaphore(most)
        self._patience = patience
        self._idle: list[tuple[float, Connection]] = []
        self._since: dict[Connection, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self) -> Connection:
        """A connection that works as far as can be told without asking the server."""
        if self._room.locked():
            async with asyncio.timeout(self._patience):
                await self._room.acquire()
        else:
            await self._room.acquire()
        try:
            # The last one that came back: those that are not needed grow old, and are closed.
            while self._idle:
                _, connection = self._idle.pop()
                if time.monotonic() - self._since[connection] < OLD_SECONDS and await _works(connection):
                    return connection
                self._drop(connection)
            connection = await self._connect()
            self._since[connection] = time.monotonic()
            return connection
        except BaseException:
            self._room.release()
            raise

    def give(self, connection: Connection) -> None:
        """Takes a connection back. One that is in the midst of something is of no use to anybody else."""
        self._room.release()
        server = connection.pgconn
        if self._closed or server.transaction_status != _IDLE or server.pipeline_status != _NO_PIPELINE:
            self._drop(connection)
            return
        self._idle.append((time.monotonic(), connection))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._shrink)

    def close(self) -> None:
        """Closes what is idle now, and what is in use when it comes back."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._idle:
            self._drop(self._idle.pop()[1])

    def _shrink(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._idle and now - self._idle[0][0] >= IDLE_SECONDS:
            self._drop(self._idle.pop(0)[1])
        if self._idle:
            wait = self._idle[0][0] + IDLE_SECONDS - now
            self._timer = asyncio.get_running_loop().call_later(wait, self._shrink)

    def _drop(self, connection: Connection) -> None:
        self._since.pop(connection, None)
        connection.pgconn.finish()  # What `close()` does, without anything to wait for.


# psycopg.pq.TransactionStatus.IDLE and PipelineStatus.OFF, which are numbers of libpq.
_IDLE, _NO_PIPELINE = 0, 0


async def _works(connection: Connection) -> bool:
    # Nothing arrives on an idle connection until the server ends it: only then is a question worth the
    # time that it takes.
    if connection.closed:
        return False
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if not poll.poll(0):
            return True
    import psycopg

    try:
        await connection.execute("")
    except (psycopg.Error, OSError):
        return False
    return True


def connection_kind() -> type[Connection]:
    """A connection whose calls end at once when they are cancelled: the connection is given up.

    psycopg's own asks the server on another connection to end the statement, and waits up to ten seconds for
    a server that does not answer.
    """
    from psycopg import AsyncConnection, waiting

    class Hasty(AsyncConnection[Any]):
        async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
            more = {} if timeout is None else {"timeout": timeout}
            try:
                return await waiting.wait_async(gen, self.pgconn.socket, interval, **more)
            except asyncio.CancelledError:
                self.pgconn.finish()
                raise

    return Hasty
