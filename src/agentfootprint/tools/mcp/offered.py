"""What a server declares, as tools that a model may be shown."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import FlowInvalid, ToolError
from ...flow.codec import dumps
from ..context import ToolContext
from ..foreign import SchemaInvalid, foreign_tool
from ..result import MAX_RESULT_CHARS, render
from ..tool import Tool
from .asking import answered
from .errors import ToolChanged
from .results import content_of
from .session import Declared

if TYPE_CHECKING:
    from .access import Access

__all__ = ["names_of", "offered"]

MAX_DESCRIPTION = 20_000
MAX_SCHEMA = 200_000
"""Characters: a model pays for each of them in each of its calls."""

_log = logging.getLogger("agentfootprint.tools.mcp")


def offered(access: Access, declared: Sequence[Declared]) -> tuple[Tool[..., Any], ...]:
    """The tools. One that no model could be shown is left out, which is logged.

    Raises:
        ToolChanged: one is not what was approved.
    """
    # Some servers list a tool twice, on two pages of a list that changes.
    approved = list({tool.name: tool for tool in _approved(access, declared)}.values())
    tools = []
    for name, tool in zip(names_of(approved), approved, strict=True):
        try:
            tools.append(_tool(access, name, tool))
        except SchemaInvalid as error:
            _log.warning(
                "MCP server %s: tool %r is left out, its schema is of no use: %s",
                access.settings.name,
                tool.name,
                error,
            )
    return tuple(tools)


def names_of(declared: Sequence[Declared]) -> list[str]:
    """Names as vendors take them, each once: other characters become `_`.

    A name says which tool is meant, whatever order a server lists them in: a tool has its own name if vendors
    take it, and another never gets that name; of those whose names become the same, none gets it.
    """
    plain = [re.sub(r"[^a-zA-Z0-9_-]", "_", tool.name)[:64] for tool in declared]
    own = Counter(name.casefold() for name, tool in zip(plain, declared, strict=True) if name == tool.name)
    wanted = Counter(name.casefold() for name in plain)
    taken = set(own)
    names = []
    for name, tool in zip(plain, declared, strict=True):
        if name == tool.name:
            keeps = own[name.casefold()] == 1
        else:
            keeps = wanted[name.casefold()] == 1 and len(tool.name) <= 64
        names.append(name if keeps and name else _marked(name, tool.name, taken))
        taken.add(names[-1].casefold())
    return names


def _marked(name: str, mark: str, taken: Collection[str]) -> str:
    while True:
        mark = hashlib.sha256(mark.encode()).hexdigest()
        marked = f"{name[:55]}_{mark[:8]}"
        if marked.casefold() not in taken:
            return marked


def _approved(access: Access, declared: Sequence[Declared]) -> Sequence[Declared]:
    pin = access.settings.pin
    if pin is None:
        return declared
    changed = [tool for tool in declared if pin.get(tool.name, tool.digest) != tool.digest]
    if changed:
        now = ", ".join(f"{tool.name!r}: {tool.digest!r}" for tool in changed)
        raise ToolChanged(
            f"MCP server {access.settings.name} declares {len(changed)} tools otherwise than they were "
            f"approved: read what it says now, then pin {{{now}}}"
        )
    if new := [tool.name for tool in declared if tool.name not in pin]:
        _log.warning("MCP server %s: not pinned and left out: %s", access.settings.name, ", ".join(new))
    return [tool for tool in declared if tool.name in pin]


def _tool(access: Access, name: str, declared: Declared) -> Tool[..., Any]:
    if len(dumps(declared.schema)) > MAX_SCHEMA:
        raise SchemaInvalid(f"it is longer than {MAX_SCHEMA:,} characters")
    settings = access.settings
    again = declared.repeatable or declared.name in settings.idempotent

    async def call(ctx: ToolContext[Any], /, **arguments: Any) -> Any:
        return await _call(await access.current(), declared, ctx, arguments, again)

    return foreign_tool(
        call,
        name,
        declared.description[:MAX_DESCRIPTION],
        declared.schema,
        timeout=settings.tool_timeout,
        idempotent=again,
        capabilities=tuple(settings.capabilities),
        max_result_chars=settings.max_result_chars,
    )


async def _call(
    access: Access, declared: Declared, ctx: ToolContext[Any], arguments: Mapping[str, Any], again: bool
) -> Any:
    if access.settings.pin is not None:
        await _still_approved(access, declared)

    async def told(progress: float, total: float | None, message: str | None) -> None:
        try:
            ctx.progress(access.secrets.hide(message or ""), _fraction(progress, total))
        except FlowInvalid:
            return  # The call is over.

    answer = await answered(
        ctx,
        access.asking,
        access.settings.name,
        lambda answers, state: access.call(
            declared.name, arguments, told, again=again, answers=answers, state=state
        ),
    )
    content = content_of(answer)
    if answer.is_error:
        raise ToolError(_error(declared.name, content, access.settings.max_result_chars))
    return content


async def _still_approved(access: Access, declared: Declared) -> None:
    now = {each.digest for each in await access.declared() if each.name == declared.name}
    if now != {declared.digest}:
        raise ToolError(
            f"{declared.name} was not run: its server changed it, and the change is not approved."
        )


def _fraction(progress: float, total: float | None) -> float | None:
    return min(1.0, max(0.0, progress / total)) if total else None


def _error(name: str, content: Any, limit: int | None) -> str:
    if content is None or content == "":
        return f"{name} failed and did not say why."
    told = render(content, MAX_RESULT_CHARS if limit is None else limit, tool=name)
    if isinstance(told, str):
        return told
    return "\n".join(getattr(part, "text", f"[{part.kind}]") for part in told)
