"""A Redis as the stores use it: scripts by their digest, errors by name, questions asked again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import MissingExtra, StoreCorrupt, StoreError, StoreUnavailable
from ..loops import PerLoop
from . import trying
from .trying import Failed

if TYPE_CHECKING:
    import redis.asyncio

__all__ = ["GRACE", "Argument", "RedisServer"]

CONNECT_SECONDS = 5.0

GRACE = 60.0
"""Seconds a key outlives its deadline in Redis: the deadline is in the value, so clocks may differ."""

Argument: TypeAlias = str | bytes | int

_NOT_NOW = frozenset(
    ("ReadOnlyError", "OutOfMemoryError", "ClusterDownError", "MasterDownError", "TryAgainError")
)
_UNWELL = re.compile(r"\b(READONLY|OOM|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|MISCONF|NOREPLICAS|BUSY|UNBLOCKED)\b")
"""What a server answers that is becoming a replica, is full, cannot save or waits for others. The library
knows some of these words and takes them off; within a script an older server quotes them."""


_NOT_REACHED = re.compile(r"\bconnecting to\b")
"""What the library tells of a server that takes no connection."""

_REFUSED = re.compile(r"\bDB index\b|invalid DB|max number of clients", re.IGNORECASE)
"""What a server answers to who connects, and what no command of ours brings about."""


class RedisServer:
    """One Redis, with connections for each event loop. What is asked with `again` may be asked twice
    without harm.

    Args:
        whose: the store's class, for messages.
        url: `redis://`, `rediss://` or `unix://`, also with user and password.
        client: a client of the caller's instead; it is left open.
    """

    def __init__(self, whose: str, url: str, client: redis.asyncio.Redis | None) -> None:
        try:
            import redis.asyncio
        except ImportError:
            raise MissingExtra(whose, "redis") from None
        self._redis = redis
        self._whose = whose
        self._given = client
        self._closed = False
        self._make = partial(
            redis.asyncio.Redis.from_url,
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=CONNECT_SECONDS,
            retry=None,
        )
        self._clients: PerLoop[Any] = PerLoop(self._make, lambda made: made.aclose())
        pool = client.connection_pool if client is not None else redis.asyncio.ConnectionPool.from_url(url)
        options = pool.connection_kwargs
        self.where = options.get("path") or f"{options.get('host')}:{options.get('port', 6379)}"

    async def check(self) -> None:
        """Asks the server for a sign of life, on a connection that is closed then.

        Raises:
            StoreUnavailable: it cannot be reached, or does not let this user in.
        """
        self._check_open()
        client = self._given if self._given is not None else self._make()

        async def attempt() -> None:
            try:
                await client.ping()
            except self._redis.exceptions.NoPermissionError:
                pass  # Who may not say it has been let in.
            except (self._redis.exceptions.RedisError, OSError) as error:
                raise self._failed("ping", error, again=True) from None

        try:
            await trying.tried(attempt, lambda: not self._closed)
        finally:
            if self._given is None:
                await client.aclose()

    async def ask(self, command: str, *arguments: Any, again: bool = False, **options: Any) -> Any:
        """What a command returns. One that was not sent is tried again in any case."""

        async def attempt() -> Any:
            if not again:
                await self._sound()
            return await self._once(command, arguments, options, again)

        return await trying.tried(attempt, lambda: not self._closed)

    async def script(
        self, source: str, keys: Sequence[str], arguments: Sequence[Argument], *, again: bool = False
    ) -> Any:
        """What a script returns. Redis keeps a script it has seen: its digest is enough from then on."""
        given = (len(keys), *keys, *arguments)
        try:
            return await self.ask("evalsha", _digest(source), *given, again=again)
        except _Unknown:
            return await self.ask("eval", source, *given, again=again)

    async def scripts(
        self, source: str, each: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        """What a script returns for each of these keys and arguments, in one round trip."""

        async def attempt() -> list[Any]:
            await self._sound()
            try:
                async with self._client().pipeline(transaction=False) as line:
                    for keys, arguments in each:
                        line.eval(source, len(keys), *keys, *arguments)
                    answers: list[Any] = await line.execute()
                    return answers
            except (self._redis.exceptions.RedisError, OSError) as error:
                raise self._failed("eval", error, again=False) from None

        return await trying.tried(attempt, lambda: not self._closed)

    async def aclose(self) -> None:
        """Closes the connections of the running event loop; those of others are closed as their loops end."""
        self._closed = True
        await self._clients.aclose()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable(f"this {self._whose} at {self.where} is closed")

    def _client(self) -> Any:
        self._check_open()
        return self._given if self._given is not None else self._clients.get()

    async def _sound(self) -> None:
        """Has a connection made before what must not be sent twice: whatever fails here was not sent."""
        pool = getattr(self._client(), "connection_pool", None)
        if pool is None:  # A client of the caller's for several servers.
            return
        try:
            await pool.release(await pool.get_connection())
        except (self._redis.exceptions.RedisError, OSError) as error:
            raise self._failed("connect", error, again=True) from None

    async def _once(
        self, command: str, arguments: tuple[Any, ...], options: dict[str, Any], again: bool
    ) -> Any:
        try:
            return await getattr(self._client(), command)(*arguments, **options)
        except (self._redis.exceptions.RedisError, OSError) as error:
            raise self._failed(command, error, again) from None

    def _failed(self, command: str, error: Exception, again: bool) -> Failed:
        known = self._redis.exceptions
        named = self._named(command, error)
        if not isinstance(named, StoreUnavailable) or isinstance(error, known.AuthenticationError):
            return Failed(named)
        if isinstance(error, known.ResponseError) or _NOT_REACHED.search(str(error)):
            # Nothing was done: it was not sent, or the server says so.
            return Failed(named, trying.AWAY_SECONDS)
        return Failed(named, trying.TRYING_SECONDS if again else 0.0)

    def _named(self, command: str, error: Exception) -> StoreError:
        known = self._redis.exceptions
        if isinstance(error, known.NoScriptError):
            return _Unknown(f"Redis at {self.where} does not know a script")
        text = str(error)
        if isinstance(error, known.NoPermissionError) or "ACL failure" in text:
            return StoreError(
                f"Redis at {self.where} does not let this user do {command}: give it the keys under the "
                "store's prefix, and the commands that its documentation names"
            )
        if isinstance(error, known.AuthenticationError):
            return StoreUnavailable(
                f"Redis at {self.where} does not let this user in: check the user name and the password"
            )
        if isinstance(error, known.ResponseError):
            if _REFUSED.search(text):
                return StoreUnavailable(f"Redis at {self.where} does not take this connection: {text}")
            if type(error).__name__ in _NOT_NOW or _UNWELL.search(text):
                return StoreUnavailable(f"Redis at {self.where} takes no {command} now: {text}")
            return StoreCorrupt(f"Redis at {self.where} refused {command}: {text}")
        # The library's own text is left out: it can quote the address with its password.
        return StoreUnavailable(
            f"Redis at {self.where} cannot be reached or did not answer ({type(error).__name__})"
        )


class _Unknown(StoreError):
    """Redis was restarted, or is another one, and has to be told the script."""


@cache
def _digest(source: str) -> str:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
