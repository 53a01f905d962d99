"""Tools that are known when the agent is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..errors import ConfigurationError
from .base import RunContext, Toolset
from .combined import Combinable
from .tool import Tool, make_tool

__all__ = ["StaticToolset", "as_tools", "together"]


class StaticToolset(Combinable):
    """A fixed set of tools; plain functions are made tools.

    Raises:
        ConfigurationError: something is no tool, or two have the same or look-alike names.
    """

    __slots__ = ("_tools",)

    def __init__(self, items: Iterable[Tool[..., Any] | Callable[..., Any]]) -> None:
        self._tools = as_tools(items)

    async def tools(self, ctx: RunContext) -> tuple[Tool[..., Any], ...]:
        return self._tools


def as_tools(items: Iterable[Tool[..., Any] | Callable[..., Any]]) -> tuple[Tool[..., Any], ...]:
    """The items as tools; plain functions are wrapped by `@tool`.

    Raises:
        ConfigurationError: something is no tool, or two have the same or look-alike names.
    """
    tools: list[Tool[..., Any]] = []
    seen: dict[str, str] = {}
    for at, item in enumerate(items):
        if not callable(item):
            raise ConfigurationError(
                f"tools[{at}] is a {type(item).__name__}, which is no tool: give a function or a Tool"
            )
        made = item if isinstance(item, Tool) else make_tool(item)
        if made.unbound:
            raise ConfigurationError(
                f"tool {made.name!r} is a method without its object: give the tool of an object, "
                f"such as my_object.{made.name}"
            )
        other = seen.setdefault(made.name.casefold(), made.name)
        if len(seen) == len(tools):  # It has not grown: the name was there.
            same = "are named" if other == made.name else f"differ only in case, {other!r} and"
            raise ConfigurationError(
                f"two tools {same} {made.name!r}, so the model cannot tell them apart: "
                "rename one with @tool(name=...)"
            )
        tools.append(made)
    return tuple(tools)


async def together(
    own: Sequence[Tool[..., Any]], toolsets: Sequence[Toolset], ctx: RunContext
) -> tuple[Tool[..., Any], ...]:
    """An agent's own tools and those of its toolsets, for one run.

    Raises:
        ConfigurationError: two of them have one name; says whose they are.
    """
    found = list(own)
    whose = {tool.name.casefold(): "the agent's own" for tool in own}
    for toolset in toolsets:
        for tool in await toolset.tools(ctx):
            other = whose.setdefault(tool.name.casefold(), f"of {toolset!r:.100}")
            if len(whose) == len(found):  # It has not grown: the name was there.
                raise ConfigurationError(
                    f"two tools are named {tool.name!r}, so the model cannot tell them apart: {other}, and "
                    f"one of "
                    f"{toolset!r:.100}; put a prefix before the names of a toolset: "
                    "toolset.prefixed('its_')"
                )
            found.append(tool)
    return as_tools(found)
