"""Functions a model may call."""

from __future__ import annotations

from .arguments import ArgumentsInvalid
from .base import Toolset
from .context import ToolContext
from .tool import Approval, Tool, tool
from .toolset import StaticToolset, as_tools

__all__ = [
    "Approval",
    "ArgumentsInvalid",
    "StaticToolset",
    "Tool",
    "ToolContext",
    "Toolset",
    "as_tools",
    "tool",
]
