"""The tools of MCP servers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack
from urllib.parse import urlsplit

from ...errors import ConfigurationError, MissingExtra
from ...identity import MemoryIdentity
from ...loops import PerLoop
from ...messages import Message, Part
from ..base import RunContext
from ..combined import Combinable
from ..tool import Tool
from .access import Access
from .errors import ToolServerUnavailable
from .offered import offered
from .opening import Address, InProcess, Opener, Process
from .session import Prompt, Resource
from .settings import ForIdentity, Options, Settings, settings

__all__ = ["MCPClient"]


class MCPClient(Combinable):
    """The tools of an MCP server: `Agent(provider, tools=[MCPClient.http("https://…/mcp")])`.

    Made by `stdio`, `http` or `in_memory`. Sessions are opened when a run needs one, each for one tenant
    unless `session_per=` says otherwise, and closed with the agent, with `async with`, or after
    `idle_timeout`. The object can be used from any number of runs and event loops.

    Keywords of all three, their units and defaults: see `agentfootprint.tools.mcp.Options`.
    """

    def __init__(self, opener: Opener, chosen: Settings) -> None:
        self._opener = opener
        self._settings = chosen
        self._entered = 0
        self._holders = 0
        self._sessions: PerLoop[_Sessions] = PerLoop(
            lambda: _Sessions(opener, chosen, self._access_of), lambda sessions: sessions.aclose()
        )

    @classmethod
    def stdio(
        cls,
        command: str,
        *arguments: str,
        env: Mapping[str, str] | ForIdentity | None = None,
        cwd: str | Path | None = None,
        **options: Unpack[Options],
    ) -> Self:
        """A server that is a program: started for each session, without a shell, and ended with it.

        Args:
            command, arguments: the program and its arguments, each a string of its own. They are part of the
                application: never take them from what a model or a user says.
            env: variables for it, or a function of the identity that gives them. Of this process's own it
                gets `PATH`, `HOME` and the like, and nothing else.
            cwd: the folder it runs in.

        Raises:
            MissingExtra: MCP is not installed.
            ConfigurationError: an argument that cannot be.
        """
        _need_sdk("MCPClient.stdio")
        for part in (command, *arguments):
            if type(part) is not str or "\0" in part:
                raise ConfigurationError(
                    f"MCPClient.stdio takes the program and each of its arguments as a string, not "
                    f"{type(part).__name__}"
                )
        if not command:
            raise ConfigurationError("MCPClient.stdio needs a program to start")
        where = Path(command).name
        opener = Process(command, arguments, env, None if cwd is None else str(cwd), where)
        return cls(opener, settings(where, options))

    @classmethod
    def http(
        cls,
        url: str,
        *,
        headers: Mapping[str, str] | ForIdentity | None = None,
        token: str | ForIdentity | None = None,
        auth: Any = None,
        **options: Unpack[Options],
    ) -> Self:
        """A server at a URL (streamable HTTP).

        Args:
            url: such as `https://example.com/mcp`; redirects are followed within its origin alone.
            headers, token: for each request; `token` is sent as bearer. Each may be a (possibly async)
                function of the identity that the session is for: of a session of a tenant, only the tenant.
                It is asked before each request, so that a secrets manager can renew what it gives.
            auth: an `httpx2.Auth`, such as the OAuth provider of the SDK, or a function of the identity that
                gives one for a session.

        Raises:
            MissingExtra: MCP is not installed.
            ConfigurationError: an argument that cannot be.
        """
        _need_sdk("MCPClient.http")
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("MCPClient.http needs a URL that begins with https:// or http://")
        if token is not None and auth is not None:
            raise ConfigurationError("MCPClient.http takes token= or auth=, not both")
        port = f":{parts.port}" if parts.port else ""
        where = f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
        return cls(Address(url, headers, token, auth, where), settings(where, options))

    @classmethod
    def in_memory(cls, server: Any, **options: Unpack[Options]) -> Self:
        """A server object of the SDK (`mcp.server.MCPServer`, or its low-level `Server`) in this process."""
        _need_sdk("MCPClient.in_memory")
        where = getattr(server, "name", None) or "in memory"
        return cls(InProcess(server, where), settings(where, options))

    @property
    def name(self) -> str:
        return self._settings.name

    # ── what a server offers ────────────────────────────────────────────────────────────────────

    async def tools(self, ctx: RunContext) -> Sequence[Tool[..., Any]]:
        """The tools for a run, as its tenant's session shows them.

        Raises:
            ToolServerUnavailable: it cannot be reached, or was not ready in time.
            ToolChanged: a pinned tool is not what was approved.
            ToolServerError: it does not let this client in, or does not speak MCP.
        """
        return await (await self._access(ctx.identity)).tools()

    async def digests(self, identity: MemoryIdentity | None = None) -> dict[str, str]:
        """A digest of what the model is shown of each tool, for `pin=`."""
        declared = await (await self._access(identity)).declared()
        return {tool.name: tool.digest for tool in declared}

    async def resources(self, identity: MemoryIdentity | None = None) -> Sequence[Resource]:
        """What the server offers to read, and templates of it."""
        access = await self._access(identity)
        return await access.ask("its resources cannot be listed", lambda session: session.resources())

    async def read_resource(self, uri: str, identity: MemoryIdentity | None = None) -> Sequence[Part]:
        """A resource as parts of a message: texts, images, files."""
        access = await self._access(identity)
        return await access.ask(f"{uri!r} cannot be read", lambda session: session.read_resource(uri))

    async def prompts(self, identity: MemoryIdentity | None = None) -> Sequence[Prompt]:
        """The prompts that the server makes."""
        access = await self._access(identity)
        return await access.ask("its prompts cannot be listed", lambda session: session.prompts())

    async def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, str] | None = None,
        identity: MemoryIdentity | None = None,
    ) -> Sequence[Message]:
        """A prompt of the server, as messages to start a run with."""
        access = await self._access(identity)
        return await access.ask(
            f"its prompt {name!r} cannot be had", lambda session: session.get_prompt(name, arguments or {})
        )

    # ── its lifetime ────────────────────────────────────────────────────────────────────────────

    async def aclose(self) -> None:
        """Closes the sessions of the running event loop; those of others are closed as their loops end. What
        is asked later opens new ones."""
        await self._sessions.aclose()

    async def __aenter__(self) -> Self:
        self._entered += 1
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._entered -= 1
        if not self._entered:
            # Also where an agent that used it is left open.
            await self.aclose()

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """What an agent does with it: the last to let it go closes it, unless it stands in `async with`."""
        if self._settings.session_per == "agent":
            # It is known whose session it is: that there is no server is told now, and not to the first run.
            await (await self._access(None)).declared()
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders and not self._entered:
                await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    async def _access(self, identity: MemoryIdentity | None) -> Access:
        return await self._access_of(_whose(identity, self._settings))

    async def _access_of(self, whose: MemoryIdentity | None) -> Access:
        return await self._sessions.get().of(whose)


def _whose(identity: MemoryIdentity | None, chosen: Settings) -> MemoryIdentity | None:
    """What a session is for. Those without a tenant have one of their own."""
    if identity is None or chosen.session_per == "agent":
        return None
    return identity.scoped(chosen.session_per)


class _Sessions:
    """The sessions of one event loop, the one that was used last at the end."""

    def __init__(
        self,
        opener: Opener,
        chosen: Settings,
        current: Callable[[MemoryIdentity | None], Awaitable[Access]],
    ) -> None:
        self._opener = opener
        self._settings = chosen
        self._current = current
        self._accesses: OrderedDict[MemoryIdentity | None, Access] = OrderedDict()

    async def of(self, whose: MemoryIdentity | None) -> Access:
        access = self._accesses.get(whose)
        if access is None:
            await self._make_room()
            made = Access(self._opener, self._settings, whose, offered, partial(self._current, whose))
            access = self._accesses.setdefault(whose, made)
        self._accesses.move_to_end(whose)
        return access

    async def _make_room(self) -> None:
        while len(self._accesses) >= self._settings.max_sessions:
            unused = next((whose for whose, each in self._accesses.items() if not each.busy), ...)
            if unused is ...:
                raise ToolServerUnavailable(
                    f"MCP server {self._settings.name}: all {self._settings.max_sessions} sessions are in "
                    "use: raise max_sessions="
                )
            await self._accesses.pop(unused).aclose()

    async def aclose(self) -> None:
        accesses = tuple(self._accesses.values())
        self._accesses.clear()
        await asyncio.gather(*(access.aclose() for access in accesses))


def _need_sdk(whose: str) -> None:
    try:
        import mcp  # noqa: F401 - whether it is there
    except ImportError:
        raise MissingExtra(whose, "mcp") from None
