"""The ways to a server: a process, an address, an object of this process."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from ...errors import ConfigurationError
from ...identity import MemoryIdentity
from .errors import ToolServerError, ToolServerUnavailable
from .secrets import Secrets
from .session import Lost, Refused, Session
from .settings import ForIdentity, Settings, given

__all__ = ["Address", "Hooks", "InProcess", "Opener", "Process"]

_log = logging.getLogger("agentfootprint.tools.mcp")

STDERR_KEPT = 2000


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a session calls: `asked` answers a server's question, `changed` hears of another list of tools."""

    asked: Callable[[Mapping[str, Any]], Any]
    changed: Callable[[], None]
    secrets: Secrets


class Opener(Protocol):
    """Opens sessions. `where` names the server in messages, without secrets."""

    @property
    def where(self) -> str: ...

    def open(
        self, identity: MemoryIdentity | None, settings: Settings, hooks: Hooks
    ) -> AbstractAsyncContextManager[Session]:
        """A session for whom `identity` names.

        Raises:
            ToolServerUnavailable, ToolServerError: on entering; it says why.
        """
        ...


@dataclass(frozen=True, slots=True)
class InProcess:
    """A server object of the SDK in this process."""

    server: Any
    where: str

    @asynccontextmanager
    async def open(
        self, identity: MemoryIdentity | None, settings: Settings, hooks: Hooks
    ) -> AsyncIterator[Session]:
        async with _opened(self.server, settings, hooks) as session:
            yield session


@dataclass(frozen=True, slots=True)
class Process:
    """A program that is started for each session and spoken to over its standard input and output. What it
    writes to its standard error goes to the log, at level debug."""

    command: str
    arguments: tuple[str, ...]
    env: Mapping[str, str] | ForIdentity | None = field(repr=False)
    cwd: str | None
    where: str

    @asynccontextmanager
    async def open(
        self, identity: MemoryIdentity | None, settings: Settings, hooks: Hooks
    ) -> AsyncIterator[Session]:
        from .stdio import program

        env = await given(self.env, identity)
        if env is not None:
            hooks.secrets.learn(env.values())
        async with _Stderr(settings.name, hooks.secrets) as stderr:
            watched = _Watched(
                program(
                    self.command,
                    self.arguments,
                    env=env,
                    cwd=self.cwd,
                    stderr=stderr.file,
                    max_bytes=_largest(settings),
                )
            )
            try:
                async with _opened(watched, settings, hooks, watched) as session:
                    yield session
            except (ToolServerError, ConfigurationError) as error:
                said = stderr.tail()
                if not said:
                    raise
                raise type(error)(f"{error}. It wrote: {said}") from None


@dataclass(frozen=True, slots=True)
class Address:
    """A server at a URL. Its headers are asked for before each request."""

    url: str = field(repr=False)
    headers: Mapping[str, str] | ForIdentity | None = field(repr=False)
    token: str | ForIdentity | None = field(repr=False)
    auth: Any = field(repr=False)
    where: str

    @asynccontextmanager
    async def open(
        self, identity: MemoryIdentity | None, settings: Settings, hooks: Hooks
    ) -> AsyncIterator[Session]:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        from ...vendors.guard import is_local
        from ...vendors.http_client import tls
        from .http import Steady, verdict

        async def headers() -> dict[str, str]:
            made = dict(await given(self.headers, identity) or {})
            if (token := await given(self.token, identity)) is not None:
                made["Authorization"] = f"Bearer {token}"
            hooks.secrets.learn(made.values())
            return made

        url = httpx2.URL(self.url)
        hooks.secrets.learn([url.password, *url.params.values()])
        inner = httpx2.AsyncHTTPTransport(verify=tls(), trust_env=not is_local(self.url))
        steady = Steady(url, headers, _largest(settings), inner)
        reading = max(300.0, settings.tool_timeout or 0.0)
        async with httpx2.AsyncClient(
            transport=steady,
            timeout=httpx2.Timeout(settings.start_timeout, read=reading),
            auth=await given(self.auth, identity) if not isinstance(self.auth, httpx2.Auth) else self.auth,
        ) as client:
            watched = _Watched(
                streamable_http_client(self.url, http_client=client, max_sse_event_size=_largest(settings))
            )
            async with _opened(watched, settings, hooks, watched, verdict) as session:
                yield session


def _largest(settings: Settings) -> int:
    """Bytes of one message: twice the data, for what is written as base64 beside the rest."""
    return 2 * settings.max_data_bytes + 10_000_000


@asynccontextmanager
async def _opened(
    server: Any,
    settings: Settings,
    hooks: Hooks,
    watched: _Watched | None = None,
    verdict: Callable[[Any], Lost | Refused | None] = lambda data: None,
) -> AsyncIterator[Session]:
    from mcp import MCPError

    from .sdk import opened

    ready = False
    try:
        async with opened(
            server,
            protocol=settings.protocol,
            start_timeout=settings.start_timeout,
            request_timeout=settings.request_timeout,
            max_data=settings.max_data_bytes,
            secrets=hooks.secrets,
            asked=hooks.asked,
            changed=hooks.changed,
            verdict=verdict,
        ) as session:
            if watched is not None:
                watched.when_over(session.over)
            ready = True
            yield session
    except TimeoutError:
        if ready:
            raise
        raise ToolServerUnavailable(
            f"MCP server {settings.name} was not ready within {settings.start_timeout:g} s and was given up"
        ) from None
    except Exception as error:
        if ready:
            raise
        cause = _first(error)
        if isinstance(cause, MCPError) and (said := verdict(cause.data)) is not None:
            cause = said
        text = f"MCP server {settings.name} cannot be used: {_why(cause, hooks.secrets)}"
        if isinstance(cause, (Refused, FileNotFoundError, PermissionError)):
            raise ToolServerError(text) from None
        raise ToolServerUnavailable(text, getattr(cause, "retry_after", None)) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _why(error: BaseException, secrets: Secrets) -> str:
    from mcp import MCPError

    if isinstance(error, (Lost, Refused)):
        return str(error)
    if isinstance(error, MCPError):
        return f"{secrets.hide(error.message)[:300]} (error {error.code})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({type(error).__name__})"
    # Its text could hold an address with its password.
    return type(error).__name__


class _Watched:
    """A transport of the SDK that tells when the other side has ended."""

    def __init__(self, transport: AbstractAsyncContextManager[Any]) -> None:
        self._transport = transport
        self._ended = False
        self._when_over: Callable[[], None] | None = None

    async def __aenter__(self) -> tuple[Any, Any]:
        read, write = await self._transport.__aenter__()
        return _Read(read, self._over), write

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._transport.__aexit__(kind, error, trace)

    def when_over(self, fn: Callable[[], None]) -> None:
        self._when_over = fn
        if self._ended:
            fn()

    def _over(self) -> None:
        self._ended = True
        if self._when_over is not None:
            self._when_over()


class _Read:
    def __init__(self, stream: Any, over: Callable[[], None]) -> None:
        self._stream = stream
        self._over = over

    @property
    def last_context(self) -> Any:
        return getattr(self._stream, "last_context", None)

    async def receive(self) -> Any:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> _Read:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except BaseException:
            self._over()
            raise

    async def __aenter__(self) -> _Read:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> Any:
        return await self._stream.__aexit__(*raised)


class _Stderr(asyncio.Protocol):
    """What a process writes to its standard error: the last of it is kept, all of it is logged."""

    def __init__(self, whose: str, secrets: Secrets) -> None:
        self._whose = whose
        self._secrets = secrets
        self._kept = b""

    async def __aenter__(self) -> _Stderr:
        read, write = os.pipe()
        self.file = os.fdopen(write, "w")
        try:
            loop = asyncio.get_running_loop()
            self._transport, _ = await loop.connect_read_pipe(lambda: self, os.fdopen(read, "rb", 0))
        except BaseException:
            self.file.close()
            raise
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.file.close()
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._kept = (self._kept + data)[-STDERR_KEPT:]
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s: %s", self._whose, self._secrets.hide(data.decode(errors="replace")))

    def tail(self) -> str:
        return self._secrets.hide(" ".join(self._kept.decode(errors="replace").split()))[-500:]
