"""Functions a model may call."""

from __future__ import annotations

from .arguments import ArgumentsInvalid
from .base import RunContext, Toolset
from .context import ToolContext, ask_human, pause_here
from .tool import Approval, Tool, tool
from .toolset import StaticToolset, as_tools

__all__ = [
    "Approval",
    "ArgumentsInvalid",
    "RunContext",
    "StaticToolset",
    "Tool",
    "ToolContext",
    "Toolset",
    "as_tools",
    "ask_human",
    "pause_here",
    "tool",
]
