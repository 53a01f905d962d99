"""A session as the SDK of MCP holds it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, TypeVar

import anyio
import mcp_types as types
from mcp import Client, MCPError
from mcp.client.session import ClientRequestContext
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from ...messages import Message, Part
from .results import data_of, part_of
from .secrets import Secrets
from .session import Answer, Declared, InputNeeded, Lost, Prompt, Refused, Resource, Told
from .settings import Protocol

__all__ = ["SDKSession", "opened"]

T = TypeVar("T")

CLOSING_SECONDS = 5.0
MAX_PAGES = 100
MAX_LISTED = 10_000
LISTEN_AGAIN = (1.0, 60.0)
"""Seconds until changes are listened for again: at first, and at most."""

_log = logging.getLogger(__name__)

Asked = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


@asynccontextmanager
async def opened(
    server: Any,
    *,
    protocol: Protocol,
    start_timeout: float,
    request_timeout: float,
    max_data: int,
    secrets: Secrets,
    asked: Asked,
    changed: Callable[[], None],
    verdict: Callable[[Any], Lost | Refused | None] = lambda data: None,
) -> AsyncIterator[SDKSession]:
    """A session with a server, from the first greeting to its end. To be left in the task that entered it.

    Args:
        server: what `mcp.Client` takes.
        asked: answers a question that the server asks during a call; both are JSON.
        changed: told when the list of tools is another one.
        verdict: what a transport knows of a request that failed.

    Raises:
        TimeoutError: it was not ready in time; what was started is ended.
    """

    async def elicited(context: ClientRequestContext, params: types.ElicitRequestParams) -> Any:
        question = _question(params, secrets)
        return types.ElicitResult.model_validate(await asked(question), by_name=False)

    async def heard(message: Any) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            changed()

    client = Client(
        server,
        mode="legacy" if protocol == "2025-11-25" else "auto",
        elicitation_callback=elicited,
        message_handler=heard,
        client_info=types.Implementation(name="agentfootprint", version=version("agentfootprint")),
        cache=None,
    )
    with anyio.CancelScope(deadline=anyio.current_time() + start_timeout) as scope:
        async with client, anyio.create_task_group() as beside:
            scope.deadline = math.inf
            session = SDKSession(client, request_timeout, max_data, secrets, verdict)
            if protocol == "2026-07-28" and not session.modern:
                raise Refused(f"it speaks the revision {session.protocol_version}, not {protocol}")
            if session.modern and _announces(client):
                beside.start_soon(_listen, client, changed)
            try:
                yield session
            finally:
                session.over()
                scope.deadline = anyio.current_time() + CLOSING_SECONDS
                beside.cancel_scope.cancel()
    if scope.cancelled_caught and math.isfinite(scope.deadline):
        raise TimeoutError


def _announces(client: Client) -> bool:
    tools = client.server_capabilities.tools
    return tools is not None and bool(tools.list_changed)


async def _listen(client: Client, changed: Callable[[], None]) -> None:
    """Hears of other tools on a connection of the newer revision, and on another one when that ends. Without
    it the list is asked for by and by."""
    pause, longest = LISTEN_AGAIN
    heard_before = False
    while True:
        try:
            async with client.listen(tools_list_changed=True) as events:
                pause = LISTEN_AGAIN[0]
                if heard_before:
                    changed()  # Perhaps, while nobody listened.
                heard_before = True
                async for _ in events:
                    changed()
        except MCPError as error:
            if error.code in (types.METHOD_NOT_FOUND, types.INVALID_REQUEST, types.INVALID_PARAMS):
                _log.debug("an MCP server tells no changes: error %s", error.code)
                return
        except (RuntimeError, TimeoutError) as error:
            _log.debug("an MCP server stopped telling changes, and is asked again: %s", type(error).__name__)
        await anyio.sleep(pause)
        pause = min(2 * pause, longest)


class SDKSession:
    """See `Session`."""

    def __init__(
        self,
        client: Client,
        request_timeout: float,
        max_data: int,
        secrets: Secrets,
        verdict: Callable[[Any], Lost | Refused | None],
    ) -> None:
        self._client = client
        self._timeout = request_timeout
        self._max_data = max_data
        self._secrets = secrets
        self._verdict = verdict
        self._alive = True
        self._when_over: list[Callable[[], None]] = []

    @property
    def alive(self) -> bool:
        return self._alive

    @property
    def modern(self) -> bool:
        return self._client.protocol_version in MODERN_PROTOCOL_VERSIONS

    @property
    def protocol_version(self) -> str:
        return self._client.protocol_version

    def when_over(self, fn: Callable[[], None]) -> None:
        if self._alive:
            self._when_over.append(fn)
        else:
            fn()

    def over(self) -> None:
        self._alive = False
        for fn in self._when_over:
            fn()
        self._when_over.clear()

    # ── what is asked ───────────────────────────────────────────────────────────────────────────

    async def tools(self) -> Sequence[Declared]:
        async def page(cursor: str | None) -> tuple[Sequence[types.Tool], str | None]:
            listed = await self._client.list_tools(cursor=cursor)
            return listed.tools, listed.next_cursor

        return [_declared(tool, self._secrets) for tool in await self._pages(page)]

    async def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        told: Told,
        answers: Mapping[str, Any] | None = None,
        state: str | None = None,
    ) -> Answer | InputNeeded:
        responses = None if answers is None else {key: _response(each) for key, each in answers.items()}
        result: Any = await self._asked(
            self._client.session.call_tool(
                name,
                dict(arguments),
                progress_callback=told,
                input_responses=responses,
                request_state=state,
                allow_input_required=True,
            ),
            None,
        )
        if isinstance(result, types.InputRequiredResult):
            return _needed(result, self._secrets)
        parts = [part_of(block, self._max_data, self._secrets) for block in result.content]
        return Answer(
            parts, data_of(self._secrets.hide_in(result.structured_content), parts), result.is_error
        )

    async def resources(self) -> Sequence[Resource]:
        if self._client.server_capabilities.resources is None:
            return []

        async def page(cursor: str | None) -> tuple[Sequence[types.Resource], str | None]:
            listed = await self._client.list_resources(cursor=cursor)
            return listed.resources, listed.next_cursor

        async def templates(cursor: str | None) -> tuple[Sequence[types.ResourceTemplate], str | None]:
            listed = await self._client.list_resource_templates(cursor=cursor)
            return listed.resource_templates, listed.next_cursor

        found = [Resource(r.uri, r.name, r.description or "", r.mime_type) for r in await self._pages(page)]
        try:
            made = await self._pages(templates)
        except Refused:
            made = []  # A server need not know templates to offer resources.
        return found + [
            Resource(r.uri_template, r.name, r.description or "", r.mime_type, template=True) for r in made
        ]

    async def read_resource(self, uri: str) -> Sequence[Part]:
        result = await self._asked(self._client.read_resource(uri), self._timeout)
        return [part_of(each, self._max_data, self._secrets) for each in result.contents]

    async def prompts(self) -> Sequence[Prompt]:
        if self._client.server_capabilities.prompts is None:
            return []

        async def page(cursor: str | None) -> tuple[Sequence[types.Prompt], str | None]:
            listed = await self._client.list_prompts(cursor=cursor)
            return listed.prompts, listed.next_cursor

        return [
            Prompt(p.name, p.description or "", {a.name: bool(a.required) for a in p.arguments or ()})
            for p in await self._pages(page)
        ]

    async def get_prompt(self, name: str, arguments: Mapping[str, str]) -> Sequence[Message]:
        result = await self._asked(self._client.get_prompt(name, dict(arguments)), self._timeout)
        said = [(each.role, part_of(each.content, self._max_data, self._secrets)) for each in result.messages]
        return [Message.user(part) if role == "user" else Message.assistant(part) for role, part in said]

    # ── how ─────────────────────────────────────────────────────────────────────────────────────

    async def _pages(
        self, page: Callable[[str | None], Awaitable[tuple[Sequence[T], str | None]]]
    ) -> Sequence[T]:
        return await self._asked(self._read_pages(page), self._timeout)

    async def _read_pages(
        self, page: Callable[[str | None], Awaitable[tuple[Sequence[T], str | None]]]
    ) -> Sequence[T]:
        found: list[T] = []
        cursor = None
        for _ in range(MAX_PAGES):
            items, cursor = await page(cursor)
            found += items
            if len(found) > MAX_LISTED:
                break
            if not cursor:
                return found
        raise Refused(f"its list does not end: more than {min(len(found), MAX_LISTED):,} entries")

    async def _asked(self, request: Awaitable[T], timeout: float | None) -> T:
        try:
            async with asyncio.timeout(timeout):
                return await request
        except TimeoutError:
            said = "in time" if timeout is None else f"within {timeout:g} s"
            raise Lost(f"it did not answer {said}", sent=True) from None
        except MCPError as error:
            raise self._failure(error) from None
        except ValidationError as error:
            # The first of its problems, without what the server said there.
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:200]
            raise Refused(
                f"its answer is not one of MCP: {where}: {first['msg']} ({error.error_count()} problems)"
            ) from None
        except RuntimeError as error:
            raise Refused(self._secrets.hide(" ".join(str(error).split()))[:500]) from None

    def _failure(self, error: MCPError) -> Exception:
        if (said := self._verdict(error.data)) is not None:
            return said
        if error.code in (types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT):
            return Lost("the connection broke", sent=True)
        text = self._secrets.hide(" ".join(error.message.split()))[:500]
        if error.code == types.PARSE_ERROR:
            return Lost(f"its answer cannot be read: {text}", sent=True)
        return Refused(f"{text} (error {error.code})")


def _declared(tool: types.Tool, secrets: Secrets) -> Declared:
    hints = tool.annotations
    repeatable = hints is not None and bool(hints.idempotent_hint or hints.read_only_hint)
    description = secrets.hide(tool.description or tool.title or "")
    return Declared(tool.name, description, secrets.hide_in(tool.input_schema), repeatable)


def _needed(result: types.InputRequiredResult, secrets: Secrets) -> InputNeeded:
    questions = {}
    for key, request in (result.input_requests or {}).items():
        if not isinstance(request, types.ElicitRequest):
            raise Refused(f"it wants {request.method}, which is not offered to it")
        questions[key] = _question(request.params, secrets)
    return InputNeeded(questions, result.request_state)


def _question(asked: types.ElicitRequestParams, secrets: Secrets) -> dict[str, Any]:
    question: dict[str, Any] = secrets.hide_in(
        asked.model_dump(mode="json", by_alias=True, exclude_none=True)
    )
    return question


def _response(answer: Mapping[str, Any]) -> Any:
    return types.ElicitResult.model_validate(answer, by_name=False)
