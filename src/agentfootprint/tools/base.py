"""The port to tools that are not known before a run: of an MCP server, of a policy, of a skill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ..identity import MemoryIdentity
from .tool import Tool

__all__ = ["RunContext", "Toolset"]


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run that is about to start: whose it is, and what its caller handed to it."""

    identity: MemoryIdentity | None
    deps: Any
    run_id: str


@runtime_checkable
class Toolset(Protocol):
    """Gives the tools for a run.

    A toolset with a lifetime (a connection, a process) is an asynchronous context manager as well:
    it is entered before its first use and left when the one who opened it is done.
    """

    async def tools(self, ctx: RunContext) -> Sequence[Tool[..., Any]]:
        """The tools this run may use now. Names are unique among all tools of an agent."""
        ...
