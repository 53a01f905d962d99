"""An MCP server's tools without a server."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Unpack

from ...errors import ConfigurationError
from ...flow.codec import dumps, encode
from ...identity import MemoryIdentity
from ...messages import File, Image, Message, Part, Text
from ..arguments import ArgumentsInvalid
from ..tool import Tool
from ..toolset import as_tools
from .client import MCPClient
from .opening import Hooks
from .session import Answer, Declared, InputNeeded, Prompt, Refused, Resource, Session, Told
from .settings import Options, Settings, settings

__all__ = ["MockMCPClient"]


class MockMCPClient(MCPClient):
    """The same interface on plain functions, without a server and without the SDK, for development and tests.

    What a server would do to them happens to them: names are mapped, arguments checked, tools pinned, results
    bounded, sessions opened for each tenant, errors told to the model.

    Args:
        tools: functions, as for an agent; none may take a `ToolContext`, which no server has. What one raises
            is the error that the model reads. Setting `.offers` to others changes what the server offers.
        resources: texts by URI.
        prompts: by name, functions of strings that give a text.

    Attributes:
        calls: what was called: the tenant's or person's identity, the name, the arguments.
        opened: for whom sessions were opened, in order.

    Raises:
        ConfigurationError: something is no tool, or takes a context.
    """

    def __init__(
        self,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] = (),
        *,
        resources: Mapping[str, str] | None = None,
        prompts: Mapping[str, Callable[..., str]] | None = None,
        **options: Unpack[Options],
    ) -> None:
        self.resources_by_uri = dict(resources or {})
        self.prompts_by_name = dict(prompts or {})
        self.calls: list[tuple[MemoryIdentity | None, str, dict[str, Any]]] = []
        self.opened: list[MemoryIdentity | None] = []
        self._live: list[_MockSession] = []
        self.offers = tools
        super().__init__(_Opener(self), settings("mock", options))

    @property
    def offers(self) -> tuple[Tool[..., Any], ...]:
        return self._offers

    @offers.setter
    def offers(self, tools: Iterable[Tool[..., Any] | Callable[..., Any]]) -> None:
        made = as_tools(tools)
        for each in made:
            if each.wants_context:
                raise ConfigurationError(f"tool {each.name!r} takes a ToolContext, which no MCP server has")
        self._offers = made
        for session in self._live:
            session.changed()

    def restart(self) -> None:
        """Ends every session, as a server does that is started again."""
        for session in tuple(self._live):
            session.over()


@dataclass(frozen=True, slots=True)
class _Opener:
    mock: MockMCPClient
    where: str = "mock"

    @asynccontextmanager
    async def open(
        self, identity: MemoryIdentity | None, settings: Settings, hooks: Hooks
    ) -> AsyncIterator[Session]:
        self.mock.opened.append(identity)
        session = _MockSession(self.mock, identity, hooks.changed)
        self.mock._live.append(session)
        try:
            yield session
        finally:
            session.over()
            self.mock._live.remove(session)


class _MockSession:
    def __init__(
        self, mock: MockMCPClient, identity: MemoryIdentity | None, changed: Callable[[], None]
    ) -> None:
        self._mock = mock
        self._identity = identity
        self.changed = changed
        self._alive = True
        self._when_over: list[Callable[[], None]] = []

    @property
    def alive(self) -> bool:
        return self._alive

    def when_over(self, fn: Callable[[], None]) -> None:
        self._when_over.append(fn)

    def over(self) -> None:
        self._alive = False
        for fn in self._when_over:
            fn()
        self._when_over.clear()

    async def tools(self) -> Sequence[Declared]:
        return [
            Declared(tool.name, tool.description, tool.spec.schema, tool.idempotent)
            for tool in self._mock.offers
        ]

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        told: Told,
        answers: Mapping[str, Any] | None = None,
        state: str | None = None,
    ) -> Answer | InputNeeded:
        self._mock.calls.append((self._identity, name, dict(arguments)))
        tool = next((each for each in self._mock.offers if each.name == name), None)
        if tool is None:
            raise Refused(f"there is no tool {name!r}")
        try:
            return _answer(await tool.invoke(tool.bind(arguments)))
        except ArgumentsInvalid as error:
            raise Refused(str(error)) from None
        except Exception as error:
            return Answer([Text(str(error) or type(error).__name__)], is_error=True)

    async def resources(self) -> Sequence[Resource]:
        return [Resource(uri, uri, media_type="text/plain") for uri in self._mock.resources_by_uri]

    async def read_resource(self, uri: str) -> Sequence[Part]:
        if uri not in self._mock.resources_by_uri:
            raise Refused(f"there is no resource {uri!r}")
        return [Text(self._mock.resources_by_uri[uri])]

    async def prompts(self) -> Sequence[Prompt]:
        return [
            Prompt(
                name,
                inspect.getdoc(make) or "",
                {p.name: p.default is p.empty for p in inspect.signature(make).parameters.values()},
            )
            for name, make in self._mock.prompts_by_name.items()
        ]

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> Sequence[Message]:
        if name not in self._mock.prompts_by_name:
            raise Refused(f"there is no prompt {name!r}")
        return [Message.user(self._mock.prompts_by_name[name](**arguments))]


def _answer(value: Any) -> Answer:
    if isinstance(value, (Text, Image, File)):
        return Answer([value])
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, (Text, Image, File)) for v in value):
        return Answer(list(value))
    if isinstance(value, str) or value is None:
        return Answer([Text(value or "")])
    # As servers do: the data, and the same as text for older clients.
    return Answer([Text(dumps(encode(value)))])
