"""Toolsets made of others: some of their tools, under other names, as a policy permits, or only with a
person's approval."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

from ..errors import ConfigurationError
from ..numeric import check_seconds
from .base import RunContext, Toolset
from .tool import Approval, Gated, Tool

if TYPE_CHECKING:
    from ..security.base import PermissionChecker, PermissionRequest

__all__ = [
    "ApprovalRequiredToolset",
    "Combinable",
    "FilteredToolset",
    "GatedToolset",
    "PrefixedToolset",
    "RenamedToolset",
    "WrapperToolset",
]

Wanted: TypeAlias = str | Iterable[str] | Callable[[RunContext, Tool[..., Any]], bool]
"""Which tools: a pattern of their names such as `"read_*"`, several of them, or a function of run and
tool."""


class Combinable:
    """Base of toolsets that can be written `toolset.filtered("read_*").prefixed("gh_")`.

    For a toolset of your own that does not inherit it: `PrefixedToolset(mine, "gh_")` is the same.
    """

    __slots__ = ()

    def filtered(self: Toolset, wanted: Wanted) -> FilteredToolset:
        """Only these of its tools: patterns of names, or a function of the run and the tool."""
        return FilteredToolset(self, wanted)

    def prefixed(self: Toolset, prefix: str) -> PrefixedToolset:
        """Its tools with a prefix before their names, so that two servers can have a tool of one name."""
        return PrefixedToolset(self, prefix)

    def renamed(self: Toolset, names: Mapping[str, str]) -> RenamedToolset:
        """Some of its tools under other names: `{"old": "new"}`."""
        return RenamedToolset(self, names)

    def gated(self: Toolset, policy: PermissionChecker | Callable[[PermissionRequest], Any]) -> GatedToolset:
        """A policy of their own before these tools, beside that of the agent: both must permit."""
        return GatedToolset(self, policy)

    def approval_required(
        self: Toolset, wanted: Wanted = "*", approval: Approval = True, *, expires_in: float | None = None
    ) -> ApprovalRequiredToolset:
        """A person is asked before these of its tools run, by default before each. After `expires_in` seconds
        an approval is refused."""
        return ApprovalRequiredToolset(self, wanted, approval, expires_in=expires_in)


class WrapperToolset(Combinable):
    """A toolset around another one; entered and left with it."""

    __slots__ = ("inner",)

    def __init__(self, inner: Toolset) -> None:
        if not callable(getattr(inner, "tools", None)):
            raise ConfigurationError(f"{type(self).__name__} takes a toolset, not a {type(inner).__name__}")
        self.inner = inner

    async def tools(self, ctx: RunContext) -> Sequence[Tool[..., Any]]:
        return await self.inner.tools(ctx)

    async def __aenter__(self) -> Self:
        if hasattr(type(self.inner), "__aenter__"):
            await cast("AbstractAsyncContextManager[Any]", self.inner).__aenter__()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        if hasattr(type(self.inner), "__aexit__"):
            await cast("AbstractAsyncContextManager[Any]", self.inner).__aexit__(*raised)

    def __repr__(self) -> str:
        return repr(self.inner)


class FilteredToolset(WrapperToolset):
    """Only the tools that are wanted, in the menu of a run and so in what it may call.

    Raises:
        ConfigurationError: a pattern is no text.
    """

    __slots__ = ("_wanted",)

    def __init__(self, inner: Toolset, wanted: Wanted) -> None:
        super().__init__(inner)
        self._wanted = _choice(wanted)

    async def tools(self, ctx: RunContext) -> Sequence[Tool[..., Any]]:
        return [tool for tool in await self.inner.tools(ctx) if self._wanted(ctx, tool)]


class PrefixedToolset(WrapperToolset):
    """All tools with a prefix before their names."""

    __slots__ = ("_prefix",)

    def __init__(self, inner: Toolset, prefix: str) -> None:
        super().__init__(inner)
        if not (prefix and isinstance(prefix, str)):
            raise ConfigurationError("prefixed() takes the text to put before each name, such as 'gh_'")
        self._prefix = prefix

    async def tools(self, ctx: RunContext) -> Sequence[Tool[..., Any]]:
        return [tool.renamed(f"{self._prefix}{tool.name}") for tool in await self.inner.tools(ctx)]


class RenamedToolset(WrapperToolset):
    """Some tools under other names. A name that the toolset has not is refused when it is used, because a
    tool that was left under its old name may be one that was meant to be hidden."""

    __slots__ = ("_names",)

    def __init__(self, inner: Toolset, names: Mapping[str, str]) -> None:
        super().__init__(inner)
        if not isinstance(names, Mapping):
            raise ConfigurationError("renamed() takes a mapping of old names to new ones: {'old': 'new'}")
        self._names = dict(names)

    async def tools(self, ctx: RunContext) -> Sequence[Tool[..., Any]]:
        found = await self.inner.tools(ctx)
        if missing := set(self._names) - {tool.name for tool in found}:
            raise ConfigurationError(
                f"renamed(): {self.inner!r} has no tool {', '.join(sorted(missing))}; it has "
                f"{', '.join(tool.name for tool in found)}"
            )
        return [tool.renamed(self._names[tool.name]) if tool.name in self._names else tool for tool in found]


class GatedToolset(WrapperToolset):
    """A permission policy before tools, in the menu of a run and at each call. `policy` is what
    `Agent(permissions=...)` takes.

    It knows the tools by the names that they have here: what `renamed` and `prefixed` did before is seen,
    what they do around it changes nothing. It stands beside other policies, of the agent and of toolsets:
    the strictest verdict decides, halt before deny, ask, allow; of equal ones the innermost.

    Raises:
        ConfigurationError: it is nothing that decides.
    """

    __slots__ = ("_policy",)

    def __init__(
        self, inner: Toolset, policy: PermissionChecker | Callable[[PermissionRequest], Any]
    ) -> None:
        super().__init__(inner)
        if isinstance(policy, type) or not callable(getattr(policy, "check", policy)):
            raise ConfigurationError(
                f"gated() takes a PermissionPolicy, an object with check(request), or a function of a "
                f"PermissionRequest, not {policy!r:.60}"
            )
        self._policy = policy

    async def tools(self, ctx: RunContext) -> Sequence[Tool[..., Any]]:
        return [
            replace(tool, gates=(*tool.gates, Gated(self._policy, tool.name, tool.capabilities)))
            for tool in await self.inner.tools(ctx)
        ]


class ApprovalRequiredToolset(WrapperToolset):
    """A person is asked before tools run. `approval` is what `@tool(approval=...)` takes. A tool that asks by
    itself goes on to ask in its own words, unless they could let it run unasked; of two times that an
    approval may take, the shorter holds.

    Raises:
        ConfigurationError: it would ask nobody.
    """

    __slots__ = ("_approval", "_expires_in", "_wanted")

    def __init__(
        self,
        inner: Toolset,
        wanted: Wanted = "*",
        approval: Approval = True,
        *,
        expires_in: float | None = None,
    ) -> None:
        super().__init__(inner)
        check_seconds("expires_in", expires_in)
        if approval is None or approval is False:
            raise ConfigurationError(
                "approval_required() takes True, a question, or a function that gives one"
            )
        self._wanted = _choice(wanted)
        self._approval = approval
        self._expires_in = expires_in

    async def tools(self, ctx: RunContext) -> Sequence[Tool[..., Any]]:
        return [
            self._asking(tool) if self._wanted(ctx, tool) else tool for tool in await self.inner.tools(ctx)
        ]

    def _asking(self, tool: Tool[..., Any]) -> Tool[..., Any]:
        asks = tool.approval is True or isinstance(tool.approval, str)
        times = [each for each in (self._expires_in, tool.approval_expires_in) if each is not None]
        return replace(
            tool,
            approval=tool.approval if asks else self._approval,
            approval_expires_in=min(times, default=None),
        )


def _choice(wanted: Wanted) -> Callable[[RunContext, Tool[..., Any]], bool]:
    if callable(wanted):
        return wanted
    patterns = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise ConfigurationError(f"names of tools are texts such as 'read_*', not {pattern!r}")
    return lambda ctx, tool: any(fnmatch.fnmatchcase(tool.name, pattern) for pattern in patterns)
