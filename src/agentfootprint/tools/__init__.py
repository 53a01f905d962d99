"""Functions a model may call."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .arguments import ArgumentsInvalid
from .base import RunContext, Toolset
from .combined import (
    ApprovalRequiredToolset,
    FilteredToolset,
    GatedToolset,
    PrefixedToolset,
    RenamedToolset,
    WrapperToolset,
)
from .context import ToolContext, ask_human, pause_here
from .tool import Approval, Tool, tool
from .toolset import StaticToolset, as_tools

if TYPE_CHECKING:
    from .mcp.client import MCPClient as MCPClient
    from .mcp.errors import ToolChanged as ToolChanged
    from .mcp.errors import ToolServerError as ToolServerError
    from .mcp.errors import ToolServerUnavailable as ToolServerUnavailable
    from .mcp.mock import MockMCPClient as MockMCPClient

# Name to module; loaded on first use: nobody waits for what is not used.
_LAZY = {
    "MCPClient": "mcp.client",
    "MockMCPClient": "mcp.mock",
    "ToolChanged": "mcp.errors",
    "ToolServerError": "mcp.errors",
    "ToolServerUnavailable": "mcp.errors",
}

__all__ = [
    "Approval",
    "ApprovalRequiredToolset",
    "ArgumentsInvalid",
    "FilteredToolset",
    "GatedToolset",
    "MCPClient",
    "MockMCPClient",
    "PrefixedToolset",
    "RenamedToolset",
    "RunContext",
    "StaticToolset",
    "Tool",
    "ToolChanged",
    "ToolContext",
    "ToolServerError",
    "ToolServerUnavailable",
    "Toolset",
    "WrapperToolset",
    "as_tools",
    "ask_human",
    "pause_here",
    "tool",
]


def __getattr__(name: str) -> Any:
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value
