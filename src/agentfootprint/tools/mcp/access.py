"""One tenant's use of one server: a session, opened when it is needed and again when it broke, and its
tools."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from ...errors import ToolError
from ...identity import MemoryIdentity
from ..owner import Owner
from ..tool import Tool
from .asking import Asking
from .errors import ToolServerError, ToolServerUnavailable
from .opening import Hooks, Opener
from .secrets import Secrets
from .session import Answer, Declared, InputNeeded, Lost, Refused, Session, Told
from .settings import Settings

__all__ = ["Access"]

T = TypeVar("T")

LAST_WORDS = 1.0
"""Seconds that a call has to tell how it ended after its session did, and to end after it was given up."""


class Access:
    """Belongs to one event loop.

    Args:
        whose: what the session is for: of a session of a tenant, only the tenant.
        made: makes the tools of what the server declares.
        current: the access of the same tenant that is in use when a tool that was made here is called: this
            one may have been closed.
    """

    def __init__(
        self,
        opener: Opener,
        settings: Settings,
        whose: MemoryIdentity | None,
        made: Callable[[Access, Sequence[Declared]], tuple[Tool[..., Any], ...]],
        current: Callable[[], Awaitable[Access]],
    ) -> None:
        self._opener = opener
        self.settings = settings
        self._whose = whose
        self._made = made
        self.current = current
        self.secrets = Secrets()
        self.asking = Asking(settings.answer_timeout)
        self._hooks = Hooks(self.asking.asked, self._changed, self.secrets)
        self._owner: Owner[Session] | None = None
        self._owners: set[Owner[Session]] = set()
        """That one, and those that are still leaving."""
        self._listing = asyncio.Lock()
        self._declared: Sequence[Declared] = ()
        self._made_of: Sequence[Declared] | None = None
        self._tools: tuple[Tool[..., Any], ...] = ()
        self._fresh_until = 0.0
        self._changes = 0
        self._busy = 0
        self._closed = False
        self._used = time.monotonic()
        self._idle: asyncio.TimerHandle | None = None

    @property
    def busy(self) -> bool:
        return self._busy > 0

    async def aclose(self) -> None:
        """Ends the session, for good: what is asked later is asked of the current one."""
        self._closed = True
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._owner = None
        await asyncio.gather(*(owner.aclose() for owner in self._owners))

    # ── its tools ───────────────────────────────────────────────────────────────────────────────

    async def tools(self) -> tuple[Tool[..., Any], ...]:
        declared = await self.declared()
        if declared is not self._made_of:
            self._tools = self._made(self, declared)
            self._made_of = declared
        return self._tools

    async def declared(self) -> Sequence[Declared]:
        """What the server declares: as it was asked not long ago, unless it said that it changed since."""
        async with self._listing:
            if time.monotonic() < self._fresh_until:
                return self._declared
            seen = 0

            async def listed(session: Session) -> Sequence[Declared]:
                nonlocal seen
                seen = self._changes
                return await session.tools()

            found = await self.ask("its tools cannot be listed", listed)
            if found != self._declared:
                self._declared = found
            if seen == self._changes:
                self._fresh_until = time.monotonic() + self.settings.refresh
            return self._declared

    def _changed(self) -> None:
        self._changes += 1
        self._fresh_until = 0.0

    # ── requests ────────────────────────────────────────────────────────────────────────────────

    async def ask(self, what: str, request: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """A request without effects: asked again where it got no answer.

        Raises:
            ToolServerUnavailable, ToolServerError
        """
        try:
            return await self._requested(request, again=True)
        except Refused as error:
            raise ToolServerError(f"MCP server {self.settings.name}: {what}: {error}") from None

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        told: Told,
        *,
        again: bool,
        answers: Mapping[str, Any] | None = None,
        state: str | None = None,
    ) -> Answer | InputNeeded:
        """A call of a tool, made once, or `again` where it got no answer.

        Raises:
            ToolError: there is no result; says what is known.
        """
        try:
            return await self._requested(
                lambda session: session.call(name, arguments, told, answers, state), again=again
            )
        except Refused as error:
            raise ToolError(f"{name} failed: {error}") from None
        except _Unknown as error:
            raise ToolError(
                f"{name} was cut off, {error}: whether it took effect is not known. Find out before it is "
                "called again."
            ) from None
        except ToolServerError as error:
            raise ToolError(f"{name} was not run: {error}") from None

    async def _requested(self, request: Callable[[Session], Coroutine[Any, Any, T]], again: bool) -> T:
        async def once() -> T:
            # One that was closed meanwhile opens no session, which nobody would close.
            access = await self.current() if self._closed else self
            return await access._once(request, again)

        return await self.settings.retry.run(once)

    async def _once(self, request: Callable[[Session], Coroutine[Any, Any, T]], again: bool) -> T:
        self._busy += 1
        try:
            owner = self._opened()
            session = await owner.value()
            if owner.over:
                # It was closed meanwhile: nothing was sent.
                raise ToolServerUnavailable(f"MCP server {self.settings.name} ended its session")
            try:
                return await _unless_over(request(session), owner)
            except Lost as lost:
                if lost.gone or not session.alive:
                    owner.leave()
                if lost.sent and not again:
                    raise _Unknown(str(lost)) from None
                raise ToolServerUnavailable(
                    f"MCP server {self.settings.name} does not answer: {lost}", lost.retry_after
                ) from None
        finally:
            self._busy -= 1
            self._touch()

    # ── its session ─────────────────────────────────────────────────────────────────────────────

    def _opened(self) -> Owner[Session]:
        owner = self._owner
        if owner is None or owner.over:
            owner = self._owner = Owner(self._session, f"MCP session with {self.settings.name}")
            self._owners.add(owner)
            owner.task.add_done_callback(lambda _: self._owners.discard(owner))
        return owner

    @asynccontextmanager
    async def _session(self, owner: Owner[Session]) -> AsyncIterator[Session]:
        async with self._opener.open(self._whose, self.settings, self._hooks) as session:
            session.when_over(owner.leave)
            # Another process may stand behind it, with other tools.
            self._changed()
            yield session

    def _touch(self) -> None:
        self._used = time.monotonic()
        if self._idle is None and not self._closed:
            self._idle = asyncio.get_running_loop().call_later(self.settings.idle_timeout, self._unused)

    def _unused(self) -> None:
        self._idle = None
        left = self._used + self.settings.idle_timeout - time.monotonic()
        if self.busy or left > 0:
            self._idle = asyncio.get_running_loop().call_later(max(left, 0.01), self._unused)
        elif self._owner is not None:
            self._owner.leave()
            self._owner = None


class _Unknown(Exception):
    """A request was sent and has no answer."""


async def _unless_over(request: Coroutine[Any, Any, T], owner: Owner[Any]) -> T:
    """The request in a task of its own, whose scopes it enters and leaves; given up when the session
    ended."""
    task = asyncio.ensure_future(request)
    try:
        await asyncio.wait({task, owner.task}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=LAST_WORDS)
        if task.done() and not task.cancelled():
            return task.result()
    finally:
        if not task.done():
            task.cancel()
            # It tells the server that nobody waits any more.
            await asyncio.wait({task}, timeout=LAST_WORDS)
    raise Lost("its session ended", sent=True, gone=True)
